"""A shipped model in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from recprune.errors import RecpruneError
from recprune.graph import Graph
from recprune.vocabulary import Vocabulary
from recprune.weights import Weights

__all__ = ["FORMAT", "Artifact"]

FORMAT = 1


@dataclass(frozen=True, eq=False)
class Artifact:
    """Weights, graph and vocabularies as they lie in the directory, the recipe that made them, and what is known of them.

    `metadata` is free JSON: plan, metrics, licence of the data, digest of the original.
    """

    weights: Weights
    graph: Graph | None
    vocabularies: Mapping[str, Vocabulary]
    recipe: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.graph is None:
            return
        for name in self.graph.params:
            if name not in self.weights:
                raise RecpruneError(f"the graph reads parameter {name!r}, which the artifact lacks")
        for name in self.graph.vocabularies:
            if name not in self.vocabularies:
                raise RecpruneError(f"the graph reads vocabulary {name!r}, which the artifact lacks")
        vocabulary_of: dict[str, str] = {}
        for op in self.graph.ops:
            if "vocabulary" in op.attrs:
                vocabulary_of[op.output] = op.attrs["vocabulary"]
            elif op.kind in ("take", "pool") and op.inputs[0] in vocabulary_of:
                name = vocabulary_of[op.inputs[0]]
                rows, needed = self.weights[op.params[0]].shape[0], len(self.vocabularies[name]) + 1
                if rows != needed:
                    raise RecpruneError(
                        f"parameter {op.params[0]!r} has {rows} rows, vocabulary {name!r} needs {needed}"
                    )
        if self.graph.items is not None and self.graph.fallback is not None:
            found = self.weights[self.graph.fallback].shape[0]
            if found != len(self.vocabularies[self.graph.items]) + 1:
                raise RecpruneError(
                    f"the fallback has {found} scores for {len(self.vocabularies[self.graph.items])} items"
                )

    @property
    def resident_bytes(self) -> int:
        """Bytes of the arrays in memory once loaded, vocabularies and their directories included."""
        return self.weights.nbytes + sum(v.resident_bytes for v in self.vocabularies.values())
