"""Temporal attention enhanced by ByTheWay, on ready-made query, key and value: which of its forms runs.

On a CPU everything is done in tiles (`bytheway.attention.tiles`), and on GPUs that have Triton what is guided by a
kernel (`bytheway.attention.triton`), once it was seen there to be right. Otherwise, where gradients are to flow and
under torch.compile, what is guided has whole maps (`bytheway.attention.whole`). Where nothing guides a site (the anchor
block, or alpha = 0) the energy does not fall and beta stays at its least value: with C the frequency filter
A3 V = A (C V), so the frames of V are filtered and any attention kernel will do. Energies and beta stay on the device.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from bytheway import method
from bytheway.attention import tiles, whole
from bytheway.attention import triton as kernels
from bytheway.attention.layout import Layout
from bytheway.attention.measures import Anchor, Attended, Measures
from bytheway.attention.whole import Softmax
from bytheway.config import ByTheWayConfig
from bytheway.errors import ByTheWayError


def attend(
    query: Float[Tensor, "rows heads F channels"],
    key: Float[Tensor, "rows heads F channels"],
    value: Float[Tensor, "rows heads F value_channels"],
    layout: Layout,
    config: ByTheWayConfig,
    *,
    scale: float,
    anchor: Anchor | None = None,
    keep_map: bool = False,
    measure: bool = False,
    softmax: Softmax | None = None,
) -> Attended:
    """Attention over frames, enhanced by ByTheWay (arXiv 2410.06241): A3 V.

    >>> layout, config = Layout(parts=2, conditional=1, height_width=(2, 2)), ByTheWayConfig()
    >>> query, key, value = torch.randn(3, 8, 4, 16, 32, generator=torch.Generator().manual_seed(0))
    >>> anchor = attend(query, key, value, layout, config, scale=32**-0.5, keep_map=True).anchor  # in the anchor block
    >>> attended = attend(query, key, value, layout, config, scale=32**-0.5, anchor=anchor, measure=True)
    >>> attended.output.shape, attended.measures.beta
    (torch.Size([8, 4, 16, 32]), tensor([1.5000]))

    Args:
        query, key, value: (rows, heads, F, channels of a head), on one device.
        layout: what the rows are.
        scale: of the scores, such as 1 / sqrt(channels of a head).
        anchor: maps of the corresponding site in the anchor block, of the same parts, videos and frames; None in the
            anchor block itself.
        keep_map: hand back the softmax maps of a site that is not guided, for later sites to be guided by.
        measure: hand back energies, disparity and beta.
        softmax: makes the maps (..., F, F) of query and key (..., F, channels of a head) in a way of its own, in place
            of softmax(scale Q K^T); maps are whole then.

    Returns:
        output in the shape and dtype of `value`, maps in the dtype of `query`, measures.

    Raises:
        ByTheWayError: the rows are not those of the layout, or the anchor's are of other parts, videos or frames.
    """
    _check_rows(query, layout, anchor)
    guide = anchor if config.alpha > 0 else None
    if guide is not None and _may_fuse(softmax) and kernels.supports(query, key, value, guide.attn):
        from bytheway.attention.triton.deviation import Site
        from bytheway.attention.triton.trial import trusted_attention

        attended = trusted_attention(Site(query, key, value, layout, guide, scale, config))
        if attended is not None:
            output, seen = attended
            return Attended(output, None, seen if measure else None)
    if _may_fuse(softmax) and tiles.supports(query, key, value):
        keep_map = keep_map and guide is None
        return tiles.attend(query, key, value, layout, anchor, scale, config, keep_map=keep_map, measure=measure)
    if guide is not None:
        return whole.guided_attention(query, key, value, layout, guide, scale, config, softmax=softmax, measure=measure)
    measures = whole.measure_maps(query, key, layout, anchor, scale, config, softmax=softmax) if measure else None
    value = _filter_frames(value, config)
    attn = whole.softmax_maps(query, key, scale, softmax) if keep_map or softmax is not None else None
    kept = Anchor(attn.to(query.dtype), layout) if keep_map and attn is not None else None
    # Where nothing guides, maps are kept to be measured alone, and the output is to the bit what it is without them.
    if attn is None or (config.alpha == 0 and softmax is None):
        return Attended(F.scaled_dot_product_attention(query, key, value, scale=scale), kept, measures)
    return Attended(whole.apply_maps(attn, value), kept, measures)


@torch.no_grad()
def observe(
    query: Float[Tensor, "rows heads F channels"],
    key: Float[Tensor, "rows heads F channels"],
    layout: Layout,
    config: ByTheWayConfig,
    *,
    scale: float,
    anchor: Anchor | None = None,
    keep_map: bool = False,
    softmax: Softmax | None = None,
) -> tuple[Anchor | None, Measures]:
    """What `attend` measures, where the method is off: beta is 1, and E3 is E1.

    Args and errors as in `attend`; of the config tau and the rule for heads count.

    Returns:
        maps where they were to be kept, measures.
    """
    _check_rows(query, layout, anchor)
    off = config.replace(alpha=0.0, beta=1.0)
    if _may_fuse(softmax) and tiles.supports(query, key):
        # The output is not wanted, so the values may be anything.
        seen = tiles.attend(query, key, key, layout, anchor, scale, off, keep_map=keep_map, measure=True)
        assert seen.measures is not None
        return seen.anchor, seen.measures
    kept = None
    if keep_map:
        kept = Anchor(whole.softmax_maps(query, key, scale, softmax).to(query.dtype), layout)
    return kept, whole.measure_maps(query, key, layout, anchor, scale, off, softmax=softmax)


def _may_fuse(softmax: Softmax | None) -> bool:
    """Whether tiles or kernels may make the maps; under torch.compile it is the compiler that fuses."""
    return softmax is None and not torch.compiler.is_compiling()


def _filter_frames(value: Tensor, config: ByTheWayConfig) -> Tensor:
    """C V, as exact as the precision of V allows.

    In half precision C takes two numbers for each of its own: rounded to one, its rows no longer sum to 1, and the mean
    over the frames is scaled.
    """
    dtype = torch.promote_types(value.dtype, torch.float32)
    circulant = method.frequency_filter(value.shape[-2], config.tau, config.beta, dtype=dtype, device=value.device)
    coarse = circulant.to(value.dtype)
    filtered = coarse @ value
    return filtered if coarse.dtype == dtype else filtered + (circulant - coarse).to(value.dtype) @ value


def _check_rows(query: Tensor, layout: Layout, anchor: Anchor | None) -> None:
    rows, _, frames, _ = query.shape
    videos, rest = divmod(rows, layout.parts * layout.height_width[0] * layout.height_width[1])
    if rest or not videos:
        raise ByTheWayError(
            f"An attention has {rows} rows, which are not {layout.parts} parts of videos with "
            f"{layout.height_width[0]} x {layout.height_width[1]} pixels each; give the layout of these rows."
        )
    if anchor is None:
        return
    height, width = anchor.layout.height_width
    expected = layout.parts * videos * height * width
    if (anchor.layout.parts, len(anchor.attn), anchor.attn.shape[-1]) != (layout.parts, expected, frames):
        raise ByTheWayError(
            f"The anchor has {len(anchor.attn)} maps of {anchor.attn.shape[-1]} frames in {anchor.layout.parts} parts, "
            f"and the site wants {expected} of {frames} in {layout.parts}; give the anchor of the same batch."
        )
