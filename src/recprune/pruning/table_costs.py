"""What each way to store a table costs: bytes, and what it changes in the scores."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.pruning.shared_row import drop
from recprune.weights import Codebook, Dense, Encoding, Param, Quantized, Rows

__all__ = ["CODES", "TableCosts"]

Array = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
# How a table may be stored: None as it is, words of a book by their bits, or codes of single values.
CODES: tuple[tuple[str, int] | None, ...] = (
    None,
    *(("codebook", bits) for bits in (10, 8, 7, 6, 5, 4, 3, 2, 1)),
    *(("codes", bits) for bits in (8, 4, 3, 2)),
)
_SAMPLE = 4096  # rows of a table on which its ways are compared
_PROBE = 0.3  # what the two measured cuts of a table leave: this share of its rows, and three bits a row
_PROBE_BITS = ("codebook", 3)


class TableCosts:
    """What it costs to keep some rows of one table, and to code them.

    `reads`: of each row. `change`: the mean squared change of the scores when the table of that name is stored some way;
    it is asked twice, for a cut of rows and one of bits, and all other ways follow from their squared errors by reads.
    """

    def __init__(self, name: str, param: Param, reads: Array, change: Callable[[str, Encoding], float]) -> None:
        self.param, self.reads, self.table = param, reads, param.value.decode().astype(np.float64)
        self.fixed = np.isin(np.arange(len(reads)), param.protected)
        self.shared = param.protected[-1:] if param.has_unknown else ()
        self.stored = param.value.mask() & ~self.fixed
        read = self.reads * (self.stored | self.fixed)
        centre = read @ self.table / read.sum()
        apart = read * ((self.table - centre) ** 2).sum(axis=1) * self.stored
        order = np.argsort(-apart, kind="stable")[: int(self.stored.sum())]
        kept = np.zeros(len(reads), bool)
        kept[order[: math.ceil(_PROBE * len(order))]] = True
        self.per_drop = _ratio(change(name, self.cut(kept, None)), self._spread(order)[kept.sum()])
        coded = self.cut(self.stored, _PROBE_BITS)
        error = float(read @ ((coded.decode() - self.table) ** 2).sum(axis=1))
        self.per_code = _ratio(change(name, coded), error)
        self.row_loss = self.per_drop * apart

    def cut(self, kept: npt.NDArray[np.bool_], code: Any) -> Encoding:
        """The table with these rows only (of those it stores), coded."""
        value = self.param.value
        if (self.stored & ~kept).any():
            value = drop(self.param, kept & self.stored | self.fixed & value.mask(), self.reads).value
        if not isinstance(value, Rows):
            return _coded(value, code, self.reads)
        at = value.position(np.arange(value.rows))
        shares = np.bincount(at, self.reads, value.inner.shape[0]).astype(np.float64)
        return replace(value, inner=_coded(value.inner, code, shares))

    def costs(self, order: Counts, counts: list[int], renumbered: bool) -> tuple[Array, Array]:
        """Bytes and change of the scores, (counts, codes), when the first rows of `order` stay."""
        mine = self.stored[order]
        many = np.append(0, np.cumsum(mine))[counts] + self.fixed.sum() + (not self.shared)
        marks = np.where(many < len(self.reads), 32 if renumbered else (len(self.reads) + 7) // 8, 0)
        lost = self.per_drop * self._spread(order)[counts]
        # The ways are compared on a sample: every few rows, each for its neighbours.
        step = max(1, len(order) // _SAMPLE)
        sample = order[::step]
        weight = self.reads[sample] * self.stored[sample] * step
        at = -(-np.asarray(counts) // step)
        sizes, losses = np.full((len(counts), len(CODES)), 1 << 50), np.zeros((len(counts), len(CODES)))
        inner = self.param.value.inner if isinstance(self.param.value, Rows) else self.param.value
        for i, code in enumerate(CODES):
            error = np.zeros(len(sample))
            if code is not None:
                if not isinstance(inner, Dense) or not weight.any():
                    continue
                coded = _coded(Dense(self.table[sample].astype(np.float32)), code, weight).decode()
                error = weight * ((coded - self.table[sample]) ** 2).sum(axis=1)
            sizes[:, i] = _bytes(inner, code, many) + marks
            losses[:, i] = lost + self.per_code * np.append(0, np.cumsum(error))[at]
        return sizes, losses

    def _spread(self, order: Counts) -> Array:
        """Squared distance to their mean, by reads, of the shared row and all but the first k of `order`, for each k."""
        rest = np.append(order, self.shared)[::-1].astype(np.int64)
        weight = self.reads[rest] * (self.stored | self.fixed)[rest]
        table = self.table[rest]
        square = np.cumsum(weight * (table**2).sum(axis=1))
        mean = np.cumsum(weight[:, None] * table, axis=0)
        spread: Array = np.maximum(square - (mean**2).sum(axis=1) / np.maximum(np.cumsum(weight), 1e-9), 0)[::-1]
        return spread if self.shared else np.append(spread, 0)


def _ratio(change: float, error: float) -> float:
    return change / error if error > 0 else 0.0


def _coded(value: Encoding, code: Any, shares: Array) -> Encoding:
    if code is None or not isinstance(value, Dense):
        return value
    how, bits = code
    if how == "codebook":
        return Codebook.encode(value.decode(), bits, shares)
    return Quantized.encode(value.decode(), bits, "per_column")


def _bytes(inner: Encoding, code: Any, rows: Counts) -> Counts:
    width = inner.shape[1]
    if code is None:
        whole: Counts = np.ceil(rows * (inner.nbytes / max(inner.shape[0], 1))).astype(np.int64)
        return whole
    how, bits = code
    size: Counts = (rows * (bits if how == "codebook" else bits * width) + 7) // 8
    book = np.minimum(1 << bits, rows) if how == "codebook" else 1
    coded: Counts = size + 2 * width * book
    return coded
