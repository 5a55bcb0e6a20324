"""ByTheWay on tensors, to be read beside the paper (Bu et al., CVPR 2025, arXiv 2410.06241).

A map is the softmax of a temporal self-attention, shape (videos, pixels, heads, F, F): one F x F matrix per pixel and
head, rows (queries) summing to 1, keys last. "Videos" are the entries of the batch; under classifier-free guidance the
unconditional and the conditional half of one clip are two of them, and `bytheway_map` takes `conditional` to say whose
energies govern. Every energy, disparity and beta is one number per video, shape (videos,), so a video never depends on
what else is in the batch.

All functions are pure and differentiable, and none waits for the device. Any float dtype goes in; arithmetic is done in
float32 (float64 for float64 maps), energies stay in it, maps come back in the dtype they had. A site whose maps are
made as a whole runs these very functions (`bytheway.attention.whole`); everything faster is held against them.

>>> generator = torch.Generator().manual_seed(0)
>>> attn, anchor = torch.randn(2, 1, 4, 1, 16, 16, generator=generator).softmax(-1)
>>> enhanced = bytheway_map(attn, anchor, alpha=0.6, beta=1.5, tau=7)
>>> torch.allclose(enhanced.sum(-1), torch.ones(1, 4, 1, 16))  # Theorem 1
True
>>> bool(attention_energy(enhanced) >= attention_energy(attn))  # what guidance takes, the adaptive beta gives back
True
"""

import math
from functools import lru_cache

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.functional import interpolate

from bytheway.config import BetaRule, HeadRule
from bytheway.errors import ByTheWayError

Maps = Float[Tensor, "videos pixels heads F F"]
PerVideo = Float[Tensor, "videos"]


def high_band(num_frames: int, tau: int, *, device: torch.device | None = None) -> Bool[Tensor, "F"]:
    """The high frequencies of F frames: those within tau bins of Nyquist, never DC (paper: tau).

    Bin k is high when min(k, F - k) >= max(F/2 - tau, 1). At even F this is the paper's band [F/2 - tau, F/2 + tau]
    less DC; it is symmetric at odd F too, so that filtered maps stay real, and empty at F = 1.

    >>> high_band(8, 1).int().tolist()
    [0, 0, 0, 1, 1, 1, 0, 0]

    Returns:
        bool (F,), in the order of the discrete Fourier transform.

    Raises:
        ByTheWayError: there is no frame, or tau is negative.
    """
    if num_frames < 1 or tau < 0:
        raise ByTheWayError(f"There is no band of {num_frames} frames with tau {tau}; give at least 1 frame and tau 0.")
    k = torch.arange(num_frames, device=device)
    return torch.minimum(k, num_frames - k) >= max(num_frames / 2 - tau, 1)


def only_dc_is_low(num_frames: int, tau: int) -> bool:
    """Whether the high band is everything but DC, as with the paper's 16 frames and tau 7: then A P = A - 1/F."""
    return num_frames / 2 - tau <= 1


def projector(
    num_frames: int, tau: int, *, dtype: torch.dtype = torch.float32, device: torch.device | None = None
) -> Float[Tensor, "F F"]:
    """P, which keeps the high band and nothing else: A P is what Motion Enhancement amplifies in a map A.

    It is the symmetric circulant with eigenvalues 1 in the high band and 0 elsewhere, so its rows sum to 0.

    >>> torch.allclose(projector(16, 7), torch.eye(16) - 1 / 16, atol=1e-6)  # all but DC, the mean of a row
    True

    Returns:
        (F, F) in `dtype`, made once for each device and shared: it is not to be written to.
    """
    if torch.compiler.is_compiling():  # the compiler keeps no cache, and warns of those that it finds
        return _make_projector(num_frames, tau, dtype, device)
    like = torch.empty(0, dtype=dtype, device=device)
    # A tensor without values, as torch makes them to trace a model, is of no use to the next caller.
    make = _cached_projector if type(like) is Tensor else _make_projector
    return make(num_frames, tau, dtype, like.device)


