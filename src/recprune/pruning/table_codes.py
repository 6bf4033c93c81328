"""The codes that a table may have: what they make of it, and how many bytes that takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from recprune.weights import Codebook, Columns, Dense, Encoding, LowRank, Quantized

__all__ = ["CODES", "LARGE", "MOST", "PER_WORD", "WIDE", "WIDE_CODES", "Code", "Directions", "Values", "Words"]

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
class Words:
    """The number of a word for every `columns` columns, or for a whole row: product quantization (Jégou et al. 2011).

    As of all codes, `encode` takes the reads of rows, (rows,), and a `metric`, (columns, columns): an error counts by its
    squared norm times that.
    """

    bits: int
    columns: int | None = None

    def encode(self, table: npt.NDArray[np.float32], shares: Array, metric: Array) -> Encoding:
        """A book of its own for each piece."""
        at = self._at(table.shape[1])
        books = tuple(
            Codebook.encode(piece, self.bits, shares, m)
            for piece, m in zip(np.split(table, at, 1), np.split(metric, at, 0), strict=True)
        )
        return Columns(books) if len(books) > 1 else books[0]

    def bytes(self, rows: Counts, width: int) -> Counts:
        """What that takes for so many rows."""
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
class Values:
    """Codes of single values, with a scale for each column or row."""

    bits: int
    scales: Literal["per_column", "per_row"]

    def encode(self, table: npt.NDArray[np.float32], shares: Array, metric: Array) -> Encoding:
        """Rounded to the nearest step."""
        return Quantized.encode(table, self.bits, self.scales)

    def bytes(self, rows: Counts, width: int) -> Counts:
        """What that takes for so many rows."""
        size: Counts = (rows * self.bits * width + 7) // 8 + 2 * (width if self.scales == "per_column" else rows)
        return size

    def described(self, width: int) -> int:
        """As of `Words`: none."""
        return 0


@dataclass(frozen=True)
class Directions:
    """Fewer columns: coordinates along the directions that count most, one for each `of` columns, and these directions."""

    bits: int
    of: int

    def encode(self, table: npt.NDArray[np.float32], shares: Array, metric: Array) -> Encoding:
        """The best by reads and metric, both factors coded."""
        if len(table) < (columns := self._columns(table.shape[1])):
            return Dense(table)
        found = LowRank.encode(table @ metric, columns, shares)
        right = (found.right.decode() @ np.linalg.inv(metric)).astype(np.float32)
        return LowRank(found.left, Dense(right)).map_dense(
            lambda factor: Quantized.encode(factor.decode(), self.bits, "per_column")
        )

    def bytes(self, rows: Counts, width: int) -> Counts:
        """What that takes for so many rows."""
        columns = self._columns(width)
        coded: Counts = (rows * self.bits * columns + 7) // 8 + 2 * columns
        coded = coded + (columns * self.bits * width + 7) // 8 + 2 * width
        return np.where(rows < columns, 4 * rows * width, coded)

    def described(self, width: int) -> int:
        """As of `Words`: none."""
        return 0

    def _columns(self, width: int) -> int:
        return -(-width // self.of)


Code = Words | Values | Directions | None
"""None: as it is."""
CODES: tuple[Code, ...] = (
    None,
    *(Words(bits) for bits in (10, 8, 7, 6, 5, 4, 3, 2, 1)),
    Words(8, 2),
    *(Values(bits, "per_column") for bits in (8, 4, 3, 2)),
    *(Directions(8, of) for of in (2, 4)),
    Words(LARGE),
)
WIDE_CODES: tuple[Code, ...] = (
    *(Words(bits, columns) for columns in (2, 4, 8, 16) for bits in (8, 6, 4) if (bits, columns) != (8, 2)),
    *(Values(bits, "per_row") for bits in (8, 4, 3, 2)),
    *(Directions(bits, of) for bits, of in ((4, 2), (4, 4), (8, 8), (4, 8))),
)
"""What else where it is wide."""
