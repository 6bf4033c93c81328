"""What an adapter reads out of a trained model."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy.typing as npt

from recprune.errors import RecpruneError
from recprune.graph import Graph
from recprune.weights import Weights

__all__ = ["Snapshot"]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A model as named arrays, a graph of what it computes, and the ids behind the rows of its tables.

    `ids`: for each axis with a vocabulary the known ids in row order; every table on that axis has one row more, the
    out-of-vocabulary row, last. `graph` is None where the adapter cannot express the model: its weights can be
    compressed and put back, but not scored without its framework.
    """

    weights: Weights
    graph: Graph | None = None
    ids: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for axis, ids in self.ids.items():
            rows = self.weights.sizes.get(axis)
            if rows != len(ids) + 1:
                raise RecpruneError(
                    f"axis {axis!r} has {rows} rows for {len(ids)} ids: one more, that of unknown ids, is due"
                )

    def with_weights(self, weights: Weights) -> "Snapshot":
        """The same model with other weights."""
        return replace(self, weights=weights)
