"""Replace matrices by products of narrow ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.pruning.step import MATRICES, Step
from recprune.weights import Encoding, LowRank, Param, Rows, Weights, directions

__all__ = ["Factorize"]

_WAYS = ("rank", "energy", "bytes", "change")


@dataclass(frozen=True)
class Factorize(Step):
    """Replace each target matrix by its best approximation of low rank, where that is smaller.

    The error of a table's row counts as often as the row is read: singular value decomposition of the matrix with rows
    scaled by the square root of their reads (closed form; Srebro, Jaakkola 2003, separable weights).

    Exactly one is given: `rank`; `energy`, the share in (0, 1) of each matrix's squared norm, weighted by reads, that its
    rank must reach; `bytes`, what the factors of each matrix may take in float32 (codes, if any, come after); or `change`,
    in (0, 1), by how much of their spread each matrix may change the scores (root mean square over standard deviation) of
    validation rows, or for a model of one's own of the batches that were given.
    """

    verb: ClassVar[str] = "factorize"
    target: str
    rank: int | None = None
    energy: float | None = None
    bytes: int | None = None
    change: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        given = [name for name in _WAYS if getattr(self, name) is not None]
        if len(given) != 1:
            raise RecpruneError(
                f"factorize takes exactly one of {', '.join(_WAYS)}, got {' and '.join(given) or 'none'}"
            )
        for name in ("rank", "bytes"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise RecpruneError(f"{name} must be a positive whole number, got {value!r}")
        for name in ("energy", "change"):
            value = getattr(self, name)
            if value is not None and (type(value) is not float or not 0 < value < 1):
                raise RecpruneError(f"{name} must be in (0, 1), got {value!r}")

    def __call__(self, weights: Weights, context: Context) -> Weights:
        """Factorize what the targets store; kept rows stay the kept ones."""
        if self.change is not None:
            for name in weights.match(self.target):
                self.check(weights, name, MATRICES)
                weights = self._least(name, weights, context, self.change)
            return weights

        def factorized(param: Param) -> Encoding:
            return self._factorize(param.value, context.shares(param.axes[0], param.shape[0]))

        return self.each(weights, factorized, MATRICES)

    def _least(self, name: str, weights: Weights, context: Context, change: float) -> Weights:
        """The weights with one matrix at the least rank that changes the scores by no more, found by halving."""
        if context.calibration is None:
            raise context.lacks(
                "factorize by change measures the scores", "is not run on it; give a rank", "give data to compress"
            )
        run, found = context.calibration.scores, weights
        before = run(weights).astype(np.float64)
        low, high = 1, min(weights[name].shape)
        while low < high:
            rank = (low + high) // 2
            smaller = replace(self, target=name, rank=rank, change=None)(weights, context)
            if np.sqrt(np.square(run(smaller) - before).mean()) <= change * before.std():
                high, found = rank, smaller
            else:
                low = rank + 1
        return found

    def _factorize(self, value: Encoding, shares: npt.NDArray[Any]) -> Encoding:
        if isinstance(value, Rows):
            return value.map_stored(self._factorize, shares)
        if not min(value.shape):
            return value
        array = value.decode()
        rank = self._rank(array, shares)
        if rank >= min(value.shape) or (isinstance(value, LowRank) and value.rank <= rank):
            return value
        factors = LowRank.encode(array, rank, shares)
        return factors if factors.nbytes < value.nbytes else value

    def _rank(self, array: npt.NDArray[Any], shares: npt.NDArray[Any]) -> int:
        if self.rank is not None:
            return self.rank
        if self.bytes is not None:
            one = 4 * sum(array.shape)
            if self.bytes < one:
                raise RecpruneError(f"rank 1 of a matrix of {array.shape} takes {one:,} bytes, not {self.bytes:,}")
            return self.bytes // one
        assert self.energy is not None
        energy, _ = directions(array, shares)
        # A hair less, so that a share that is met exactly is not missed by rounding.
        return int(np.searchsorted(np.cumsum(energy), (self.energy - 1e-12) * energy.sum())) + 1

    def describe(self) -> str:
        """In words."""
        if self.change is not None:
            rank = f"the least rank that changes the scores by {100 * self.change:g} % of their spread"
        elif self.energy is not None:
            rank = f"the rank that keeps {100 * self.energy:g} % of their squared norm"
        else:
            rank = f"rank {self.rank}" if self.rank is not None else f"the rank that {self.bytes:,} bytes allow"
        return f"factorize {self.target} to {rank}, rows weighted by their reads"
