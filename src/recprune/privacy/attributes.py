"""Attribute inference: what the rows of a table of users say of the users."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.errors import RecpruneError
from recprune.evaluation import Interval

__all__ = ["Inference", "infer"]

Array = npt.NDArray[Any]
_FOLDS = 5


@dataclass(frozen=True)
class Inference:
    """How often an attribute is guessed: always the largest class, and from the rows of each model; gains over it."""

    users: int
    classes: int
    majority: Interval
    accuracy: Mapping[str, Interval]
    gain: Mapping[str, Interval]

    def to_json(self) -> dict[str, Any]:
        """As in audit.json."""
        return {
            "users": self.users,
            "classes": self.classes,
            "majority": self.majority.to_json(),
            "accuracy": {name: of.to_json() for name, of in self.accuracy.items()},
            "gain": {name: of.to_json() for name, of in self.gain.items()},
        }


def infer(rows: Mapping[str, Array], labels: npt.ArrayLike, resamples: int = 200, seed: int = 0) -> Inference:
    """Guess `labels` (users,) from the `rows` of each model, (users, width); some users are known, the others guessed.

    Four fifths of the users are known in turn (cross-validation); guesses are of a linear classifier by ridge regression on
    the values and their squares. Gains are accuracy minus that of the largest class, paired; intervals of 95 % by resampling
    users. Raises RecpruneError for fewer than 20 users or one class.
    """
    names, truth = np.unique(np.asarray(labels), return_inverse=True)
    if len(truth) < 20 or len(names) < 2:
        raise RecpruneError(f"guessing an attribute needs 20 users of two classes, got {len(truth)} of {len(names)}")
    rng = np.random.default_rng(seed)
    fold = rng.permutation(len(truth)) % _FOLDS
    largest = np.bincount(truth).argmax()
    right = {"": (truth == largest).astype(np.float64)}
    right |= {name: (_guesses(values, truth, fold) == truth).astype(np.float64) for name, values in rows.items()}
    drawn = rng.integers(len(truth), size=(resamples, len(truth)))

    def interval(hits: Array) -> Interval:
        low, high = np.quantile(hits[drawn].mean(axis=1), (0.025, 0.975))
        return Interval(float(hits.mean()), float(low), float(high))

    return Inference(
        len(truth),
        len(names),
        interval(right[""]),
        {name: interval(right[name]) for name in rows},
        {name: interval(right[name] - right[""]) for name in rows},
    )


def _guesses(values: Array, truth: Array, fold: Array) -> Array:
    x = np.asarray(values, dtype=np.float64)
    x = np.concatenate([x, x**2], axis=1)
    x = (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-12)
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    wanted = np.eye(int(truth.max()) + 1)[truth]
    guesses = np.empty(len(truth), dtype=np.int64)
    for part in range(_FOLDS):
        known = fold != part
        gram = x[known].T @ x[known] + np.eye(x.shape[1])
        guesses[~known] = (x[~known] @ np.linalg.solve(gram, x[known].T @ wanted[known])).argmax(axis=1)
    return guesses
