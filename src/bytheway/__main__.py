"""`python -m bytheway`: the command line."""

from bytheway.cli import app

app(prog_name="bytheway")
