"""Weighted k-means of the rows of a table."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["distinct", "fit", "nearest"]

Array = npt.NDArray[Any]
_SPLIT = 0.5  # of the clusters that there are, split at once
_SWEEPS = 4
_BLOCK = 1 << 18  # distances at once: they stay in the cache


def fit(points: Array, weight: Array, size: int) -> npt.NDArray[np.float32]:
    """At most `size` words for `points` (rows, columns), those with the least error by `weight` (rows) that was found.

    A cluster is split at its mean, across the column that it is widest in, those of the largest error first: words go where
    rows are read much as well as where they lie apart. A few sweeps of Lloyd do the rest. Source: Su, Dy 2007 (Var-Part);
    Lloyd 1982.
    """
    words = _split(points, weight, size)
    for _ in range(_SWEEPS):
        near = nearest(points, words)
        total = np.bincount(near, weight, len(words))
        sums = np.stack([np.bincount(near, weight * column, len(words)) for column in points.T], axis=1)
        moved = np.where(total[:, None] > 0, sums / np.maximum(total, 1e-30)[:, None], words).astype(np.float32)
        # A word that nothing reads takes the place of the points that are served worst.
        idle = np.flatnonzero(total == 0)
        if len(idle):
            error = weight * ((points - moved[near]) ** 2).sum(axis=1)
            moved[idle] = points[np.argsort(-error, kind="stable")[: len(idle)]]
        if np.allclose(moved, words, rtol=0, atol=1e-6):
            break
        words = moved
    return words


def _split(points: Array, weight: Array, size: int) -> npt.NDArray[np.float32]:
    columns = points.T.astype(np.float64)

    def moments(at: Array, cluster: Array, count: int) -> tuple[Array, Array]:
        """Means of the clusters, and their squared error by column (clusters, columns)."""
        mine = weight[at]
        total = np.maximum(np.bincount(cluster, mine, count), 1e-30)
        mean = [np.bincount(cluster, mine * column[at], count) / total for column in columns]
        error = [
            np.bincount(cluster, mine * (column[at] - m[cluster]) ** 2, count)
            for column, m in zip(columns, mean, strict=True)
        ]
        return np.stack(mean, axis=1), np.stack(error, axis=1)

    member = np.zeros(len(points), np.int64)
    mean, error = moments(np.arange(len(points)), member, 1)
    while (count := len(mean)) < size:
        whole = error.sum(axis=1)
        worst = np.argsort(-whole, kind="stable")[: min(math.ceil(count * _SPLIT), size - count)]
        worst = worst[whole[worst] > 0]
        if not len(worst):
            break
        number = np.full(count, -1)
        number[worst] = np.arange(len(worst))
        at = np.flatnonzero(number[member] >= 0)
        mine = number[member[at]]
        widest = error[worst].argmax(axis=1)
        right = points[at, widest[mine]] > mean[worst, widest][mine]
        means, errors = moments(at, mine + len(worst) * right, 2 * len(worst))
        member[at] = np.where(right, count + mine, member[at])
        (mean[worst], more), (error[worst], wide) = np.split(means, 2), np.split(errors, 2)
        mean, error = np.concatenate([mean, more]), np.concatenate([error, wide])
    return mean.astype(np.float32)


def nearest(points: Array, words: Array) -> npt.NDArray[np.int64]:
    """The word nearest to each point, the first of equal ones."""
    if points.shape[1] == 1:  # on a line the nearest lies between two midpoints
        line, first = np.unique(words[:, 0], return_index=True)
        return first[np.searchsorted((line[1:] + line[:-1]) / 2, points[:, 0])]
    # |w|^2 - 2 p w, all that differs between words, by one product.
    of_words = np.vstack([-2 * words.T, (words**2).sum(axis=1)])
    with_one = np.column_stack([points, np.ones(len(points), points.dtype)])
    step = max(1, _BLOCK // max(len(words), 1))
    near = np.zeros(len(points), np.int64)
    distances = np.empty((min(step, len(points)), len(words)), points.dtype)
    for start in range(0, len(points), step):
        block = with_one[start : start + step]
        np.matmul(block, of_words, out=distances[: len(block)])
        distances[: len(block)].argmin(axis=1, out=near[start : start + step])
    return near


def distinct(table: npt.NDArray[np.float16]) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.int64]]:
    """The different rows, and which of them each row is: `np.unique` compares rows byte by byte, many times slower."""
    rows, width = table.shape
    four = np.zeros((rows, -(-width // 4) * 4), np.float16)
    four[:, :width] = table + np.float16(0)  # one zero, not two
    keys = four.view(np.uint64)
    order = np.lexsort(keys.T) if width else np.arange(rows)
    first = np.ones(rows, bool)
    first[1:] = (keys[order[1:]] != keys[order[:-1]]).any(axis=1)
    inverse = np.empty(rows, np.int64)
    inverse[order] = np.cumsum(first) - 1
    return table[order[first]], inverse
