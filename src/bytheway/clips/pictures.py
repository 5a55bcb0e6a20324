"""Single pictures of every kind, as the red, green and blue bytes that clips are made of."""

from __future__ import annotations

import warnings
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bytheway.errors import ByTheWayError, ByTheWayWarning

_DEEPEST: Final = 65535  # of 16 bits
_WHITE: Final = (255, 255, 255, 255)


def to_rgb(picture: Image.Image, name: object) -> Image.Image:
    """A picture that was opened from a file, in RGB of 8 bits a colour.

    Values are scaled by the range of their type: 16 bits from 0 to 65535, floats from 0 to 1. Pillow's own conversion
    cuts them off instead. What is transparent is laid on white, with a warning.

    Args:
        picture: of any mode.
        name: of its file, for the sentences.

    Raises:
        ByTheWayError: floats lie outside 0 to 1 or are not finite, or integers have a range that is not known.
    """
    if picture.mode.startswith(("I", "F")):
        return Image.fromarray(_scaled(picture, name)).convert("RGB")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    layer = picture.convert("RGBA")
    if layer.getchannel("A").getextrema() == (255, 255):
        return layer.convert("RGB")
    warnings.warn(f"{name} is transparent in places; it is laid on white.", ByTheWayWarning, stacklevel=2)
    return Image.alpha_composite(Image.new("RGBA", layer.size, _WHITE), layer).convert("RGB")


def _scaled(picture: Image.Image, name: object) -> NDArray[np.uint8]:
    """The grey values of a picture of integers or floats, as bytes."""
    values = np.asarray(picture)
    if picture.mode == "F":
        unit = _floats(values, name)
    elif picture.mode.startswith("I;16") or picture.format == "PPM":  # of which Pillow makes 16 bits in 32
        unit = values / _DEEPEST
    else:
        raise ByTheWayError(f"{name} holds integers of 32 bits or with a sign; save it with 8 or 16 bits a pixel.")
    bytes_ = (unit * 255).round().astype(np.uint8)
    if "transparency" in picture.info:  # the value that is transparent
        bytes_[values == picture.info["transparency"]] = 255
        warnings.warn(f"{name} is transparent in places; it is laid on white.", ByTheWayWarning, stacklevel=3)
    return bytes_


def _floats(values: NDArray[Any], name: object) -> NDArray[Any]:
    if not np.isfinite(values).all():
        raise ByTheWayError(f"{name} holds values that are no finite numbers; give a picture without them.")
    low, high = values.min(), values.max()
    if low < 0 or high > 1:
        raise ByTheWayError(
            f"{name} holds floats from {low:g} to {high:g}; scale them to 0 (black) to 1 (white), or save 8 or 16 bits."
        )
    return values
