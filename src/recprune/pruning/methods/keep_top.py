"""Keep the entries of an item-item matrix that matter most, refitted in closed form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt

from recprune.context import Context
from recprune.errors import RecpruneError, unknown
from recprune.pruning.protected_rows import as_they_were
from recprune.pruning.step import Step
from recprune.weights import Encoding, Sparse, Weights

__all__ = ["KeepTop", "refit_columns", "top_in_columns", "top_of_entries", "top_pairs"]

Array = npt.NDArray[Any]
By = Literal["pair", "column"]
_BLOCK = 512


@dataclass(frozen=True)
class KeepTop(Step):
    """Keep `per_column` entries for each column of a matrix, on average, and store them sparse.

    `by="pair"` ranks pairs of items over the whole matrix, by the geometric mean of both directions
    `sqrt(|b_ij b_ji|)`: for EASE that is the partial correlation of the two items. It is multiplied by
    `(reads_i reads_j) ** -tail`, so that rare items, whose correlations are shrunk most, keep some neighbours. Both
    directions are kept, which stores their place once. `by="column"` keeps the largest `|b|` of each column (plain
    magnitude).

    `refit`: the kept entries of each column are fitted again by ridge regression on the training data with penalty `l2`,
    and the mean of the old and the new value is stored: refitted entries alone find the first hits better and the later
    ones worse. `bits`: of a value's code into one codebook for the whole matrix. Ranking by pair and the refit need a square
    matrix, items x items.
    """

    verb: ClassVar[str] = "keep_top"
    target: str
    per_column: float = 6.0
    by: By = "pair"
    refit: bool = True
    l2: float = 20.0
    tail: float = 0.05
    bits: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.per_column > 0:
            raise RecpruneError(f"per_column must be above 0, got {self.per_column!r}")
        if self.by not in get_args(By):
            raise unknown("way to rank entries", str(self.by), get_args(By))
        if self.by == "column" and self.per_column != int(self.per_column):
            raise RecpruneError(f"by column, per_column must be a whole number, got {self.per_column!r}")
        if not self.l2 > 0:
            raise RecpruneError(f"l2 must be above 0, got {self.l2!r}")
        if not 0 <= self.tail <= 1:
            raise RecpruneError(f"tail must be in [0, 1], got {self.tail!r}")
        if not isinstance(self.bits, int) or not 1 <= self.bits <= 8:
            raise RecpruneError(f"bits must be 1..8, got {self.bits!r}")

    def __call__(self, weights: Weights, context: Context) -> Weights:
        """Rank, refit, code."""
        for name in weights.match(self.target):
            shape = weights[name].shape
            if len(shape) != 2:
                raise weights.cannot(self.verb, name, f"it has shape {shape}", "matrices", lambda p: len(p.shape) == 2)
            if self.by == "pair" and shape[0] != shape[1]:
                raise RecpruneError(
                    f"pairs are ranked in square matrices, {name!r} has shape {shape}; rank by='column'"
                )
            if self.refit or (self.by == "pair" and self.tail):
                if context.gram is None:
                    raise RecpruneError("keep_top needs the item products of the training data to refit and to rank")
                if context.gram.shape != shape:
                    raise RecpruneError(f"item products of {context.gram.shape} do not fit {name!r} of shape {shape}")
            kept = as_they_were(weights[name], self._sparse(weights[name].value, context))
            if kept.nbytes < weights[name].nbytes:
                weights = weights.replace(name, kept)
        return weights

    def _sparse(self, value: Encoding, context: Context) -> Sparse:
        height, width = value.shape
        weight = np.ones(height, np.float32)
        if self.by == "pair" and context.gram is not None and self.tail:
            reads = context.gram.diagonal()
            weight = (np.maximum(reads, 1) / max(float(reads.mean()), 1e-9)) ** np.float32(-self.tail)
        pairs = round(self.per_column * height / 2)
        if isinstance(value, Sparse):  # never made dense: a catalogue may be too large for that
            rows, columns, values = value.coordinates()
            if self.by == "pair":
                kept = _pairs_of_entries(rows, columns, values, height, pairs, weight)
            else:
                kept = top_of_entries(columns, values, int(self.per_column))
            rows, columns, values = rows[kept], columns[kept], values[kept]
        else:
            matrix = value.decode()
            if self.by == "pair":
                low, high = top_pairs(matrix, pairs, weight)
                rows, columns = np.concatenate([low, high]), np.concatenate([high, low])
            else:
                rows, columns = top_in_columns(matrix, int(self.per_column))
            values = matrix[rows, columns]
        if self.refit and context.gram is not None:
            refitted = refit_columns(context.gram, rows, columns, self.l2, context.say)
            values = ((values + refitted) / 2).astype(np.float32)
        return Sparse.encode(rows, columns, values, (height, width), self.bits)

    def describe(self) -> str:
        """In words."""
        which = "pairs of items" if self.by == "pair" else "entries of each column"
        refit = ", refitted in closed form" if self.refit else ""
        return f"keep the strongest {which} of {self.target}, {self.per_column:g} a column, {self.bits} bits{refit}"


def top_in_columns(matrix: Array, count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows and columns of the `count` largest magnitudes of each column; zeros are left out."""
    rows, columns = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    height, width = matrix.shape
    for start in range(0, width, _BLOCK):
        block = np.abs(matrix[:, start : start + _BLOCK].T)
        chosen = np.argpartition(-block, count, axis=1)[:, :count] if count < height else np.arange(height)[None, :]
        chosen = np.broadcast_to(chosen, (len(block), chosen.shape[1]))
        row, column = chosen.reshape(-1), np.repeat(np.arange(len(block)), chosen.shape[1])
        there = block[column, row] > 0
        rows.append(row[there])
        columns.append(column[there] + start)
    return np.concatenate(rows).astype(np.int64), np.concatenate(columns).astype(np.int64)


