"""Kernels are believed once they were seen to be right: the first result of a kind is held against whole maps.

What a GPU makes of a kernel hangs on the machine, its driver and Triton's compiler, and no test elsewhere shows it. So
the first site of each kind (whatever the kernels are compiled for) is attended to by the kernels and, in float64, by
`bytheway.attention.whole`. Where the two differ by more than roundings explain, or the kernels do not run, this process
gives sites of that kind whole maps, and one warning says so. Every later site costs a look into a dictionary.
"""

import threading
import warnings

import torch
from torch import Tensor

from bytheway.attention.layout import Layout
from bytheway.attention.measures import Anchor, Measures
from bytheway.attention.triton import guided
from bytheway.attention.triton.deviation import Site, deviations_of
from bytheway.errors import ByTheWayWarning

# Elements of one video's maps in a trial: 32 MB in float64. Where a site has more, rows of its first image are tried.
MAX_ELEMENTS = 2**22

_lock = threading.Lock()
_trusted: dict[tuple[object, ...], bool] = {}


def trusted_attention(site: Site) -> tuple[Tensor, Measures] | None:
    """What the kernels make of a site; None where they are not to be believed.

    Threads wait while another one tries the kernels. While a CUDA graph is recorded nothing can be fetched from the
    device, so that what was not tried before is not believed.
    """
    kind = _kind_of(site)
    trusted = _trusted.get(kind)
    if trusted is None:
        if site.query.is_cuda and torch.cuda.is_current_stream_capturing():
            return None
        with _lock:
            trusted = _trusted[kind] if kind in _trusted else _try(site, kind)
    return guided.guided_attention(*site) if trusted else None


def _kind_of(site: Site) -> tuple[object, ...]:
    """What the kernels are compiled for; numbers of pixels and videos, alpha, beta and tau are no part of it."""
    tensors = site.query, site.key, site.value, site.anchor.attn
    compiled = ((tensor.dtype, tensor.shape[1:], tensor.stride()) for tensor in tensors)
    return site.query.device, site.config.beta_rule, site.config.head_rule, *compiled


def _try(site: Site, kind: tuple[object, ...]) -> bool:
    """Whether the kernels do what they should, kept for the process; numbers that are not finite show nothing."""
    complaint = None
    site = _cut(site)
    try:
        output, seen = guided.guided_attention(*site)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever Triton, its compiler or the driver has to say
        complaint = f"it does not run ({type(error).__name__}: {error})"
    else:
        deviations = deviations_of(site, output, seen)
        if deviations is None:
            return False
        complaint = next((str(one) for one in deviations if not one.explained()), None)
    _trusted[kind] = complaint is None
    if complaint is not None:
        _, heads, frames, channels = site.query.shape
        dtype = str(site.query.dtype).removeprefix("torch.")
        warnings.warn(
            f"The Triton kernel of guided attention is left out for {frames} frames and {heads} heads of {channels} "
            f"channels in {dtype} on {site.query.device}: {complaint}. What takes its place is slower.",
            ByTheWayWarning,
            stacklevel=2,
        )
    return complaint is None


def _cut(site: Site) -> Site:
    """A site small enough for whole maps in float64: itself, or the first rows of pixels of its first image.

    Those are a site as well, with the same strides, under an anchor that is cut alike.
    """
    (height, width), anchored = site.layout.height_width, site.anchor.layout.height_width
    heads, frames = site.query.shape[1:3]
    row = width * heads * frames**2
    if site.layout.parts * height * row <= MAX_ELEMENTS:
        return site
    kept = max(1, min(height, MAX_ELEMENTS // row))
    layout = Layout(1, 0, (kept, width))
    anchor_layout = Layout(1, 0, (max(1, anchored[0] * kept // height), anchored[1]))
    query, key, value = (tensor[: kept * width] for tensor in (site.query, site.key, site.value))
    anchor = Anchor(site.anchor.attn[: anchor_layout.height_width[0] * anchored[1]], anchor_layout)
    return site._replace(query=query, key=key, value=value, layout=layout, anchor=anchor)
