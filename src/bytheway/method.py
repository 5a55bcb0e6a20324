"""ByTheWay on tensors, to be read beside the paper (Bu et al., CVPR 2025, arXiv 2410.06241).

A map is the softmax of a temporal self-attention, shape (videos, pixels, heads, F, F): one F x F matrix per pixel and
head, rows (queries) summing to 1, keys last. "Videos" are the entries of the batch; under classifier-free guidance the
unconditional and the conditional half of one clip are two of them, and `bytheway_map` takes `conditional` to say whose
energies govern. Every energy, disparity and beta is one number per video, shape (videos,), so a video never depends on
what else is in the batch.

All functions are pure and differentiable, and none waits for the device. Any float dtype goes in; arithmetic is done in
float32 (float64 for float64 maps), energies stay in it, maps come back in the dtype they had. This is the form of the
paper and the reference for everything faster.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from bytheway.config import BetaRule, HeadRule
from bytheway.errors import ByTheWayError


def high_band(num_frames: int, tau: int, *, device: torch.device | None = None) -> Tensor:
    """The high frequencies of F frames: those within tau bins of Nyquist, never DC (paper: tau).

    Bin k is high when min(k, F - k) >= max(F/2 - tau, 1). At even F this is the paper's band [F/2 - tau, F/2 + tau]
    less DC; it is symmetric at odd F too, so that filtered maps stay real, and empty at F = 1.

    Returns:
        bool (F,), in the order of the discrete Fourier transform.
    """
    if num_frames < 1 or tau < 0:
        raise ByTheWayError(f"There is no band of {num_frames} frames with tau {tau}; give at least 1 frame and tau 0.")
    k = torch.arange(num_frames, device=device)
    return torch.minimum(k, num_frames - k) >= max(num_frames / 2 - tau, 1)


def frequency_filter(
    num_frames: int,
    tau: int,
    beta: float | Tensor,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
) -> Tensor:
    """The circulant C that scales the high band by beta and keeps the rest: A3 = A2 C, hence A3 V = A2 (C V).

    C = I + (beta - 1) P with P the projector on the high band: symmetric, eigenvalues beta and 1, and rows summing
    to 1, since DC is never high (Theorem 1).

    Args:
        beta: a number, or a tensor on `device` of any shape, one filter for each of its elements.

    Returns:
        (*beta.shape, F, F) in `dtype`.
    """
    k = torch.arange(num_frames, device=device)
    phase = (torch.outer(k, k) % num_frames).to(dtype) * (2 * math.pi / num_frames)
    impulse_response = (phase.cos() * high_band(num_frames, tau, device=device)).mean(-1)
    # DC is out of the band: taking its rounding out too keeps rows at 1 and uniform maps uniform.
    impulse_response = impulse_response - impulse_response.mean()
    projector = impulse_response[(k[:, None] - k) % num_frames]
    gain = (beta.to(dtype) if isinstance(beta, Tensor) else torch.full((), beta, dtype=dtype, device=device)) - 1
    return torch.eye(num_frames, dtype=dtype, device=device) + gain[..., None, None] * projector


def attention_energy(attn: Tensor) -> Tensor:
    """Motion energy E(A): the mean over pixels, heads and queries of the sum over keys of A^2.

    Returns:
        (videos,), in [1/F, 1] for a softmax map: 1/F where all frames look alike, 1 where each sees a single one.
    """
    return _wide(attn).square().sum(-1).mean((1, 2, 3))


def band_energy(attn: Tensor, tau: int) -> tuple[Tensor, Tensor]:
    """The energies of the low and the high band, which add up to `attention_energy` (Parseval).

    Returns:
        (low, high), each (videos,).
    """
    attn = _wide(attn)
    low_pass = frequency_filter(attn.shape[-1], tau, 0.0, dtype=attn.dtype, device=attn.device)
    low = _filter_keys(attn, low_pass)
    return attention_energy(low), attention_energy(attn - low)


def disparity(attn: Tensor, anchor: Tensor) -> Tensor:
    """How far a site's maps are from the anchor's: mean Frobenius norm of U(A_1) - A (paper: Figure 2a, L2).

    Args:
        anchor: the anchor's map brought to the shape of `attn` by `resample_map`.

    Returns:
        (videos,), the mean over pixels and heads.
    """
    _check_same_shape(attn, anchor)
    norms: Tensor = torch.linalg.vector_norm(_wide(anchor) - _wide(attn), dim=(-2, -1))
    return norms.mean((1, 2))


def resample_map(
    anchor: Tensor,
    height_width: tuple[int, int],
    new_height_width: tuple[int, int],
    heads: int,
    head_rule: HeadRule = "group_mean",
) -> Tensor:
    """U(A_1): the anchor's map at another site's resolution and number of heads (paper: Temporal Self-Guidance).

    Space is resampled bilinearly (pixel centres, as in `torch.nn.functional.interpolate` with align_corners=False).
    Heads: "group_mean" averages groups of neighbouring heads where the anchor's number is a multiple of `heads`, which
    leaves equal numbers alone; otherwise, also where the site has more heads than the anchor, and always with "mean",
    every head of the site gets the mean over all heads of the anchor. Averages of rows that sum to 1 sum to 1.

    Args:
        anchor: (videos, h * w, anchor heads, F, F), pixels in row-major order.

    Returns:
        (videos, H * W, heads, F, F) in the anchor's dtype; the heads may be views of one another.
    """
    height, width = height_width
    if anchor.shape[1] != height * width:
        raise ByTheWayError(
            f"The anchor map has {anchor.shape[1]} pixels, not {height} x {width}; give the size it was made at."
        )
    reduced = match_heads(anchor, heads, head_rule)
    planes = reduced.flatten(2).movedim(1, 2).unflatten(2, (height, width))
    planes = F.interpolate(planes, size=new_height_width, mode="bilinear", align_corners=False)
    resampled: Tensor = planes.flatten(2).movedim(1, 2).unflatten(2, reduced.shape[2:])
    return resampled.expand(-1, -1, heads, -1, -1)


def match_heads(anchor: Tensor, heads: int, head_rule: HeadRule = "group_mean") -> Tensor:
    """The anchor's heads brought to another number of heads, by the rule that `resample_map` tells.

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


