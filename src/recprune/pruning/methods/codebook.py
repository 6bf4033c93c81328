"""Replace rows by words of a small book."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.pruning.step import TABLES, Step, in_order
from recprune.weights import Codebook as Book
from recprune.weights import Columns, Encoding, Param, Rows, Weights, codebook_bits

__all__ = ["Codebook"]


@dataclass(frozen=True)
class Codebook(Step):
    """Store each row of the target tables as `bits` bits: the number of one of 2**bits words, fitted by k-means.

    The error of a row counts as often as the row is read, where reads were counted. Left as it is where it would not get
    smaller: the book itself costs 2**bits words.

    `parts`: divide the columns into so many groups (at most one a column) with a book of its own each, `parts * bits`
    bits a row: product quantization (Jégou et al. 2011). For wide tables, for which a single book of as many bits would be
    too large.
    """

    verb: ClassVar[str] = "codebook"
    target: str
    bits: int = 8
    parts: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        codebook_bits(self.bits)
        if type(self.parts) is not int or self.parts < 1:
            raise RecpruneError(f"parts must be a positive whole number, got {self.parts!r}")

    def __call__(self, weights: Weights, context: Context) -> Weights:
        """Fit the books of each table; kept rows stay the kept ones."""

        def smaller(param: Param) -> Encoding:
            return self._smaller(param.value, context.shares(param.axes[0], param.shape[0]))

        return self.each(weights, smaller, TABLES if self.parts == 1 else in_order(context, TABLES))

    def _smaller(self, value: Encoding, shares: npt.NDArray[np.float64]) -> Encoding:
        if isinstance(value, Rows):
            return value.map_stored(self._smaller, shares)
        if 0 in value.shape:
            return value
        pieces = np.array_split(value.decode(), min(self.parts, value.shape[1]), axis=1)
        books = tuple(Book.encode(piece, self.bits, shares) for piece in pieces)
        coded = Columns(books) if len(books) > 1 else books[0]
        return coded if coded.nbytes < value.nbytes else value

    def describe(self) -> str:
        """In words."""
        pieces = f" in {self.parts} pieces, each" if self.parts > 1 else ""
        return f"store each row of {self.target}{pieces} as one of {1 << self.bits} words, fitted by reads"
