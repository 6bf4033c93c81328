"""Rows that are words of a small book."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from recprune.bits import pack, packed_bytes, unpack, unpack_first
from recprune.errors import RecpruneError
from recprune.weights.encoding import Encoding
from recprune.weights.k_means import distinct, fit, nearest

__all__ = ["Codebook", "codebook_bits"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Codebook(Encoding):
    """Each row is one of 2**bits words: `bits` bits a row, whatever its width, and the book once.

    For narrow tables whose columns go together (a count, a mean, a share of one id) this is several times smaller than
    a code for each value. The words are those of weighted k-means (vector quantization: Gersho, Gray 1992).

    >>> table = np.array([[1, 2], [1, 2], [5, 0], [1, 2]], np.float32)
    >>> coded = Codebook.encode(table, bits=1)
    >>> coded.decode().tolist(), coded.codes.nbytes
    ([[1.0, 2.0], [1.0, 2.0], [5.0, 0.0], [1.0, 2.0]], 1)
    """

    kind: ClassVar[str] = "codebook"
    codes: npt.NDArray[np.uint8]
    words: npt.NDArray[np.float16]
    bits: int
    rows: int

    @classmethod
    def encode(cls, array: Array, bits: int, shares: Array | None = None, metric: Array | None = None) -> Codebook:
        """Code a table of two axes. `shares`: how much the error of each row counts (its reads); None counts all alike.

        `metric` (columns, any, of full rank): an error counts by its squared norm times this; None: by its own.
        """
        codebook_bits(bits)
        table = np.asarray(array, dtype=np.float32)
        if table.ndim != 2:
            raise RecpruneError(f"a codebook is for tables of two axes, got shape {table.shape}")
        if not np.isfinite(table).all() or np.abs(table).max(initial=0) > 6e4:
            raise RecpruneError("a codebook cannot hold NaN, infinity, or values above 60000")
        # The file holds float16, so equal rows are looked for among these.
        points, inverse = distinct(table.astype(np.float16))
        weight = np.bincount(inverse, None if shares is None else np.asarray(shares) + 1e-9, len(points))
        exact = points.astype(np.float32)
        space = np.eye(exact.shape[1], dtype=np.float32) if metric is None else np.asarray(metric, np.float32)
        if len(exact) <= 1 << bits:
            book = exact
        else:  # means are means in any space
            book = fit(exact @ space, weight, 1 << bits) @ np.linalg.pinv(space)
        words = np.ascontiguousarray(book, dtype=np.float16)
        codes = nearest(exact @ space, words.astype(np.float32) @ space)[inverse]
        return cls(pack(codes, bits), words, bits, len(table))

    def __post_init__(self) -> None:
        codebook_bits(self.bits)
        if type(self.rows) is not int or self.rows < 0:
            raise RecpruneError(f"rows of a codebook must be a count, got {self.rows!r}")
        if self.words.ndim != 2 or self.words.dtype != np.float16 or len(self.words) > 1 << self.bits:
            raise RecpruneError(f"words must be at most {1 << self.bits} rows of float16, got {self.words.shape}")
        if not np.isfinite(self.words).all():
            raise RecpruneError("words hold NaN or infinity")
        if self.codes.dtype != np.uint8 or self.codes.shape != (packed_bytes(self.rows, self.bits),):
            raise RecpruneError(f"codes of {self.bits} bits for {self.rows} rows do not fit {self.codes.shape} bytes")
        if self.rows and int(unpack_first(self.codes, self.rows, self.bits).max()) >= len(self.words):
            raise RecpruneError(f"a code is beyond the {len(self.words)} words")

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows, and the width of a word."""
        return (self.rows, self.words.shape[1])

    def take(self, rows: Array) -> npt.NDArray[np.float32]:
        """Gather the codes, then the words."""
        return self.words[unpack(self.codes, np.asarray(rows), self.bits)].astype(np.float32)

    def decode(self) -> npt.NDArray[np.float32]:
        """All rows, without asking where each lies."""
        return self.words.astype(np.float32)[unpack_first(self.codes, self.rows, self.bits)]

    def recode(self, array: Array) -> Codebook:
        """Another table with a book of its own, as large as this one."""
        return Codebook.encode(array, self.bits)

    def cut(self, axis: int, keep: Array) -> Encoding:
        """Rows are cut in the codes, columns in the words: no value changes."""
        if axis == 1:
            return Codebook(self.codes, np.ascontiguousarray(self.words[:, keep]), self.bits, self.rows)
        codes = pack(unpack(self.codes, np.asarray(keep, dtype=np.int64), self.bits), self.bits)
        return Codebook(codes, self.words, self.bits, len(keep))


def codebook_bits(bits: int) -> None:
    """Raise RecpruneError for sizes that a codebook does not have."""
    if type(bits) is not int or not 1 <= bits <= 12:
        raise RecpruneError(f"bits of a codebook must be 1..12, got {bits!r}")
