"""A choice among seeds as a table and in sentences."""

from __future__ import annotations

from bytheway.diagnosis.fit import FEWEST_CLIPS, Fit
from bytheway.diagnosis.prediction import PLAIN_MOTION
from bytheway.selection.best import Choice


def table_of(choice: Choice, steps: int) -> list[tuple[str, ...]]:
    """A heading and a line for each seed that was begun: what is predicted of it, whether it goes on, and why.

    Args:
        steps: after how many steps of each clip was chosen.
    """
    by = "motion and structure" if choice.aim == "both" else choice.aim
    has_chance = choice.candidates[0].prediction.near_static is not None
    rows = [("seed", "motion", "structure", *(("near-static",) if has_chance else ()), "kept", "why")]
    for one in choice.candidates:
        seen = one.prediction
        numbers = [f"{seen.motion:.4g}", "-" if seen.structure is None else f"{seen.structure:.4g}"]
        chance = [] if seen.near_static is None else [f"{seen.near_static:.0%}"]
        why = f"place {one.place} by {by}" + ("" if one.kept else f", stopped after {steps} steps")
        rows.append((str(one.clip.seed), *numbers, *chance, "yes" if one.kept else "no", why))
    return rows


def remarks_on(choice: Choice, fit: Fit | None, model: str) -> list[str]:
    """What the numbers of the table are, and how far they go.

    Args:
        fit: by which was predicted.
        model: its name, as the user gave it.
    """
    first = choice.candidates[0].prediction
    said = [f"motion: {first.motion_by}; structure: {first.structure_by}"]
    if fit is not None:
        said.append(f"By the fit of {model} on {fit.clips} clips.")
    elif first.motion_by == PLAIN_MOTION:
        said.append(
            f"Without a fit of {model} for these settings the numbers rank the seeds of a prompt, and no more; "
            f"bytheway inspect {model} --clips {FEWEST_CLIPS} fits its usual ones."
        )
    return said
