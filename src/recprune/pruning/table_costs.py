"""What each way to store a table costs: bytes, and what it changes in the scores."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from recprune.pruning.protected_rows import as_they_were
from recprune.pruning.shared_row import drop
from recprune.weights import Codebook, Columns, Dense, Encoding, Param, Quantized, Rows

__all__ = ["LARGE", "MOST", "PER_WORD", "WIDE", "TableCosts"]

Array = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
_BOOK = 210  # bytes of the manifest and the header for each book more
WIDE = 16
"""Columns: with fewer one book for all of them, and a scale for each column, are better."""
LARGE = 12
"""Bits of a book for large tables."""
PER_WORD = 4
"""Rows for each of its words, at least."""
MOST = 60_000
"""The largest value that words and scales, float16 all of them, can give."""


@dataclass(frozen=True)
class _Words:
    """The number of a word for every `columns` columns, or for a whole row: product quantization (Jégou et al. 2011)."""

    bits: int
    columns: int | None = None

    def encode(self, table: npt.NDArray[np.float32], shares: Array) -> Encoding:
        books = tuple(
            Codebook.encode(piece, self.bits, shares) for piece in np.split(table, self._at(table.shape[1]), 1)
        )
        return Columns(books) if len(books) > 1 else books[0]

    def bytes(self, rows: Counts, width: int) -> Counts:
        more = len(self._at(width))
        books = 2 * width * np.minimum(1 << self.bits, rows) + _BOOK * more
        size: Counts = (more + 1) * ((rows * self.bits + 7) // 8) + books
        return size

    def described(self, width: int) -> int:
        """How much of these bytes says what the books are."""
        return _BOOK * len(self._at(width))

    def _at(self, width: int) -> range:
        columns = self.columns or width
        return range(columns, width, columns)


@dataclass(frozen=True)
class _Values:
    """Codes of single values, with a scale for each column or row."""

    bits: int
    scales: Literal["per_column", "per_row"]

    def encode(self, table: npt.NDArray[np.float32], shares: Array) -> Encoding:
        return Quantized.encode(table, self.bits, self.scales)

    def bytes(self, rows: Counts, width: int) -> Counts:
        size: Counts = (rows * self.bits * width + 7) // 8 + 2 * (width if self.scales == "per_column" else rows)
        return size

    def described(self, width: int) -> int:
        """As of `_Words`: none."""
        return 0


_Code = _Words | _Values | None
# How a table may be stored, None being as it is; and what else where it is wide.
_LARGE_BOOK, _BEFORE = _Words(LARGE), (_Words(LARGE - 4), _Words(LARGE - 2))
_CODES: tuple[_Code, ...] = (
    None,
    *(_Words(bits) for bits in (10, 8, 7, 6, 5, 4, 3, 2, 1)),
    _Words(8, 2),
    *(_Values(bits, "per_column") for bits in (8, 4, 3, 2)),
    _LARGE_BOOK,
)
_WIDE_CODES: tuple[_Code, ...] = (
    *(_Words(bits, columns) for columns in (2, 4, 8, 16) for bits in (8, 6, 4) if (bits, columns) != (8, 2)),
    *(_Values(bits, "per_row") for bits in (8, 4, 3, 2)),
)
_SAMPLE = 4096  # rows of a table on which its ways are compared
_PROBE = 0.3  # what the two measured cuts of a table leave: this share of its rows, and three bits a row
_PROBE_BITS = _Words(3)


class TableCosts:
    """What it costs to keep some rows of one table, and to code them.

    `reads`: of each row. `change`: the mean squared change of the scores when the table of that name is stored some way;
    it is asked twice, for a cut of rows and one of bits, and all other ways follow from their squared errors by reads.
    """

    def __init__(self, name: str, param: Param, reads: Array, change: Callable[[str, Encoding], float]) -> None:
        self.param, self.reads, self.table = param, reads, param.value.decode().astype(np.float64)
        self.codes = _CODES + (_WIDE_CODES if param.shape[1] >= WIDE else ())
        if np.abs(self.table).max(initial=0) > MOST:
            self.codes = (None,)
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
        coded = self.cut(self.stored, _PROBE_BITS if len(self.codes) > 1 else None)
        error = float(read @ ((coded.decode() - self.table) ** 2).sum(axis=1))
        self.per_code = _ratio(change(name, coded), error)
        self.row_loss = self.per_drop * apart
        self._samples: dict[_Code, Encoding] = {}

    def cut(self, kept: npt.NDArray[np.bool_], code: _Code) -> Encoding:
        """The table with these rows only (of those it stores), coded."""
        value = self.param.value
        if (self.stored & ~kept).any():
            value = drop(self.param, kept & self.stored | self.fixed & value.mask(), self.reads).value
        if not isinstance(value, Rows):
            return as_they_were(self.param, _coded(value, code, self.reads))
        at = value.position(np.arange(value.rows))
        shares = np.bincount(at, self.reads, value.inner.shape[0]).astype(np.float64)
        return as_they_were(self.param, replace(value, inner=_coded(value.inner, code, shares)))

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
        sizes, losses = np.full((len(counts), len(self.codes)), 1 << 50), np.zeros((len(counts), len(self.codes)))
        inner = self.param.value.inner if isinstance(self.param.value, Rows) else self.param.value
        errors: dict[_Code, Array] = {None: np.zeros(len(sample))}
        coded = isinstance(inner, Dense) and weight.any()
        for i, code in enumerate(self.codes):
            if code == _LARGE_BOOK and coded and self.stored.sum() >= PER_WORD << LARGE:
                # So large a book would know the sample by heart: two bits more bring what the last two did.
                less, last = (errors[way] for way in _BEFORE)
                errors[code] = last * (last.sum() / max(less.sum(), 1e-30))
            elif code not in (None, _LARGE_BOOK) and coded:
                self._samples[code] = _coded(Dense(self.table[sample].astype(np.float32)), code, weight)
                errors[code] = weight * ((self._samples[code].decode() - self.table[sample]) ** 2).sum(axis=1)
            if code in errors:
                sizes[:, i] = _bytes(inner, code, many) + marks
                losses[:, i] = lost + self.per_code * np.append(0, np.cumsum(errors[code]))[at]
        return sizes, losses

    def described(
        self, order: Counts, counts: list[int], renumbered: bool, describe: Callable[[Encoding], int]
    ) -> tuple[Counts, Counts]:
        """What `costs` leaves out: what says how a code is stored, (codes,), and which rows are, (counts, 1).

        `describe`: bytes of a description. A sample has that of its whole, but for a digit or two.
        """
        value, width = self.param.value, self.param.shape[1]
        inner = value.inner if isinstance(value, Rows) else value
        bare, marked = describe(inner), describe(Rows.encode(np.zeros(8, bool), inner, 0))
        codes = np.zeros(len(self.codes), np.int64)
        for i, code in enumerate(self.codes):
            sample = self._samples.get(_BEFORE[-1] if code == _LARGE_BOOK else code)
            if code is not None and sample is not None:
                codes[i] = describe(sample) - bare - code.described(width)
        marks = np.full((len(counts), 1), marked - bare)
        bitmap = (len(self.reads) + 7) // 8
        for i, count in enumerate(counts if not renumbered else ()):
            kept = np.zeros(len(self.reads) + 2, np.int8)
            kept[1:-1][order[:count]] = self.stored[order[:count]]
            kept[1:-1] |= self.fixed
            runs = int((np.diff(kept) > 0).sum()) + (not self.shared)
            marks[i] += min(8 * runs, bitmap) - bitmap
        return codes, marks

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


def _coded(value: Encoding, code: _Code, shares: Array) -> Encoding:
    return value if code is None or not isinstance(value, Dense) else code.encode(value.decode(), shares)


def _bytes(inner: Encoding, code: _Code, rows: Counts) -> Counts:
    if code is not None:
        return code.bytes(rows, inner.shape[1])
    whole: Counts = np.ceil(rows * (inner.nbytes / max(inner.shape[0], 1))).astype(np.int64)
    return whole
