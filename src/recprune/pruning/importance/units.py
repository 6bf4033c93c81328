"""What is scored: rows of a table, or positions of an axis wherever it appears."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recprune.weights import Weights

__all__ = ["Units"]


@dataclass(frozen=True, eq=False)
class Units:
    """The positions of one atomic axis, as far as the parameters `names` hold them: what is dropped is a position.

    `Units.rows(weights, name)` are the rows of one table, each dropped by itself; `Units.along(weights, axis)` are the
    columns of tables or the neurons of a layer, which go from every parameter that has the axis.

    >>> from recprune.weights import Dense, Param
    >>> layer = Param(("hidden", "factor"), Dense(np.array([[1, 2], [3, 4], [5, 6]], np.float32)))
    >>> units = Units.along(Weights({"layer": layer}), "factor")
    >>> [(name, side, values.tolist()) for name, side, values in units.values()]
    [('layer', 1, [[1.0, 3.0, 5.0], [2.0, 4.0, 6.0]])]
    """

    weights: Weights
    axis: str
    names: tuple[str, ...]
    of_rows: bool

    @classmethod
    def rows(cls, weights: Weights, name: str) -> Units:
        """The rows of a table."""
        return cls(weights, weights[name].axes[0], (name,), True)

    @classmethod
    def along(cls, weights: Weights, axis: str) -> Units:
        """The positions of an axis."""
        return cls(weights, axis, tuple(weights.atoms()[axis]), False)

    def __len__(self) -> int:
        return self.weights[self.names[0]].shape[0] if self.of_rows else self.weights.sizes[self.axis]

    def values(self) -> Iterator[tuple[str, int, npt.NDArray[np.float64]]]:
        """Each parameter, which of its axes it is, and what belongs to each unit there, (units, values)."""
        for name in self.names:
            array = self.weights[name].value.decode().astype(np.float64)
            for side, _ in self.sides(name):
                yield name, side, self.split(array, name, side)

    def sides(self, name: str) -> list[tuple[int, str]]:
        """The axes of a parameter on which the units lie, with their expressions."""
        axes = list(enumerate(self.weights[name].axes))
        return axes[:1] if self.of_rows else [(i, a) for i, a in axes if self.axis in a.replace("*", "+").split("+")]

    def split(self, array: npt.NDArray[np.float64], name: str, side: int) -> npt.NDArray[np.float64]:
        """An array of the shape of parameter `name`, as (units, values)."""
        expression = self.weights[name].axes[side]
        array = np.moveaxis(array, side, 0)
        if expression != self.axis:
            found = [self.weights.positions(expression, self.axis, np.array([k]), only=True) for k in range(len(self))]
            array = array[np.stack(found)] if found else array[:0]
        return array.reshape(len(self), -1 if array.size else 0)
