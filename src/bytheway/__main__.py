"""`bytheway`, and `python -m bytheway`: what has to be set before anything is imported, then the command line."""

import os
import signal


def main() -> None:
    """The console script."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # ends the process without a traceback, also while it imports
    # OpenMP's threads, which torch starts, else spin while they wait for those that another process keeps from running.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

    from bytheway.cli import main as run

    run()


if __name__ == "__main__":
    main()