def _make_projector(num_frames: int, tau: int, dtype: torch.dtype, device: torch.device | None) -> Float[Tensor, "F F"]:
    with torch.inference_mode(False):
        k = torch.arange(num_frames, device=device)
        phase = (torch.outer(k, k) % num_frames).to(dtype) * (2 * math.pi / num_frames)
        impulse_response = (phase.cos() * high_band(num_frames, tau, device=device)).mean(-1)
        # DC is out of the band: taking its rounding out too keeps rows at 1 and uniform maps uniform.
        impulse_response = impulse_response - impulse_response.mean()
        return impulse_response[(k[:, None] - k) % num_frames]


_cached_projector = lru_cache(maxsize=32)(_make_projector)


def frequency_filter(
    num_frames: int,
    tau: int,
    beta: float | Float[Tensor, "*betas"],
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
) -> Float[Tensor, "*betas F F"]:
    """The circulant C that scales the high band by beta and keeps the rest: A3 = A2 C, hence A3 V = A2 (C V).

    C = I + (beta - 1) P with P the `projector` on the high band: symmetric, eigenvalues beta and 1, and rows summing
    to 1, since DC is never high (Theorem 1).

    >>> frequency_filter(4, 0, 2.0).tolist()[0]
    [1.25, -0.25, 0.25, -0.25]

    Args:
        beta: a number, or a tensor on `device` of any shape, one filter for each of its elements.

    Returns:
        (*beta.shape, F, F) in `dtype`.
    """
    gain = (beta.to(dtype) - 1)[..., None, None] if isinstance(beta, Tensor) else beta - 1
    identity = torch.eye(num_frames, dtype=dtype, device=device)
    return identity + gain * projector(num_frames, tau, dtype=dtype, device=device)


def attention_energy(attn: Maps) -> PerVideo:
    """Motion energy E(A): the mean over pixels, heads and queries of the sum over keys of A^2 (paper: Figure 2c).

    >>> attention_energy(torch.full((1, 1, 1, 16, 16), 1 / 16)).item() == 1 / 16
    True
    >>> attention_energy(torch.eye(16).reshape(1, 1, 1, 16, 16)).item()
    1.0

    Returns:
        (videos,), in [1/F, 1] for a softmax map: 1/F where all frames look alike, 1 where each sees a single one.
    """
    return _wide(attn).square().sum(-1).mean((1, 2, 3))


def band_energy(attn: Maps, tau: int) -> tuple[PerVideo, PerVideo]:
    """The energies of the low and the high band, which add up to `attention_energy` (Parseval; paper: Figure 5).

    >>> attn = torch.randn(1, 4, 1, 16, 16, generator=torch.Generator().manual_seed(0)).softmax(-1)
    >>> low, high = band_energy(attn, tau=7)
    >>> torch.allclose(low, torch.tensor(1 / 16)), torch.allclose(low + high, attention_energy(attn))
    (True, True)

    Returns:
        (low, high), each (videos,).
    """
    attn = _wide(attn)
    high = _filter_keys(attn, projector(attn.shape[-1], tau, dtype=attn.dtype, device=attn.device))
    return attention_energy(attn - high), attention_energy(high)


def disparity(attn: Maps, anchor: Maps) -> PerVideo:
    """How far a site's maps are from the anchor's: mean Frobenius norm of U(A_1) - A (paper: Figure 2a, L2).

    Args:
        anchor: the anchor's map brought to the shape of `attn` by `resample_map`.

    Returns:
        (videos,), the mean over pixels and heads.

    Raises:
        ByTheWayError: the shapes differ.
    """
    _check_same_shape(attn, anchor)
    norms: Tensor = torch.linalg.vector_norm(_wide(anchor) - _wide(attn), dim=(-2, -1))
    return norms.mean((1, 2))


