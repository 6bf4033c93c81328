"""Requests that are scored with many weights of one model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from recprune.graph import Graph
from recprune.runtime.reference import execute, rows_of, trace
from recprune.snapshot import Snapshot
from recprune.vocabulary import ListedVocabulary
from recprune.weights import Weights

__all__ = ["Requests"]

Array = npt.NDArray[Any]


class Requests:
    """Runs the graph of a snapshot on raw `columns`; ids, known exactly, are looked up once."""

    def __init__(self, snapshot: Snapshot, columns: Mapping[str, Any]) -> None:
        assert snapshot.graph is not None
        self.graph = snapshot.graph
        self._vocabularies = {axis: ListedVocabulary(ids) for axis, ids in snapshot.ids.items()}
        self._known = rows_of(self.graph, self._vocabularies, columns)

    def run(self, weights: Weights, graph: Graph | None = None, given: Mapping[str, Any] | None = None) -> Array:
        """The output of the graph, or of a part of it, with these weights; what is `given` by name is not computed."""
        return execute(graph or self.graph, weights, self._vocabularies, {**self._known, **(given or {})})

    def trace(self, weights: Weights, graph: Graph | None = None) -> dict[str, Any]:
        """What every operation gives, by the name of its output."""
        return trace(graph or self.graph, weights, self._vocabularies, self._known)
