"""Drop single weights: the floor that every other method has to beat."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from recprune.context import Context
from recprune.pruning.step import MATRICES, Step
from recprune.weights import Encoding, Sparse, Weights

__all__ = ["DropWeights"]

_BITS = 8


@dataclass(frozen=True)
class DropWeights(Step):
    """Keep the fraction `keep` of the values of each target matrix that are largest in magnitude, and store them sparse.

    Plain magnitude pruning (Han et al. 2015), within each target. What is stored is what counts: the place of a value
    costs about as much as an 8-bit code, which is how the value itself is stored, so halving the values does not halve the
    bytes; a matrix that would not get smaller is left as it is, with all its values.
    """

    verb: ClassVar[str] = "drop_weights"
    target: str
    keep: float

    def __call__(self, weights: Weights, context: Context) -> Weights:
        """Act on what the targets store: kept rows stay the kept ones, both factors of a product are matrices."""
        return self.each(weights, lambda param: param.value.map_dense(self._smaller), MATRICES)

    def _smaller(self, value: Encoding) -> Encoding:
        array = value.decode()
        size = np.abs(array).reshape(-1)
        count = math.ceil(self.keep * len(size))
        # Of equal magnitudes the first stay.
        largest = np.sort(np.argsort(-size, kind="stable")[:count])
        rows, columns = np.divmod(largest[size[largest] > 0], max(array.shape[1], 1))
        shape = (int(array.shape[0]), int(array.shape[1]))
        coded = Sparse.encode(rows, columns, array[rows, columns], shape, _BITS)
        return coded if coded.nbytes < value.nbytes else value

    def describe(self) -> str:
        """In words."""
        return f"keep the {100 * self.keep:.3g} % largest values of {self.target}, stored sparse"