def top_pairs(matrix: Array, count: int, weight: Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The `count` pairs i < j with the largest `weight_i weight_j sqrt(|b_ij b_ji|)`; pairs of zero are left out.

    Ties go to the lower i, then j. Works block by block: beside the matrix it needs a few `count` entries.
    """
    size = len(matrix)
    score, low, high = np.zeros(0, np.float32), np.zeros(0, np.int64), np.zeros(0, np.int64)
    bound = np.float32(0)
    square = np.asarray(weight, dtype=np.float32) ** 2
    for start in range(0, size if count else 0, _BLOCK):
        stop = min(start + _BLOCK, size)
        product = np.abs(matrix[start:stop, start:] * matrix[start:, start:stop].T)
        product *= square[start:stop, None] * square[None, start:]
        product[:, : stop - start] = np.triu(product[:, : stop - start], 1)
        i, j = np.nonzero(product > 0 if bound == 0 else product >= bound)
        score = np.concatenate([score, product[i, j]])
        low, high = np.concatenate([low, i + start]), np.concatenate([high, j + start])
        if len(score) > 4 * count or stop == size:
            best = np.lexsort((high, low, -score))[:count]
            score, low, high = score[best], low[best], high[best]
            if len(score) == count:
                bound = score[-1]
    return low, high


def top_of_entries(columns: Array, values: Array, count: int) -> npt.NDArray[np.int64]:
    """Which entries are among the `count` largest magnitudes of their column; zeros are none."""
    order = np.lexsort((-np.abs(values), columns))
    _, starts, lengths = np.unique(columns[order], return_index=True, return_counts=True)
    place = np.arange(len(order)) - np.repeat(starts, lengths)
    found: npt.NDArray[np.int64] = order[(place < count) & (values[order] != 0)]
    return found


def _pairs_of_entries(
    rows: Array, columns: Array, values: Array, size: int, count: int, weight: Array
) -> npt.NDArray[np.int64]:
    """As `top_pairs`, of entries: which stay, the low ones of all pairs first. What has no mirror image is no pair."""
    low, high = np.minimum(rows, columns), np.maximum(rows, columns)
    order = np.lexsort((rows > columns, low * size + high))
    first, second = order[:-1], order[1:]
    paired = (low[first] == low[second]) & (high[first] == high[second])
    first, second = first[paired], second[paired]
    square = np.asarray(weight, dtype=np.float32) ** 2
    score = np.abs(values[first] * values[second]) * square[low[first]] * square[high[first]]
    best = np.lexsort((high[first], low[first], -score))[:count]
    best = best[score[best] > 0]
    return np.concatenate([first[best], second[best]])


def refit_columns(
    gram: Array, rows: Array, columns: Array, l2: float, say: Callable[[str], None] = lambda line: None
) -> npt.NDArray[np.float32]:
    """Values for the entries at `(rows, columns)`: for each column j the ridge regression of item j on its kept items.

    With S the kept rows of column j: `(gram[S, S] + l2 I) b = gram[S, j]`. `gram`: (items, items). The result is in the
    order of the entries given. Columns of like length are solved together.

    >>> refit_columns(np.array([[3.0, 2.0], [2.0, 2.0]]), np.array([0]), np.array([1]), l2=1.0).tolist()
    [0.5]
    """
    order = np.lexsort((rows, columns))
    rows, size = np.asarray(rows)[order], len(gram)
    length = np.bincount(columns, minlength=size)
    start = np.concatenate([[0], np.cumsum(length)])
    result = np.zeros(len(rows), dtype=np.float32)
    queue = np.argsort(length, kind="stable")
    at, told = int((length == 0).sum()), 0
    while at < size:
        # One batch: columns padded to the longest of them, about 64 MB of systems.
        width = max(8, -(-int(length[queue[at]]) // 8) * 8)
        many = int(np.searchsorted(length[queue], width, side="right")) - at
        batch = queue[at : at + min(many, max(1, 2**24 // width**2))]
        at += len(batch)
        there = np.arange(width) < length[batch][:, None]
        entry = np.minimum(start[batch][:, None] + np.arange(width), len(rows) - 1)
        kept = np.where(there, rows[entry], 0)
        system = gram[kept[:, :, None], kept[:, None, :]].astype(np.float32)
        system *= there[:, :, None] & there[:, None, :]
        system[:, np.arange(width), np.arange(width)] += np.where(there, np.float32(l2), np.float32(1))
        wanted = gram[kept, batch[:, None]].astype(np.float32) * there
        result[entry[there]] = np.linalg.solve(system, wanted[:, :, None])[:, :, 0][there]
        if at == size or at - told >= size // 4:
            told = at
            say(f"refitted {at:,} of {size:,} columns")
    values = np.empty_like(result)
    values[order] = result
    return values
