"""Replace matrices by products of narrow ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.pruning.step import Step
from recprune.weights import Dense, Encoding, LowRank, Rows, Weights

__all__ = ["Factorize"]


@dataclass(frozen=True)
class Factorize(Step):
    """Replace each target matrix by its best approximation of rank `rank`, where that is smaller.

    The error of a table's row counts as often as the row is read: singular value decomposition of the matrix with rows
    scaled by the square root of their reads (closed form; Srebro, Jaakkola 2003, separable weights).
    """

    verb: ClassVar[str] = "factorize"
    target: str
    rank: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.rank) is not int or self.rank < 1:
            raise RecpruneError(f"rank must be a positive whole number, got {self.rank!r}")

    def __call__(self, weights: Weights, context: Context) -> Weights:
        """Factorize what the targets store; kept rows stay the kept ones."""
        for name in weights.match(self.target):
            param = weights[name]
            if len(param.shape) != 2:
                raise RecpruneError(f"factorize cannot act on {name!r}: it has {len(param.shape)} axes, not 2")
            shares = context.shares(param.axes[0], param.shape[0])
            weights = weights.replace(name, self._factorize(param.value, shares))
        return weights

    def _factorize(self, value: Encoding, shares: npt.NDArray[Any]) -> Encoding:
        if isinstance(value, Rows):
            stored = np.zeros(value.inner.shape[0])
            np.add.at(stored, value.position(np.arange(value.rows)), shares)
            return Rows(value.kept, self._factorize(value.inner, stored), value.default, value.rows)
        if isinstance(value, LowRank) and value.rank <= self.rank:
            return value
        if self.rank >= min(value.shape):
            return value
        root = np.sqrt(shares + max(float(shares.mean()), 1e-9) * 1e-2)[:, None]
        _, _, basis = np.linalg.svd(value.decode().astype(np.float64) * root, full_matrices=False)
        right = basis[: self.rank]
        left = value.decode().astype(np.float64) @ right.T
        # The same spread in both factors, so that one number of bits serves both.
        balance = np.sqrt(np.maximum(np.linalg.norm(left, axis=0), 1e-30))
        factors = LowRank(
            Dense((left / balance).astype(np.float32)), Dense((right * balance[:, None]).astype(np.float32))
        )
        return factors if factors.nbytes < value.nbytes else value

    def describe(self) -> str:
        """In words."""
        return f"factorize {self.target} to rank {self.rank}, rows weighted by their reads"
