"""What running a model on data says, where the model has a graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.artifact.layout import without_dead
from recprune.errors import RecpruneError
from recprune.graph import Graph
from recprune.runtime.requests import Requests
from recprune.snapshot import Snapshot
from recprune.weights import Weights

__all__ = ["GraphCalibration", "no_gradients"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class GraphCalibration:
    """Runs a graph on `columns()`, the raw columns of the calibration rows; `slope` gives the gradients of a framework."""

    snapshot: Callable[[], Snapshot]
    columns: Callable[[Graph], Mapping[str, Any]]
    slope: Callable[[Weights], Mapping[str, Array]]
    _last: dict[Any, Any] = field(default_factory=dict)  # a pass over the training data serves every table

    @cached_property
    def original(self) -> Snapshot:
        """The model as it was, with the graph of what it computes."""
        return self.snapshot()

    def outputs(self, weights: Weights) -> Mapping[str, Any]:
        """What each operation of the graph gives with these weights for the calibration rows, by its name."""
        return self._requests.trace(*self._live(weights))

    def output(self, weights: Weights, name: str) -> Array:
        """What the operation of that name gives; of the original it is kept, since many steps go towards it."""
        key = ("original", name) if weights is self.original.weights else None
        if key not in self._last:
            found = np.asarray(self._requests.trace(weights, self._requests.graph.until(name))[name])
            if key is None:
                return found
            self._last[key] = found
        kept: Array = self._last[key]
        return kept

    def scores(self, weights: Weights) -> Array:
        """What the model with these weights gives for the calibration rows."""
        return self._requests.run(*self._live(weights))

    def gradients(self, weights: Weights) -> Mapping[str, Array]:
        """Gradient of the training loss, summed over the training rows, by the name of each trained parameter."""
        if self._last.get("weights") is not weights:
            self._last.update(weights=weights, found=self.slope(weights))
        found: Mapping[str, Array] = self._last["found"]
        return found

    def inputs(self, weights: Weights) -> Mapping[str, Array]:
        """Mean square of each input of a linear layer over the calibration rows, by the name of its matrix."""
        found = {}
        weights, graph = self._live(weights)
        for op in graph.ops:
            if op.kind in ("linear", "cross"):
                value = self._requests.run(weights, replace(graph, output=op.inputs[-1]))
                found[op.params[0]] = np.square(value, dtype=np.float64).mean(axis=0)
        return found

    def _live(self, weights: Weights) -> tuple[Weights, Graph]:
        """Without what was dropped whole, as the artifact is."""
        live = without_dead(self.original.with_weights(weights))
        assert live.graph is not None
        return live.weights, live.graph

    @cached_property
    def _requests(self) -> Requests:
        assert self.original.graph is not None
        return Requests(self.original, self.columns(self.original.graph))


def no_gradients(weights: Weights) -> Mapping[str, Array]:
    """The slope of a model that was fitted without gradients: a RecpruneError that says so."""
    raise RecpruneError("this model was fitted without gradients; choose another importance, such as expected_loss")
