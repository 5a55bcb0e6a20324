"""Training code, which is not part of the installed package."""

import os

# Threads that wait for each other sleep, as they do in the command (`bytheway.__main__`).
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
