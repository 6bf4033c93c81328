"""Inputs that no tree reads any more are not shipped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from recprune.graph import Graph, Op
from recprune.weights import Trees, Weights

__all__ = ["without_unread"]


def without_unread(graph: Graph, weights: Weights) -> tuple[Graph, Weights]:
    """Leave out raw columns, categories and whole tables that trees alone could read, and none of whose splits does.

    One input stays where all trees are leaves, for a request has to give something.
    """
    made = {op.output: op for op in graph.ops}
    for op in graph.ops:
        if (
            op.kind != "trees"
            or not isinstance(trees := weights[op.params[0]].value, Trees)
            or op.inputs[0] not in made
        ):
            continue
        joined = made[op.inputs[0]]
        parts = [made[name] for name in joined.inputs if name in made] if joined.kind == "concat" else [joined]
        names = [name for part in parts for name in _inputs(part, weights)]
        if len(names) != len(trees.tests.counts):
            continue
        read = {name for name, count in zip(names, trees.tests.counts, strict=True) if count} or {names[0]}
        mine = [op, joined, *(part for part in parts if part.kind == "numbers")]
        read |= {name for other in graph.ops if other not in mine for name in other.inputs}
        keep = np.array([i for i, name in enumerate(names) if name in read])
        if len(keep) < len(names):
            fewer = replace(trees, tests=trees.tests.of_inputs(keep))
            graph, weights = graph.without(set(names) - read), weights.replace(op.params[0], fewer)
    return graph, weights


def _inputs(part: Op, weights: Weights) -> list[str]:
    """What must be there for each column that a part gives: the raw column, or the part itself."""
    if part.kind == "numbers":
        return list(part.inputs)
    if part.kind in ("category", "take"):
        return [part.output] * (1 if part.kind == "category" else weights[part.params[0]].shape[1])
    return []
