"""Training code, which is not part of the installed package."""