def resample_map(
    anchor: Float[Tensor, "videos anchor_pixels anchor_heads F F"],
    height_width: tuple[int, int],
    new_height_width: tuple[int, int],
    heads: int,
    head_rule: HeadRule = "group_mean",
) -> Float[Tensor, "videos pixels {heads} F F"]:
    """U(A_1): the anchor's map at another site's resolution and number of heads (paper: Temporal Self-Guidance).

    Space is resampled bilinearly (pixel centres, as in `torch.nn.functional.interpolate` with align_corners=False).
    Heads: "group_mean" averages groups of neighbouring heads where the anchor's number is a multiple of `heads`, which
    leaves equal numbers alone; otherwise, also where the site has more heads than the anchor, and always with "mean",
    every head of the site gets the mean over all heads of the anchor. Averages of rows that sum to 1 sum to 1.

    Args:
        anchor: (videos, h * w, anchor heads, F, F), pixels in row-major order.

    Returns:
        (videos, H * W, heads, F, F) in the anchor's dtype; the heads may be views of one another.

    Raises:
        ByTheWayError: the anchor's pixels are not h x w.
    """
    height, width = height_width
    if anchor.shape[1] != height * width:
        raise ByTheWayError(
            f"The anchor map has {anchor.shape[1]} pixels, not {height} x {width}; give the size it was made at."
        )
    reduced = match_heads(anchor, heads, head_rule)
    planes = reduced.flatten(2).movedim(1, 2).unflatten(2, (height, width))
    planes = interpolate(planes, size=new_height_width, mode="bilinear", align_corners=False)
    resampled: Tensor = planes.flatten(2).movedim(1, 2).unflatten(2, reduced.shape[2:])
    return resampled.expand(-1, -1, heads, -1, -1)


def match_heads(
    anchor: Float[Tensor, "*batch anchor_heads F F"], heads: int, head_rule: HeadRule = "group_mean"
) -> Float[Tensor, "*batch matched_heads F F"]:
    """The anchor's heads brought to another number of heads, by the rule that `resample_map` tells.

    The paper's models have the same number of heads in all their blocks, or leave this open (VideoCrafter2).

    Args:
        anchor: (..., anchor heads, F, F).

    Returns:
        (..., heads, F, F), or (..., 1, F, F) where all heads get the same mean.
    """
    grouped = head_rule == "group_mean" and anchor.shape[-3] % heads == 0
    if grouped and anchor.shape[-3] == heads:
        return anchor
    matched: Tensor = anchor.unflatten(-3, (heads if grouped else 1, -1)).mean(-3)
    return matched


def self_guide(
    attn: Maps,
    anchor: Maps,
    alpha: float | Float[Tensor, ""],
) -> Maps:
    """Temporal Self-Guidance: A2 = A + alpha (U(A_1) - A), which brings the site closer to the anchor.

    It lowers the `disparity` (paper: Figure 2b) and leaves the rows summing to 1.

    >>> attn, anchor = torch.randn(2, 1, 4, 1, 16, 16, generator=torch.Generator().manual_seed(0)).softmax(-1)
    >>> before, after = disparity(attn, anchor), disparity(self_guide(attn, anchor, 0.6), anchor)
    >>> torch.allclose(after, (1 - 0.6) * before)
    True

    Args:
        anchor: the anchor's map brought to the shape of `attn` by `resample_map`.
        alpha: strength, in [0, 1].

    Returns:
        A2, in the shape and dtype of `attn`.

    Raises:
        ByTheWayError: the shapes differ.
    """
    _check_same_shape(attn, anchor)
    wide = _wide(attn)
    weight = alpha.to(wide.dtype) if isinstance(alpha, Tensor) else alpha
    return torch.lerp(wide, _wide(anchor), weight).to(attn.dtype)


def adaptive_beta(
    energy: PerVideo,
    low: PerVideo,
    high: PerVideo,
    beta: float | PerVideo,
    rule: BetaRule = "sqrt",
) -> PerVideo:
    """The beta that gives back at least the energy that guidance took: max(beta, sqrt((E1 - E2_low) / E2_high)).

    Then E3 = E2_low + beta^2 E2_high >= E1 (paper: the adaptive beta, Figure 12). `rule="ratio"` leaves out the square
    root, which keeps the same promise where beta >= 1. With nothing to give back (E1 <= E2_low) or nothing to amplify
    (E2_high = 0) beta stays as it was. Energies that differ by rounding count as equal, so that no noise is amplified.

    >>> adaptive_beta(torch.tensor([0.5]), torch.tensor([0.1]), torch.tensor([0.025]), beta=1.5)  # sqrt(0.4 / 0.025)
    tensor([4.])

    Args:
        energy: E1, of the map before guidance, (videos,).
        low, high: band energies of the map after guidance, (videos,).
        beta: the least amplification, a number or (videos,) on the same device.

    Returns:
        (videos,), finite.

    Raises:
        ByTheWayError: the rule is neither of the two.
    """
    if rule not in ("sqrt", "ratio"):
        raise ByTheWayError(f"The beta rule is {rule!r}; it must be one of sqrt, ratio.")
    # Energies are sums over many numbers: what is left of their size by subtracting is known to some roundings only.
    rounding = 16 * torch.finfo(high.dtype).eps
    wanted = energy - low
    resolved = (wanted > 0) & (high > rounding * low)
    # The inner choices keep the branch not taken, and so its gradient, finite.
    gain = torch.where(resolved, wanted, 1.0) / torch.where(resolved, high, 1.0)
    gain = torch.where((wanted - high).abs() > rounding * energy, gain, 1.0)
    needed = gain.sqrt() if rule == "sqrt" else gain
    return torch.where(resolved, needed.clamp(min=beta), beta)


