"""What a fit tells of a clip while it is made."""

from __future__ import annotations

from bytheway.diagnosis.curves import curves_of
from bytheway.diagnosis.fit import Fit
from bytheway.diagnosis.prediction import predict, said_of
from bytheway.generation.sample import Step


def forecast_of(step: Step, fit: Fit) -> str | None:
    """In words whether the clip is likely near-static, told at the end of its active steps; None at any other.

    Args:
        step: where the run is; nothing is told of one that is not recorded, or of more clips at once than one.
        fit: of the very model and settings (`conditions.fit_for`).
    """
    if step.record is None or step.variant != "enhanced" or not 0 < step.done == step.active:
        return None
    said = said_of(predict(curves_of(step.record), fit))
    if said is None:
        return None
    return f"{said} ({fit.predictors['near_static'].skill} in the fit on {fit.clips} clips)"
