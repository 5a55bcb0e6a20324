"""The one exception a user is meant to read, and how to tell a lack of memory."""

_OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory")


class ByTheWayError(ValueError):
    """Bad input, said in one sentence: what is wrong and what to do about it."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there was not enough memory, on any device."""
    # torch.OutOfMemoryError is a RuntimeError; the CPU allocator raises a bare one
    said = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(phrase in said for phrase in _OUT_OF_MEMORY)
    )
