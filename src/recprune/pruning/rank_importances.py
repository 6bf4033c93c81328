"""How well each importance predicts what cutting rows costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.pruning.importance import IMPORTANCES, Units
from recprune.pruning.measure import Measure, Probe
from recprune.snapshot import Snapshot

__all__ = ["rank_importances"]

Array = npt.NDArray[np.float64]
_GROUPS = 10
_FEWEST = 100  # rows of a table that is cut into groups
_RESAMPLES = 1000


def rank_importances(snapshot: Snapshot, context: Context, probe: Probe) -> list[dict[str, Any]]:
    """For each importance the rank correlation of its scores with the measured loss, best first; every entry is JSON.

    The rows of each table are cut into ten groups of equal count by the score of each importance. Each group is cut alone
    (its rows read the mean of the table) and judged on validation, so that every importance meets the groups of all others
    too. Spearman's correlation within a table, mean over tables; the interval resamples the groups (95 %).
    """
    if snapshot.graph is None:
        raise RecpruneError("importances are compared by scores, and this model has no graph")
    weights = snapshot.weights
    measure = Measure(snapshot, probe)
    base = measure(weights)
    found: dict[str, list[tuple[Array, Array]]] = {name: [] for name in IMPORTANCES}
    for name, param in weights.items():
        rows = np.setdiff1d(np.flatnonzero(param.value.mask()), param.protected)
        if len(param.shape) != 2 or param.axes[0] not in context.popularity or len(rows) < _FEWEST:
            continue
        scores = _scores(Units.rows(weights, name), rows, context)
        order = np.random.default_rng(context.seed)
        groups = []
        for score in scores.values():
            mixed = order.permutation(len(rows))  # rows that score alike fall into groups at random
            ranked = mixed[np.argsort(score[mixed], kind="stable")]
            groups += np.array_split(ranked, _GROUPS)
        losses = np.array([base - measure.with_table(name, _cut(param, rows[g], context)) for g in groups])
        context.say(f"{name}: {len(groups)} groups of {len(groups[0])} rows cut")
        for importance, score in scores.items():
            predicted = np.array([score[group].mean() for group in groups])
            found[importance].append((_ranks(predicted), _ranks(losses)))
    entries = [
        {"importance": name, "correlation": _correlation(pairs, context.seed), "tables": len(pairs), "metric": probe.metric,
         "cuts": sum(len(losses) for _, losses in pairs)}
        for name, pairs in found.items() if pairs
    ]  # fmt: skip
    return sorted(entries, key=lambda entry: -entry["correlation"]["value"])


def _scores(units: Units, rows: npt.NDArray[np.int64], context: Context) -> dict[str, Array]:
    scores = {}
    for name, importance in IMPORTANCES.items():
        try:
            scores[name] = importance(units, context)[rows]
        except RecpruneError as error:
            context.say(f"{name} has no score for {units.names[0]}: {error}")
    return scores


def _cut(param: Any, gone: npt.NDArray[np.int64], context: Context) -> npt.NDArray[np.float32]:
    """The table when these rows read the mean by reads of all rows, which is about what they share once many are dropped.

    The mean of the group alone would make a group of like rows look free.
    """
    table: npt.NDArray[np.float32] = param.value.decode().copy()
    shares = context.shares(param.axes[0], param.shape[0])
    table[gone] = 0 if param.unknown_is_zero else shares @ table / shares.sum()
    return table


def _ranks(values: Array) -> Array:
    """Ranks from 0, ties sharing their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Array = (np.cumsum(counts) - (counts + 1) / 2)[inverse]
    return ranks


def _correlation(pairs: list[tuple[Array, Array]], seed: int) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    drawn, whole = np.zeros(_RESAMPLES), 0.0
    for predicted, losses in pairs:
        size = len(losses)
        counts = rng.multinomial(size, np.full(size, 1 / size), _RESAMPLES)
        drawn += _pearson(predicted, losses, counts.astype(np.float64)) / len(pairs)
        whole += float(_pearson(predicted, losses, np.ones((1, size)))[0]) / len(pairs)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return {"value": whole, "low": float(low), "high": float(high)}


def _pearson(x: Array, y: Array, counts: Array) -> Array:
    """Correlation of x and y for each row of counts; 0 where one of them is constant."""
    total = counts.sum(axis=1, keepdims=True)
    x, y = x - counts @ x[:, None] / total, y - counts @ y[:, None] / total
    spread = np.sqrt((counts * x**2).sum(axis=1) * (counts * y**2).sum(axis=1))
    result: Array = (counts * x * y).sum(axis=1) / np.where(spread > 0, spread, 1)
    return result
