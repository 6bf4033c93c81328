"""Replace rows by words of a small book."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.pruning.step import Step
from recprune.weights import Codebook as Book
from recprune.weights import Encoding, Rows, Weights, codebook_bits

__all__ = ["Codebook"]


@dataclass(frozen=True)
class Codebook(Step):
    """Store each row of the target tables as `bits` bits: the number of one of 2**bits words, fitted by k-means.

    The error of a row counts as often as the row is read, where reads were counted. Left as it is where it would not get
    smaller: the book itself costs 2**bits words.
    """

    verb: ClassVar[str] = "codebook"
    target: str
    bits: int = 8

    def __post_init__(self) -> None:
        codebook_bits(self.bits)

    def __call__(self, weights: Weights, context: Context) -> Weights:
        """Fit a book for each table; kept rows stay the kept ones."""
        for name in weights.match(self.target):
            param = weights[name]
            if len(param.shape) != 2:
                raise RecpruneError(f"codebook cannot act on {name!r}: it has {len(param.shape)} axes, not 2")
            value, shares = param.value, context.shares(param.axes[0], param.shape[0])
            if isinstance(value, Rows):
                read = np.bincount(value.position(np.arange(value.rows)), shares, value.inner.shape[0])
                stored = read.astype(np.float64)
                inner = self._smaller(value.inner, stored)
                weights = weights.replace(name, Rows(value.kept, inner, value.default, value.rows))
            else:
                weights = weights.replace(name, self._smaller(value, shares))
        return weights

    def _smaller(self, value: Encoding, shares: npt.NDArray[np.float64]) -> Encoding:
        if 0 in value.shape:
            return value
        coded = Book.encode(value.decode(), self.bits, shares)
        return coded if coded.nbytes < value.nbytes else value

    def describe(self) -> str:
        """In words."""
        return f"store each row of {self.target} as one of {1 << self.bits} words, fitted by reads"
