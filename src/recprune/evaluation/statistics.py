"""Statistics that can be recomputed for many resamples of the users at once.

Each takes weights of shape (resamples, users): how often each user was drawn. All ones give the value on the data.
Sums over rows are taken once per user, so a resample costs a product and not a pass over the rows; AUC keeps its rows
sorted and costs two gathers and a running sum.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["BinnedGap", "Covered", "Floats", "Ints", "PairOrder", "Statistic", "UserMean"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Statistic(Protocol):
    """Maps weights (resamples, users) to values (resamples,); NaN where a resample leaves it undefined."""

    @property
    def users(self) -> int:
        """Users that count."""

    @property
    def left_out(self) -> int:
        """Users that have rows but cannot count, for example those with labels of one class."""

    @property
    def is_mean(self) -> bool:
        """False where resampling biases the statistic, so that intervals are put around the value instead."""

    def __call__(self, weights: Floats) -> Floats:
        """Evaluate."""


def _divide(top: Floats, bottom: Floats) -> Floats:
    out = np.full(np.broadcast_shapes(top.shape, bottom.shape), np.nan)
    np.divide(top, bottom, out=out, where=bottom > 0)
    return out


@dataclass(frozen=True, eq=False)
class UserMean:
    """`sum_u w_u top_u / sum_u w_u bottom_u`: any mean over rows or users. `top`, `bottom`: (users,)."""

    top: Floats
    bottom: Floats
    left_out: int = 0
    is_mean: bool = True

    @property
    def users(self) -> int:
        """Users with a positive denominator."""
        return int((self.bottom > 0).sum())

    def __call__(self, weights: Floats) -> Floats:
        """Evaluate for weights (resamples, users)."""
        return _divide(weights @ self.top, weights @ self.bottom)


@dataclass(frozen=True, eq=False)
class PairOrder:
    """AUC over all pairs of rows, ties counting half.

    `negatives`, `positives`: the user of each negative and positive row, in the order of their scores.
    `below`, `upto`: for each positive, how many negatives are scored lower, and lower or equal.
    """

    negatives: Ints
    positives: Ints
    below: Ints
    upto: Ints
    users: int
    left_out: int = 0
    is_mean: bool = True

    def __call__(self, weights: Floats) -> Floats:
        """Evaluate for weights (resamples, users)."""
        running = np.zeros((len(weights), len(self.negatives) + 1))
        np.cumsum(weights[:, self.negatives], axis=1, out=running[:, 1:])
        positive = weights[:, self.positives]
        wins = running[:, self.below]
        if not np.array_equal(self.below, self.upto):
            wins = (wins + running[:, self.upto]) / 2
        return _divide(np.einsum("bi,bi->b", positive, wins), positive.sum(axis=1) * running[:, -1])


@dataclass(frozen=True, eq=False)
class BinnedGap:
    """Expected calibration error. `gap`: (users, bins), sum of label - score; `rows`: (users,)."""

    gap: Floats
    rows: Floats
    left_out: int = 0
    is_mean: bool = False

    @property
    def users(self) -> int:
        """Users with rows."""
        return int((self.rows > 0).sum())

    def __call__(self, weights: Floats) -> Floats:
        """Evaluate for weights (resamples, users)."""
        return _divide(np.abs(weights @ self.gap).sum(axis=1), weights @ self.rows)


@dataclass(frozen=True, eq=False)
class Covered:
    """Share of a catalogue seen by the users drawn. `seen_by`: users, grouped by item; `starts`: (items seen,)."""

    seen_by: Ints
    starts: Ints
    catalogue: int
    users: int
    left_out: int = 0
    is_mean: bool = False

    def __call__(self, weights: Floats) -> Floats:
        """Evaluate for weights (resamples, users)."""
        if not len(self.starts):
            return np.zeros(len(weights))
        drawn = (weights > 0)[:, self.seen_by].view(np.uint8)
        seen: Floats = np.maximum.reduceat(drawn, self.starts, axis=1).sum(axis=1) / self.catalogue
        return seen
