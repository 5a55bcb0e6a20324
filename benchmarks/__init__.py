"""What the method costs, measured side by side with what people would run instead (docs/benchmarks)."""

import os

# torch's profiler reports on itself for every profile, of which there are dozens.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")
# Threads that wait for each other sleep, as they do in the command (`bytheway.__main__`); the results say so.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
