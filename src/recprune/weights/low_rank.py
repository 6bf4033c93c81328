"""A matrix as a product of two narrow ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from recprune.errors import RecpruneError
from recprune.weights.encoding import Dense, Encoding

__all__ = ["LowRank", "directions"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class LowRank(Encoding):
    """`left @ right`: (rows, rank) times (rank, columns)."""

    kind: ClassVar[str] = "low_rank"
    left: Encoding
    right: Encoding

    def __post_init__(self) -> None:
        if not isinstance(self.left, Encoding) or not isinstance(self.right, Encoding):
            raise RecpruneError("low-rank factors must be encodings")
        if len(self.left.shape) != 2 or len(self.right.shape) != 2 or self.left.shape[1] != self.right.shape[0]:
            raise RecpruneError(f"low-rank factors of shapes {self.left.shape} and {self.right.shape} do not multiply")

    @classmethod
    def encode(cls, array: Array, rank: int, shares: Array | None = None) -> LowRank:
        """Best rank-`rank` approximation in squared error: truncated SVD (Eckart, Young 1936).

        `shares`: how much the error of each row counts (its reads): the decomposition of the matrix with rows scaled by
        the square root of them (Srebro, Jaakkola 2003, separable weights). None counts all alike.
        """
        matrix = np.asarray(array, dtype=np.float64)
        if matrix.ndim != 2:
            raise RecpruneError(f"a matrix has two axes, got an array of shape {matrix.shape}")
        if not 1 <= rank <= min(matrix.shape):
            raise RecpruneError(f"rank must be in 1..{min(matrix.shape)} for a matrix of {matrix.shape}, got {rank}")
        right = directions(matrix, shares)[1][:rank]
        left = matrix @ right.T
        # The same spread in both factors, so that one number of bits serves both.
        balance = np.sqrt(np.maximum(np.linalg.norm(left, axis=0), 1e-30))
        return cls(Dense((left / balance).astype(np.float32)), Dense((right * balance[:, None]).astype(np.float32)))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the product."""
        return (self.left.shape[0], self.right.shape[1])

    @property
    def rank(self) -> int:
        """Width of the factorization."""
        return self.left.shape[1]

    def mask(self) -> npt.NDArray[np.bool_]:
        """Which rows the left factor stores for themselves."""
        return self.left.mask()

    def take(self, rows: Array) -> npt.NDArray[np.float32]:
        """Multiply only the rows that are read."""
        return self.left.take(rows) @ self.right.decode()

    def recode(self, array: Array) -> LowRank:
        """Another matrix at the same rank (or the largest there is), its factors stored as these are."""
        rank = min(self.rank, *array.shape)
        empty = [Dense(np.zeros(shape, np.float32)) for shape in ((array.shape[0], 0), (0, array.shape[1]))]
        fresh = LowRank.encode(array, rank) if rank else LowRank(*empty)  # a group that lost all its rows
        return LowRank(self.left.recode(fresh.left.decode()), self.right.recode(fresh.right.decode()))

    def cut(self, axis: int, keep: Array) -> Encoding:
        """Rows are cut in the left factor, columns in the right one."""
        if axis == 0:
            return LowRank(self.left.cut(0, keep), self.right)
        return LowRank(self.left, self.right.cut(1, keep))

    def map_dense(self, function: Callable[[Encoding], Encoding]) -> Encoding:
        """Act on both factors."""
        return LowRank(self.left.map_dense(function), self.right.map_dense(function))


def directions(matrix: Array, shares: Array | None = None) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Orthogonal directions of the rows, and the squared norm along each, largest first; a row counts as `shares` says.

    >>> energy, basis = directions(np.array([[3.0, 0.0], [0.0, 4.0]]), shares=np.array([99.0, 1.0]))
    >>> int(energy.argmax()), np.abs(basis[0]).round().tolist()
    (0, [1.0, 0.0])
    """
    matrix = np.asarray(matrix, dtype=np.float64)
    if shares is not None:
        # Rows that nobody reads count a little too: they may be read tomorrow.
        matrix = matrix * np.sqrt(np.asarray(shares) + max(float(np.mean(shares)), 1e-9) * 1e-2)[:, None]
    _, s, basis = np.linalg.svd(matrix, full_matrices=False)
    return s**2, basis
