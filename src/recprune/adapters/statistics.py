"""What adapters of models over tables of ids and statistics share."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.graph import Op
from recprune.recommenders.features import SEPARATOR, Encoded, Features
from recprune.recommenders.statistics import STATISTICS

__all__ = ["ids_of", "pair_reads", "row_of", "statistic_axes", "users_by_row", "with_unseen"]

Array = npt.NDArray[Any]


def ids_of(features: Features, axes: Container[str]) -> dict[str, Array]:
    """The ids behind the rows of the tables on `axes`; those of a pair joined by a unit separator."""
    ids: dict[str, Array] = {name: series.to_numpy().astype(np.str_) for name, series in features.ids.items()}
    for pair, (left, right) in features.pairs.items():
        ids[pair] = (left + "\x1f" + right).to_numpy().astype(np.str_)
    return {axis: found for axis, found in ids.items() if axis in axes}


def row_of(features: Features, field: str) -> Op:
    """The operation that finds the row of a field's tables."""
    settings, edges = features.settings, dict(features.settings.buckets)
    if field == settings.words:
        return Op("words", f"{field} rows", (field,), (), {"vocabulary": field})
    if field in edges:
        return Op("bucket", f"{field} rows", (field,), (), {"edges": list(edges[field])})
    return Op("lookup", f"{field} rows", tuple(field.split(SEPARATOR)), (), {"vocabulary": field})


def with_unseen(counts: Array) -> Array:
    """Reads with those of the out-of-vocabulary row by Good and Turing: as many as there are ids read once (Good 1953)."""
    counts = np.asarray(counts).copy()
    counts[-1] = max(int((counts[:-1] == 1).sum()), int(counts[-1]), 1)
    return counts


def pair_reads(pair: str, features: Features, train: Encoded) -> Array:
    """Reads of pairs, those read once told apart by how likely they come again: a busy reader, a much read author.

    The reads of the rows alone would leave nine pairs of ten equal. Nothing of a label is used.
    """
    rows = train.rows[pair]
    counts = np.bincount(rows, minlength=len(features.pairs[pair][0]) + 1).astype(np.float64)
    again = np.ones(len(counts))
    for side in pair.split(SEPARATOR):
        of = np.zeros(len(counts), dtype=np.int64)
        of[rows] = train.rows[side]
        again *= np.log1p(features.readings[side][of])
    reads = counts - 1 + np.minimum(again / 60, 1)
    reads[-1] = (counts[:-1] == 1).sum()
    return np.maximum(reads, 0)


def statistic_axes(features: Features, key: str) -> list[str]:
    """The name of each column of a table of statistics: its block, and what it counts."""
    columns = dict(features.settings.statistics)[key]
    if SEPARATOR in key:
        return [f"{key}.{column}" for column in columns]
    return [f"{key} {STATISTICS[column]}.{column}" for column in columns]


def users_by_row(given: Array, features: Features, train: Encoded) -> dict[str, Array]:
    """Distinct users whose labelled training rows read each row of each axis.

    Statistics count unlabelled rows too: such a row rests on at least as many.
    """
    _, user = np.unique(given, return_inverse=True)
    read = {name: (rows, user) for name, rows in train.rows.items()}
    if features.settings.words and train.offsets is not None:
        read[features.settings.words] = (train.words, np.repeat(user, np.diff(train.offsets)))
    sizes = {name: len(counts) for name, counts in features.readings.items()}
    sizes |= {name: len(ids[0]) + 1 for name, ids in features.pairs.items()}
    many = int(user.max(initial=0)) + 1
    found = {}
    for name, (rows, who) in read.items():
        pairs = np.sort(rows.astype(np.int64) * many + who)
        other = np.diff(pairs, prepend=-1) > 0
        found[name] = np.bincount(pairs[other] // many, minlength=sizes[name])
    return found
