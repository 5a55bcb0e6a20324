"""`python -m bytheway`: the command line."""

from bytheway.cli import main

main()
