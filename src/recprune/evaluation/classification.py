"""Metrics of labels and scores, row by row."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recprune.errors import RecpruneError
from recprune.evaluation.metrics import Metric, parse_metric
from recprune.evaluation.statistics import BinnedGap, Floats, Ints, PairOrder, Statistic, UserMean

__all__ = ["RowTruth", "auc", "calibration_error", "gauc", "logloss"]

_BINS = 15
_CLIP = 1e-7


@dataclass(frozen=True, eq=False)
class RowTruth:
    """What happened on the test rows: `labels` (rows,) of 0 and 1, `users` (rows,) of ids of any kind.

    Raises RecpruneError for wrong lengths and for labels other than 0 and 1.
    """

    labels: NDArray[Any]
    users: NDArray[Any]
    candidates: str = "the test rows"
    index: Ints = field(init=False, repr=False)
    n_users: int = field(init=False)

    def __post_init__(self) -> None:
        labels = np.asarray(self.labels)
        users = np.asarray(self.users)
        if labels.ndim != 1 or not len(labels):
            raise RecpruneError(f"labels must be a non-empty array of one dimension, got shape {labels.shape}")
        if users.shape != labels.shape:
            raise RecpruneError(f"{len(labels)} labels but users of shape {users.shape}")
        if not np.isin(labels, (0, 1)).all():
            wrong = labels[~np.isin(labels, (0, 1))][0]
            raise RecpruneError(f"labels must be 0 or 1, got {wrong!s}")
        _, index = np.unique(users, return_inverse=True)
        object.__setattr__(self, "labels", labels.astype(bool))
        object.__setattr__(self, "users", users)
        object.__setattr__(self, "index", index.astype(np.int64))
        object.__setattr__(self, "n_users", int(index.max()) + 1)

    @property
    def n_rows(self) -> int:
        """Test rows."""
        return len(self.labels)

    def check(self, predictions: ArrayLike, whose: str = "scores") -> Floats:
        """Scores as float64 of shape (rows,), finite; else RecpruneError."""
        scores = np.asarray(predictions, dtype=np.float64)
        if scores.shape != self.labels.shape:
            raise RecpruneError(f"{whose}: {self.n_rows} test rows but scores of shape {scores.shape}")
        bad = ~np.isfinite(scores)
        if bad.any():
            raise RecpruneError(
                f"{whose}: {int(bad.sum())} of {self.n_rows} are not finite, first at row {bad.argmax()}"
            )
        return scores

    def count(self, rows: NDArray[np.bool_] | None) -> tuple[int, int]:
        """Users and rows where `rows` is true."""
        if rows is None:
            return self.n_users, self.n_rows
        return len(np.unique(self.index[rows])), int(rows.sum())

    def select(self, axis: str, mask: NDArray[np.bool_], name: str) -> dict[str, NDArray[np.bool_]]:
        """Turn a slice into the argument of `statistic`; axes are `rows` and `users`, users in sorted order of id."""
        size = {"rows": self.n_rows, "users": self.n_users}.get(axis)
        if size is None:
            raise RecpruneError(f"slice {name!r} is over {axis}; labelled rows have slices over rows or users")
        if len(mask) != size:
            raise RecpruneError(f"slice {name!r} has {len(mask)} entries, the test has {size} {axis}")
        return {"rows": mask if axis == "rows" else mask[self.index]}

    def statistic(self, metric: Metric, scores: Floats, rows: NDArray[np.bool_] | None = None) -> Statistic:
        """The metric as a function of user weights, on the rows where the mask is true."""
        if metric.judged_on != "rows":
            raise RecpruneError(f"metric {str(metric)!r} is judged on ranked lists, this test has labelled rows")
        labels, index = self.labels, self.index
        if rows is not None:
            labels, scores, index = labels[rows], scores[rows], index[rows]
        if not len(labels):
            raise RecpruneError(f"metric {str(metric)!r}: no test rows")
        if metric.base == "auc":
            return _pair_order(labels, scores, index)
        if metric.base in ("gauc", "gauc_by_user"):
            return _grouped(labels, scores, index, self.n_users, metric.base == "gauc")
        if scores.min() < 0 or scores.max() > 1:
            raise RecpruneError(
                f"metric {str(metric)!r} needs probabilities in [0, 1], got {scores.min():.4g} to {scores.max():.4g}"
            )
        count = np.bincount(index, minlength=self.n_users).astype(np.float64)
        if metric.base == "logloss":
            clipped = np.clip(scores, _CLIP, 1 - _CLIP)
            loss = -np.log(np.where(labels, clipped, 1 - clipped))
            per_user: Floats = np.bincount(index, loss, self.n_users).astype(np.float64)
            return UserMean(per_user, count)
        bins = np.minimum((scores * _BINS).astype(np.int64), _BINS - 1)
        gap = np.bincount(index * _BINS + bins, labels - scores, self.n_users * _BINS).astype(np.float64)
        return BinnedGap(gap.reshape(self.n_users, _BINS), count)


def _both(positive: int, negative: int) -> None:
    if not positive or not negative:
        raise RecpruneError(f"labels of one class: {positive} positive and {negative} negative, AUC needs both")


def _pair_order(labels: NDArray[np.bool_], scores: Floats, index: Ints) -> PairOrder:
    _both(int(labels.sum()), int((~labels).sum()))
    order = np.argsort(scores, kind="stable")
    labels, scores, index = labels[order], scores[order], index[order]
    negative = scores[~labels]
    return PairOrder(
        negatives=index[~labels],
        positives=index[labels],
        below=np.searchsorted(negative, scores[labels], "left").astype(np.int64),
        upto=np.searchsorted(negative, scores[labels], "right").astype(np.int64),
        users=len(np.unique(index)),
    )


def _grouped(labels: NDArray[np.bool_], scores: Floats, index: Ints, n_users: int, by_rows: bool) -> UserMean:
    order = np.lexsort((scores, index))
    labels, scores, index = labels[order], scores[order], index[order]
    count = np.bincount(index, minlength=n_users)
    first = np.cumsum(count) - count
    new = np.ones(len(index), dtype=bool)
    new[1:] = (index[1:] != index[:-1]) | (scores[1:] != scores[:-1])
    start = np.flatnonzero(new)
    end = np.append(start[1:], len(index)) - 1
    group = np.cumsum(new) - 1
    # Rank within the user, from 1; tied rows share the mean of their ranks, which makes ties count half.
    rank = (start[group] + end[group]) / 2 - first[index] + 1
    positive = np.bincount(index, labels, n_users)
    pairs = positive * (count - positive)
    mixed = pairs > 0
    if not mixed.any():
        raise RecpruneError("every user has labels of one class, GAUC needs at least one user with both")
    wins = np.bincount(index, rank * labels, n_users) - positive * (positive + 1) / 2
    within = np.divide(wins, pairs, out=np.zeros(n_users), where=mixed)
    weight = np.where(mixed, count if by_rows else 1, 0).astype(np.float64)
    return UserMean(within * weight, weight, left_out=int((count > 0).sum() - mixed.sum()))


def _value(name: str, labels: ArrayLike, scores: ArrayLike, users: ArrayLike | None = None) -> float:
    given = np.asarray(labels)
    truth = RowTruth(given, np.zeros(len(given), dtype=np.int64) if users is None else np.asarray(users))
    statistic = truth.statistic(parse_metric(name), truth.check(scores))
    return float(statistic(np.ones((1, truth.n_users)))[0])


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve over all rows, ties counting half.

    >>> auc([1, 0, 1, 0], [0.9, 0.1, 0.5, 0.5])
    0.875
    """
    return _value("auc", labels, scores)


