"""Statistics by id of the training log: what a reader's and a book's past says, without a look at the row itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from recprune.recommenders.features import FeatureSettings

__all__ = ["STATISTICS", "statistics"]

Array = npt.NDArray[Any]

STATISTICS = {
    "count": "history",  # log(1 + labelled readings)
    "implicit": "history",  # log(1 + readings without a rating)
    "mean": "ratings",  # mean rating, shrunk to that of all
    "like": "ratings",  # share of labels that are 1, shrunk likewise
    "mean effect": "ratings",  # what the id adds to a rating, given the other ids of the row
    "like effect": "ratings",  # what the id adds to the label, likewise
    "spread": "ratings",  # standard deviation of the ratings, shrunk likewise
}
"""The statistics, and the block that each belongs to."""

_SMOOTHING = 3.0  # readings that a mean over all counts for
_EFFECT_SMOOTHING = 6.0
_PAIR_SMOOTHING = 2.0
_SWEEPS = 3


def statistics(
    rows: Mapping[str, Array],
    implicit: Mapping[str, Array],
    ratings: Array,
    settings: FeatureSettings,
    fold: Array,
    sizes: Mapping[str, int],
) -> tuple[dict[str, npt.NDArray[np.float32]], dict[str, npt.NDArray[np.float32]]]:
    """Compute the tables of statistics from all training rows, and each training row's own from the other folds.

    `rows`: for each key the row of its table that each training row reads; `implicit`: for each key the count of
    unlabelled readings of each row of its table; `ratings` and `fold`: of each training row; `sizes`: rows of each
    table, the last for unknown ids. Returns tables (n + 1, columns) and statistics (training rows, columns),
    both standardised by the mean and deviation of the latter.

    Effects are fitted by backfitting with ridge shrinkage, pairs on what is left (Koren, KDD 2008, section 2.1).
    """
    labels = (ratings >= settings.liked).astype(np.float64)
    columns = dict(settings.statistics)
    tables = _tables(rows, implicit, ratings, labels, columns, sizes)
    outside = {key: np.zeros((len(ratings), len(columns[key])), np.float32) for key in columns}
    for f in range(settings.folds):
        mine = np.flatnonzero(fold == f)
        rest = np.flatnonzero(fold != f)
        if not len(mine) or not len(rest):
            continue
        part = _tables({k: v[rest] for k, v in rows.items()}, implicit, ratings[rest], labels[rest], columns, sizes)
        for key in columns:
            outside[key][mine] = part[key][rows[key][mine]]
    for key in columns:
        mean, deviation = outside[key].mean(0), outside[key].std(0) + 1e-6
        outside[key] = (outside[key] - mean) / deviation
        tables[key] = (tables[key] - mean) / deviation
    return tables, outside


def _tables(
    rows: Mapping[str, Array],
    implicit: Mapping[str, Array],
    ratings: Array,
    labels: Array,
    columns: Mapping[str, tuple[str, ...]],
    sizes: Mapping[str, int],
) -> dict[str, npt.NDArray[np.float32]]:
    counts = {key: np.bincount(rows[key], minlength=sizes[key]).astype(np.float64) for key in columns}
    effects = {
        name: _effects(rows, target - target.mean(), {k: counts[k] for k, wanted in columns.items() if name in wanted})
        for name, target in (("mean effect", ratings), ("like effect", labels))
        if any(name in wanted for wanted in columns.values())
    }
    found = {}
    for key, wanted in columns.items():
        n = counts[key]

        def mean(values: Array, key: str = key, n: Array = n) -> Array:
            total = np.bincount(rows[key], values, sizes[key]) * (n > 0)
            shrunk: Array = (total + _SMOOTHING * values.mean()) / (n + _SMOOTHING)
            return shrunk

        table = []
        for column in wanted:
            if column == "count":
                table.append(np.log1p(n))
            elif column == "implicit":
                table.append(np.log1p(implicit[key] * (np.arange(len(n)) < len(n) - 1)))
            elif column == "mean":
                table.append(mean(ratings))
            elif column == "like":
                table.append(mean(labels))
            elif column == "spread":
                table.append(np.sqrt(np.maximum(mean(ratings**2) - mean(ratings) ** 2, 0)))
            else:
                table.append(effects[column][key])
        found[key] = np.column_stack(table).astype(np.float32)
    return found


def _effects(rows: Mapping[str, Array], target: Array, counts: Mapping[str, Array]) -> dict[str, Array]:
    """Fit target = sum of one effect an id, shrunk; a pair's effect is what its rows' residuals have in common."""
    single = [key for key in counts if " x " not in key]
    effects = {key: np.zeros(len(counts[key])) for key in counts}
    left = target.copy()

    def refit(key: str, smoothing: float) -> None:
        nonlocal left
        left += effects[key][rows[key]]
        effects[key] = np.bincount(rows[key], left, len(counts[key])) / (counts[key] + smoothing) * (counts[key] > 0)
        left -= effects[key][rows[key]]

    for _ in range(_SWEEPS):
        for key in single:
            refit(key, _EFFECT_SMOOTHING)
    residual = left
    for key in counts:
        if key not in single:
            left = residual.copy()
            refit(key, _PAIR_SMOOTHING)
    return effects
