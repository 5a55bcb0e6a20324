"""The one exception a user is meant to read."""


class ByTheWayError(ValueError):
    """Bad input, said in one sentence: what is wrong and what to do about it."""