def enhance_motion(attn: Maps, beta: float | PerVideo, tau: int) -> Maps:
    """Fourier-based Motion Enhancement: A3 = A2 C, the high frequencies along the keys times beta.

    Rows still sum to 1 (Theorem 1) and the energy grows by (beta^2 - 1) E_high (Theorem 2). With 16 frames and tau 7
    everything but the mean of a row is high, and this is A3 = 1/F + beta (A2 - 1/F).

    >>> attn = torch.randn(1, 4, 1, 16, 16, generator=torch.Generator().manual_seed(0)).softmax(-1)
    >>> enhanced = enhance_motion(attn, beta=1.5, tau=7)
    >>> torch.allclose(enhanced, 1 / 16 + 1.5 * (attn - 1 / 16), atol=1e-6)
    True
    >>> low, high = band_energy(attn, tau=7)
    >>> torch.allclose(attention_energy(enhanced) - attention_energy(attn), (1.5**2 - 1) * high)
    True

    Args:
        attn: A2, (videos, pixels, heads, F, F).
        beta: a number, or one per video, (videos,).

    Returns:
        A3, in the shape and dtype of `attn`.
    """
    wide = _wide(attn)
    circulant = frequency_filter(attn.shape[-1], tau, beta, dtype=wide.dtype, device=attn.device)
    return _filter_keys(wide, circulant).to(attn.dtype)


def bytheway_map(
    attn: Maps,
    anchor: Maps,
    alpha: float | Float[Tensor, ""],
    beta: float | PerVideo,
    tau: int,
    rule: BetaRule = "sqrt",
    conditional: Int64[Tensor, "videos"] | None = None,
) -> Maps:
    """The whole of ByTheWay at one site: self-guidance, then motion enhancement with the adaptive beta.

    A2 = A + alpha (U(A_1) - A), and A3 = A2 C with the beta that keeps E(A3) >= E(A).

    Args:
        attn: A, (videos, pixels, heads, F, F).
        anchor: U(A_1) from `resample_map`, of the same shape; in the anchor block itself give `attn`, so that A2 = A.
        conditional: int64 (videos,), for each video of the batch the index of the one whose energies set its beta.
            Under classifier-free guidance with the batch (unconditional half, conditional half) of V clips this is
            [V .. 2V-1, V .. 2V-1]: both halves use the conditional beta. None: each video its own.

    Returns:
        A3, in the shape and dtype of `attn`.
    """
    wide = _wide(attn)
    guided = self_guide(wide, anchor, alpha)
    used = adaptive_beta(attention_energy(wide), *band_energy(guided, tau), beta, rule)
    if conditional is not None:
        used = used[conditional]
    return enhance_motion(guided, used, tau).to(attn.dtype)


def _wide(attn: Tensor) -> Tensor:
    """The map in float32 at least."""
    return attn.to(torch.promote_types(attn.dtype, torch.float32))


def _filter_keys(attn: Tensor, circulant: Tensor) -> Tensor:
    """A C along the keys; the circulant is (F, F) or (videos, F, F). Autocast would undo the float32."""
    with torch.autocast(attn.device.type, enabled=False):
        return (attn.flatten(1, 3) @ circulant).reshape(attn.shape)


def _check_same_shape(attn: Tensor, anchor: Tensor) -> None:
    if attn.shape != anchor.shape:
        raise ByTheWayError(
            f"The anchor map is {tuple(anchor.shape)} and the site's {tuple(attn.shape)}; resample it first."
        )