def gauc(labels: ArrayLike, scores: ArrayLike, users: ArrayLike, weight: str = "impressions") -> float:
    """AUC within each user, averaged over the users with both classes; `weight` is `impressions` or `user`.

    Users whose rows are of one class are left out; `RowTruth.statistic` counts them. Ties count half.
    Zhu et al., Optimized Cost per Click in Taobao Display Advertising, KDD 2017.

    >>> gauc([1, 0, 1, 0, 0], [0.9, 0.1, 0.5, 0.5, 0.5], ["a", "a", "b", "b", "b"])
    0.7
    """
    if weight not in ("impressions", "user"):
        raise RecpruneError(f"weight must be 'impressions' or 'user', got {weight!r}")
    return _value("gauc" if weight == "impressions" else "gauc_by_user", labels, scores, users)


def logloss(labels: ArrayLike, scores: ArrayLike) -> float:
    """Mean negative log likelihood in nats of probabilities in [0, 1], clipped to [1e-7, 1 - 1e-7].

    >>> round(logloss([1, 0], [0.5, 0.75]), 6)
    1.039721
    """
    return _value("logloss", labels, scores)


def calibration_error(labels: ArrayLike, scores: ArrayLike) -> float:
    """Expected calibration error: |mean label - mean score| in 15 bins of equal width, averaged by rows.

    A score of exactly i/15 belongs to the upper bin, 1.0 to the last. Guo et al., On Calibration of Modern Neural
    Networks, ICML 2017.

    >>> calibration_error([1, 0, 1, 1], [0.75, 0.75, 0.25, 0.25])
    0.5
    """
    return _value("calibration_error", labels, scores)
