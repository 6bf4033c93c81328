"""Which parts of a model training shall make zero, how many, and by which penalty. In numpy: steps plan with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.errors import RecpruneError, unknown

__all__ = ["PENALTIES", "Part", "Pool", "Sparsity", "kept"]

Array = npt.NDArray[Any]

PENALTIES = ("l1", "l2", "threshold")
_RAMP = 0.75  # share of the training over which zeros become more; the rest is for what is left to settle


@dataclass(frozen=True, eq=False)
class Part:
    """Where units lie in the stored array of one parameter.

    `unit`: for each position along `axis` the number of the unit that it belongs to, -1 for none; without `axis` every
    entry is a unit. `reads`: for each row how often it is read, or one number for all: an error in an entry costs that
    many times its square, so units are measured and shrunk in that metric. `anchor`: the row from which rows are
    measured, where zero means equal to that row.
    """

    name: str
    axis: int | None
    unit: Array
    reads: Array
    anchor: int | None = None

    def squares(self, array: Array, count: int) -> npt.NDArray[np.float64]:
        """Sum of squares of each unit."""
        apart = self._apart(array).astype(np.float64)
        squares = apart**2 * self.reads.reshape(-1, *[1] * (array.ndim - 1))
        if self.axis is None:
            return squares.reshape(-1)
        along = squares.sum(axis=tuple(i for i in range(array.ndim) if i != self.axis))
        inside = self.unit >= 0
        return np.bincount(self.unit[inside], along[inside], minlength=count).astype(np.float64)

    def scaled(self, array: Array, factor: Array) -> Array:
        """The array with each unit multiplied by its factor; where nothing is left it is exactly zero, or the anchor."""
        if self.axis is None:
            by = factor.reshape(array.shape)
        else:
            along = np.where(self.unit >= 0, factor[self.unit], 1.0)
            by = along.reshape([-1 if i == self.axis else 1 for i in range(array.ndim)])
        if self.anchor is None:
            return (array * by).astype(array.dtype)
        # Rows that do not move keep their bits. What rows on their way out lose, the anchor makes up for: it becomes the
        # mean of all that read it, which has the least squared error.
        leaving = np.where((self.unit >= 0) & (along <= 0.5), self.reads * (1 - along), 0.0)
        leaving[self.anchor] = max(float(self.reads[self.anchor]), 1e-9)
        centre = leaving @ array / leaving.sum()
        moved = np.where(by == 0, centre, array[self.anchor] + self._apart(array) * by)
        result = np.where(by == 1, array, moved).astype(array.dtype)
        result[self.anchor] = centre
        return result

    def _apart(self, array: Array) -> Array:
        return array if self.anchor is None else array - array[self.anchor]


@dataclass(frozen=True, eq=False)
class Pool:
    """Units that are ranked together: `count` of them, each perhaps in several parameters."""

    parts: tuple[Part, ...]
    count: int

    def norms(self, arrays: Mapping[str, Array]) -> npt.NDArray[np.float64]:
        """Norm of each unit, in the metric of the reads."""
        found = np.sqrt(np.sum([part.squares(arrays[part.name], self.count) for part in self.parts], axis=0))
        return np.asarray(found, dtype=np.float64)

    def scaled(self, arrays: Mapping[str, Array], factor: Array) -> dict[str, Array]:
        """The arrays of the parts, each unit multiplied by its factor."""
        return {part.name: part.scaled(arrays[part.name], factor) for part in self.parts}


@dataclass(frozen=True, eq=False)
class Sparsity:
    """A penalty under which all but the fraction `keep` of the units become zero in the course of a training."""

    pools: tuple[Pool, ...]
    keep: float
    penalty: str

    def __post_init__(self) -> None:
        if self.penalty not in PENALTIES:
            raise unknown("penalty", str(self.penalty), PENALTIES)
        if type(self.keep) not in (int, float) or not 0 < self.keep <= 1:
            raise RecpruneError(f"keep must be in (0, 1], got {self.keep!r}")

    def reached(self, done: float) -> bool:
        """Whether the schedule has come to its end when the share `done` of the training is over."""
        return done >= _RAMP

    def zeros(self, count: int, done: float) -> int:
        """How many of `count` units are to be zero: quickly at first, then ever more slowly (Zhu and Gupta 2017)."""
        share = 1 - (1 - min(done / _RAMP, 1)) ** 3
        return int(share * (count - kept(self.keep, count)) + 1e-6)

    def factors(self, norms: Array, done: float) -> npt.NDArray[np.float64]:
        """What to multiply each unit with, given its norm."""
        zeros = self.zeros(len(norms), done)
        order = np.argsort(norms, kind="stable")[:zeros]
        factor = np.ones(len(norms))
        if self.reached(done) or not zeros:
            factor[order] = 0
        elif self.penalty == "l2":
            factor[order] = 0.5
        else:
            # The least strength whose proximal step makes `zeros` of them zero, each weighed by the inverse of its norm.
            strength = norms[order[-1]]
            factor = np.maximum(1 - (strength / np.where(norms > 0, norms, 1)) ** 2, 0)
            factor[order] = 0
        return factor


def kept(keep: float, count: int) -> int:
    """How many of `count` units are the fraction `keep`."""
    return min(math.ceil(keep * count - 1e-9), count)