def self_guide(attn: Tensor, anchor: Tensor, alpha: float | Tensor) -> Tensor:
    """Temporal Self-Guidance: A2 = A + alpha (U(A_1) - A), which brings the site closer to the anchor.

    Args:
        anchor: the anchor's map brought to the shape of `attn` by `resample_map`.
        alpha: strength, in [0, 1].
    """
    _check_same_shape(attn, anchor)
    wide = _wide(attn)
    return (wide + alpha * (_wide(anchor) - wide)).to(attn.dtype)


def adaptive_beta(energy: Tensor, low: Tensor, high: Tensor, beta: float | Tensor, rule: BetaRule = "sqrt") -> Tensor:
    """The beta that gives back at least the energy that guidance took: max(beta, sqrt((E1 - E2_low) / E2_high)).

    Then E3 = E2_low + beta^2 E2_high >= E1 (paper: the adaptive beta). `rule="ratio"` leaves out the square root, which
    keeps the same promise where beta >= 1. With nothing to give back (E1 <= E2_low) or nothing to amplify (E2_high = 0)
    beta stays as it was. Energies that differ by rounding count as equal, so that no noise is amplified.

    Args:
        energy: E1, of the map before guidance, (videos,).
        low, high: band energies of the map after guidance, (videos,).
        beta: the least amplification, a number or (videos,) on the same device.

    Returns:
        (videos,), finite.
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


def enhance_motion(attn: Tensor, beta: float | Tensor, tau: int) -> Tensor:
    """Fourier-based Motion Enhancement: the high frequencies along the keys, times beta.

    Rows still sum to 1 (Theorem 1) and the energy grows by (beta^2 - 1) E_high (Theorem 2).

    Args:
        beta: a number, or one per video, (videos,).
    """
    wide = _wide(attn)
    circulant = frequency_filter(attn.shape[-1], tau, beta, dtype=wide.dtype, device=attn.device)
    return _filter_keys(wide, circulant).to(attn.dtype)


def bytheway_map(
    attn: Tensor,
    anchor: Tensor,
    alpha: float | Tensor,
    beta: float | Tensor,
    tau: int,
    rule: BetaRule = "sqrt",
    conditional: Tensor | None = None,
) -> Tensor:
    """The whole of ByTheWay at one site: self-guidance, then motion enhancement with the adaptive beta.

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
    return attn.double() if attn.dtype == torch.float64 else attn.float()


def _filter_keys(attn: Tensor, circulant: Tensor) -> Tensor:
    """A C along the keys; the circulant is (F, F) or (videos, F, F). Autocast would undo the float32."""
    with torch.autocast(attn.device.type, enabled=False):
        return (attn.flatten(1, 3) @ circulant).reshape(attn.shape)


def _check_same_shape(attn: Tensor, anchor: Tensor) -> None:
    if attn.shape != anchor.shape:
        raise ByTheWayError(
            f"The anchor map is {tuple(anchor.shape)} and the site's {tuple(attn.shape)}; resample it first."
        )
