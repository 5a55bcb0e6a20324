"""What a clip is going to be, told from its first steps: by a fit of the model, or by the paper's plain rule.

The plain rule only ranks the clips of one model. More energy of the guided blocks' maps goes with more motion (the
paper's Figure 2c), and less disparity to the anchor with better structure (Figure 2a).
"""

from __future__ import annotations

from dataclasses import dataclass

from bytheway.diagnosis.curves import Curves
from bytheway.diagnosis.fit import Fit

PLAIN_MOTION = "energy of the guided blocks"
PLAIN_STRUCTURE = "disparity to the anchor in the last active step, negative"


@dataclass(frozen=True)
class Prediction:
    """What a clip is going to be, as far as its first steps tell.

    Attributes:
        motion: how much it moves; more is more.
        structure: how well its structure holds; more is better. None where nothing tells.
        near_static: the chance, in [0, 1], that it hardly moves; None without a fit that tells it.
        motion_by, structure_by: what these numbers are, in words.
    """

    motion: float
    structure: float | None
    near_static: float | None
    motion_by: str
    structure_by: str


def features_of(curves: Curves) -> dict[str, float]:
    """What a fit predicts from, by name: mean energy of anchor and guided blocks, mean and last disparity.

    Args:
        curves: of the active steps.
    """
    anchor = () if curves.anchor is None else (curves.anchor,)
    features = {f"energy of {block}": float(curves.energy[block].mean()) for block in (*anchor, *curves.guided)}
    for block, curve in curves.disparity.items():
        features[f"disparity of {block}"] = float(curve.mean())
        features[f"last disparity of {block}"] = float(curve[-1])
    return features


def predict(curves: Curves, fit: Fit | None) -> Prediction:
    """What a clip is going to be.

    Args:
        curves: of the active steps.
        fit: of the very model and settings; None: the plain rule.

    Raises:
        ByTheWayError: the fit is of a model with other blocks.
    """
    plain, features = _plain(curves), features_of(curves)
    told = {} if fit is None else {name: one(features) for name, one in fit.predictors.items()}
    said = {} if fit is None else {name: one.measure for name, one in fit.predictors.items()}
    return Prediction(
        motion=told.get("motion", plain.motion),
        structure=told.get("structure", plain.structure),
        near_static=told.get("near_static"),
        motion_by=said.get("motion", plain.motion_by),
        structure_by=said.get("structure", plain.structure_by),
    )


def _plain(curves: Curves) -> Prediction:
    energies = [float(curves.energy[block].mean()) for block in curves.guided]
    disparities = [float(curve[-1]) for curve in curves.disparity.values()]
    structure = -sum(disparities) / len(disparities) if disparities else None
    return Prediction(sum(energies) / len(energies), structure, None, PLAIN_MOTION, PLAIN_STRUCTURE)


def odds(chance: float) -> str:
    """A chance in (0, 1) as odds in words, the likelier side first: "4 to 1"."""
    chance = min(max(chance, 1 - chance), 0.99)
    return f"{chance / (1 - chance):.2g} to 1"


def said_of(prediction: Prediction) -> str | None:
    """In words whether a clip is likely near-static, with the odds; None where nothing tells."""
    chance = prediction.near_static
    if chance is None:
        return None
    return f"likely {'near-static' if chance >= 0.5 else 'to move'}, {odds(chance)}"
