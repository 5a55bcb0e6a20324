"""Predictors of a model's clips, fitted and tried on clips that they were not fitted on (scikit-learn).

Numbers by ridge regression, whose strength is chosen within each fold, chances by a logistic one with a fixed L2
penalty; both on standardised features. Folds hold all clips of a prompt together.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bytheway.diagnosis.fit import FEWEST_CLIPS, Kind, Predictor, Skill
from bytheway.errors import ByTheWayError
from bytheway.evaluation.statistics import RESAMPLES, Estimate, over_prompts, spearman

try:
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
except ImportError as error:
    raise ByTheWayError("Fitting a model needs scikit-learn; install it (pip install scikit-learn).") from error

Values: TypeAlias = NDArray[Any]

FEWEST_OF_EITHER: Final = 5
"""Clips that have to be near-static, and that have not to be: one for each fold."""
_FOLDS: Final = 5
_STRENGTHS: Final = tuple(np.logspace(-1, 4, 11))
_CHANCE_STRENGTH: Final = 0.1  # C of scikit-learn: a strong penalty, for a few dozen clips


def fit_predictor(
    features: Sequence[Mapping[str, float]], measure: str, kind: Kind, values: Values, prompts: Sequence[Hashable]
) -> Predictor | None:
    """A predictor with its cross-validated skill; None where there are too few clips, or too few of a kind.

    Args:
        features: of each clip, all with the same names.
        measure: what is predicted, in words.
        kind: a number, or a chance, for which values are 0 and 1.
        values: of the clips, (n,); NaN where it could not be measured.
        prompts: whose clips they are.
    """
    known = [index for index, value in enumerate(values) if np.isfinite(value)]
    names = tuple(features[0])
    table = np.array([[features[index][name] for name in names] for index in known])
    values, groups = values[known].astype(float), [prompts[index] for index in known]
    if len(known) < FEWEST_CLIPS or len(set(groups)) < 2 or not _tells(values, kind):
        return None
    skill = skill_of(cross_validated(table, values, kind, groups), values, kind)
    if not np.isfinite([skill.value, skill.low, skill.high]).all():
        return None
    model = _model(kind).fit(table, values)
    scaler, line = model[0], model[-1]
    return Predictor(
        measure,
        kind,
        names,
        tuple(map(float, scaler.mean_)),
        tuple(map(float, scaler.scale_)),
        tuple(map(float, np.ravel(line.coef_))),
        float(np.ravel(line.intercept_)[0]),
        Skill("AUC" if kind == "chance" else "Spearman's rho", skill.value, skill.low, skill.high),
    )


def cross_validated(table: Values, values: Values, kind: Kind, prompts: Sequence[Hashable]) -> Values:
    """Predictions (n,) of each clip by a fit on clips of other prompts.

    Args:
        table: features, (n, number of them).
        values: what is predicted, (n,).
        kind: of these.
        prompts: whose clips they are, two or more.
    """
    number = {prompt: index for index, prompt in enumerate(dict.fromkeys(prompts))}
    folds = GroupKFold(min(_FOLDS, len(number)), shuffle=True, random_state=0)
    found: Values = cross_val_predict(
        _model(kind),
        table,
        values,
        groups=[number[prompt] for prompt in prompts],
        cv=folds,
        method="predict_proba" if kind == "chance" else "predict",
    )
    return found[:, 1] if kind == "chance" else found


def skill_of(predicted: Values, values: Values, kind: Kind) -> Estimate:
    """Spearman's rank correlation of numbers, the area under the ROC curve of chances, with its 95 % interval."""
    if kind == "number":
        return spearman(predicted, values)

    def area(clips: Values) -> float:
        seen = values[clips]
        return float(roc_auc_score(seen, predicted[clips])) if 0 < seen.sum() < len(seen) else 0.5

    return over_prompts(area, len(values), RESAMPLES, corrected=False)


def _model(kind: Kind) -> Any:
    line = LogisticRegression(C=_CHANCE_STRENGTH) if kind == "chance" else RidgeCV(alphas=_STRENGTHS)
    return make_pipeline(StandardScaler(), line)


def _tells(values: Values, kind: Kind) -> bool:
    """Whether the clips differ, and of chances enough on either side."""
    if kind == "number":
        return bool(np.ptp(values) > 0)
    return bool(min((values == 0).sum(), (values == 1).sum()) >= FEWEST_OF_EITHER)
