"""A shipped model in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from recprune.artifact.fit import check
from recprune.graph import Graph
from recprune.vocabulary import Vocabulary
from recprune.weights import Weights

__all__ = ["FORMAT", "Artifact"]

FORMAT = 1


@dataclass(frozen=True, eq=False)
class Artifact:
    """Weights, graph and vocabularies as they lie in the directory, the recipe that made them, and what is known of them.

    `metadata` is free JSON: the plan, the lineage (digests of the original and the data, metrics). `digest`: the SHA-256 of
    the `manifest.json` that it was read from, and through it of every file; "" for one that was not read.
    """

    weights: Weights
    graph: Graph | None
    vocabularies: Mapping[str, Vocabulary]
    recipe: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    digest: str = ""

    def __post_init__(self) -> None:
        if self.graph is not None:
            check(self.graph, self.weights, self.vocabularies)

    @property
    def resident_bytes(self) -> int:
        """Bytes of the arrays in memory once loaded, vocabularies and their directories included."""
        return sum(p.value.resident_bytes for p in self.weights.values()) + sum(
            v.resident_bytes for v in self.vocabularies.values()
        )
