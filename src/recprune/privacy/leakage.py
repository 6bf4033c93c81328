"""How well an attack tells members from others, with intervals by resampling users."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.errors import RecpruneError
from recprune.evaluation import Interval, RowTruth, parse_metric
from recprune.privacy.attacks import absence, likelihood_ratio

__all__ = ["ATTACKS", "MEASURES", "leakage", "play"]

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
ATTACKS = ("loss", "offline", "ratio")
"""A threshold on the loss; LiRA with models trained without the unit; LiRA with models of both kinds."""
MEASURES = ("auc", "tpr@0.1%", "tpr@1%")
"""Area under the ROC curve; true positives at so many false ones."""
_FALSE = {"tpr@0.1%": 0.001, "tpr@1%": 0.01}
_CHUNK = 16


def play(signals: npt.ArrayLike, inside: npt.ArrayLike, attack: str) -> Floats:
    """Every model in turn is the target, all others the references: scores (models, units).

    `signals`: (models, units, signals); `inside`: (models, units), who was in the training data of which model.
    """
    known, was = np.asarray(signals, dtype=np.float64), np.asarray(inside, dtype=bool)
    if attack == "loss":
        return known[:, :, 0]
    of = {"offline": absence, "ratio": likelihood_ratio}[attack]
    others = [np.delete(np.arange(len(known)), i) for i in range(len(known))]
    return np.stack([of(known[i], known[rest], was[rest]) for i, rest in enumerate(others)])


def leakage(
    inside: npt.ArrayLike, users: npt.ArrayLike, scores: Mapping[str, npt.ArrayLike], resamples: int = 200
) -> dict[str, dict[str, dict[str, Interval]]]:
    """What attacks on several models find: `values` by model and measure, and `differences` (`"b - a"`) likewise.

    `inside`: (rows,), who was in training; `users`: (rows,), whose row it is: they are drawn anew, the same ones for all
    models. `scores`: by model, (rows,). Intervals are of 95 %. Raises RecpruneError where all were members, or none.

    >>> found = leakage([1, 1, 0, 0], [1, 2, 3, 4], {"model": [3, 1, 2, 0]})
    >>> found["values"]["model"]["auc"].value, found["values"]["model"]["tpr@1%"].value
    (0.75, 0.5)
    """
    truth = RowTruth(np.asarray(inside).astype(int).reshape(-1), np.asarray(users).reshape(-1))
    if truth.labels.all() or not truth.labels.any():
        raise RecpruneError("an attack is judged on members and others, and here is only one kind")
    given = {name: truth.check(np.asarray(values).reshape(-1), name) for name, values in scores.items()}
    cells = {
        (name, measure): _TruePositives.of(truth, values, _FALSE[measure])
        if measure in _FALSE
        else truth.statistic(parse_metric(measure), values)
        for name, values in given.items()
        for measure in MEASURES
    }
    ones = np.ones((1, truth.n_users))
    values = {key: float(statistic(ones)[0]) for key, statistic in cells.items()}
    draws = {key: np.empty(resamples) for key in cells}
    rng = np.random.default_rng(0)
    for start in range(0, resamples, _CHUNK):
        stop = min(start + _CHUNK, resamples)
        drawn = rng.integers(truth.n_users, size=(stop - start, truth.n_users))
        weights = np.stack([np.bincount(row, minlength=truth.n_users) for row in drawn]).astype(np.float64)
        for key, statistic in cells.items():
            draws[key][start:stop] = statistic(weights)
    return {
        "values": {name: {m: _interval(values[name, m], draws[name, m]) for m in MEASURES} for name in given},
        "differences": {
            f"{b} - {a}": {m: _interval(values[b, m] - values[a, m], draws[b, m] - draws[a, m]) for m in MEASURES}
            for a, b in combinations(given, 2)
        },
    }


def _interval(value: float, draws: Floats) -> Interval:
    kept = draws[np.isfinite(draws)]
    low, high = np.quantile(kept, (0.025, 0.975)) if len(kept) else (value, value)
    # Of few rows the ends may lie on one side of the value.
    return Interval(value, min(float(low), value), max(float(high), value))


@dataclass(frozen=True, eq=False)
class _TruePositives:
    """Share of members scored above all but `allowed` of the others. Rows by falling score; `ends`: of rows scored alike."""

    users: Array
    member: Floats
    ends: Array
    allowed: float

    @classmethod
    def of(cls, truth: RowTruth, scores: Floats, allowed: float) -> _TruePositives:
        order = np.argsort(-scores, kind="stable")
        falling = scores[order]
        ends = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)
        return cls(truth.index[order], truth.labels[order].astype(np.float64), ends, allowed)

    def __call__(self, weights: Floats) -> Floats:
        """Evaluate for weights (resamples, users)."""
        drawn = weights[:, self.users]
        members = drawn * self.member
        true, false = members.cumsum(axis=1)[:, self.ends], (drawn - members).cumsum(axis=1)[:, self.ends]
        # So many thresholds raise no more false alarms than are allowed; the last of them finds most.
        fit = (false <= self.allowed * false[:, -1:] + 1e-9).sum(axis=1)
        found = np.where(fit > 0, np.take_along_axis(true, np.maximum(fit - 1, 0)[:, None], axis=1)[:, 0], 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            share: Floats = found / true[:, -1]
        return share
