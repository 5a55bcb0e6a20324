"""What keeps the pages of `docs` true; not part of the installed package."""
