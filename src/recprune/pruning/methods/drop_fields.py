"""Drop whole input fields and blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.pruning.step import Step
from recprune.weights import Weights, match

__all__ = ["DropFields", "fields_of"]


@dataclass(frozen=True)
class DropFields(Step):
    """Cut fields (all tables on an axis, such as `city`) or blocks (one table's columns, such as `user.ratings`) to nothing.

    What reads them shrinks with them, and what nothing reads any more leaves the artifact, the vocabulary too.
    """

    verb: ClassVar[str] = "drop_fields"
    fields: tuple[str, ...]

    def __post_init__(self) -> None:
        listed = isinstance(self.fields, list | tuple) and len(self.fields) > 0
        if not listed or not all(isinstance(name, str) for name in self.fields):
            raise RecpruneError(f"fields must be a list of names, got {self.fields!r}")
        object.__setattr__(self, "fields", tuple(self.fields))

    def __call__(self, weights: Weights, context: Context) -> Weights:
        """Cut the column axes of the fields to width 0."""
        for axis in self._axes(weights):
            weights = weights.cut(axis, np.zeros(0, np.int64))
        return weights

    def _axes(self, weights: Weights) -> list[str]:
        columns = fields_of(weights)
        names = [field for pattern in self.fields for field in match(pattern, list(columns), "field")]
        return list(dict.fromkeys(axis for field in names for axis in columns[field]))

    def touches(self, weights: Weights) -> list[str]:
        """Every parameter that has one of the columns."""
        atoms = weights.atoms()
        return list(dict.fromkeys(name for axis in self._axes(weights) for name in atoms[axis]))

    def describe(self) -> str:
        """In words."""
        return f"drop the fields {', '.join(self.fields)}"


def fields_of(weights: Weights) -> dict[str, list[str]]:
    """What can be dropped: for each field (`user`), block (`user ratings`) and column the column axes that go with it.

    The block of a column axis is what comes before its last dot: `user ratings.mean` belongs to `user ratings`.
    """
    found: dict[str, list[str]] = {}
    for param in weights.values():
        if param.protected and len(param.axes) == 2 and param.axes[1] and param.axes[0] != param.axes[1]:
            for column in param.axes[1].split("+"):
                for name in dict.fromkeys((param.axes[0], column.rpartition(".")[0] or column, column)):
                    if column not in found.setdefault(name, []):
                        found[name].append(column)
    return found
