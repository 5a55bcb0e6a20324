"""The one exception and the one warning a user is meant to read, and how to tell a lack of memory."""

_OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory")


class ByTheWayError(ValueError):
    """Bad input, said in one sentence: what is wrong and what to do about it.

    Args:
        sentence: in words that hold for every front end.
        setting: which setting would mend it, by the name of its argument in Python, such as "motion_adapter"; a front
            end says where that is set: the command line names its option.
    """

    def __init__(self, sentence: str, *, setting: str | None = None) -> None:
        super().__init__(sentence)
        self.setting = setting


class ByTheWayWarning(UserWarning):
    """Something was left out, done otherwise than asked for, or chosen where that was left open, in one sentence."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there was not enough memory, on any device."""
    # torch.OutOfMemoryError is a RuntimeError; the CPU allocator raises a bare one
    said = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(phrase in said for phrase in _OUT_OF_MEMORY)
    )
