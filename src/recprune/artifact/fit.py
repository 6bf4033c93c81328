"""Whether a graph, its weights and its vocabularies fit together: what would fail at the first request fails on load."""

from __future__ import annotations

from collections.abc import Mapping, Sized

from recprune.errors import RecpruneError
from recprune.graph import Graph, Op
from recprune.weights import Weights

__all__ = ["check"]

# What an operation gives: the kind of it, and how many rows there are to read or columns there are.
_Value = tuple[str, int]


def check(graph: Graph, weights: Weights, vocabularies: Mapping[str, Sized]) -> None:
    """Raise RecpruneError where an operation gets what it cannot read, naming the operation and the shapes."""
    for name in graph.params:
        if name not in weights:
            raise RecpruneError(f"the graph reads parameter {name!r}, which the artifact lacks")
    for name in graph.vocabularies:
        if name not in vocabularies:
            raise RecpruneError(f"the graph reads vocabulary {name!r}, which the artifact lacks")
    known: dict[str, _Value] = dict.fromkeys(graph.columns, ("column", 0))
    for op in graph.ops:
        known[op.output] = _result(op, [known[name] for name in op.inputs], weights, vocabularies)
    kind, width = known[graph.output]
    expected = 1 if graph.items is None else len(vocabularies[graph.items]) + 1
    if (kind, width) != ("vectors", expected):
        raise RecpruneError(f"the output {graph.output!r} has {width} {kind}, a score needs {expected} columns")
    if graph.items is not None and graph.fallback is not None:
        shape = weights[graph.fallback].shape
        if shape not in ((expected,), (expected, 1)):
            raise RecpruneError(f"the fallback {graph.fallback!r} has shape {shape} for {expected} columns of scores")


def _result(op: Op, inputs: list[_Value], weights: Weights, vocabularies: Mapping[str, Sized]) -> _Value:
    kinds, widths = {kind for kind, _ in inputs}, [width for _, width in inputs]
    shapes = [weights[name].shape for name in op.params]

    def expect(kind: str, fits: bool = True) -> None:
        if kinds != {kind} or not fits:
            given = ", ".join(f"{width} {kind}" if kind != "column" else kind for kind, width in inputs)
            names = ", ".join(f"{name!r} of shape {shape}" for name, shape in zip(op.params, shapes, strict=True))
            raise RecpruneError(
                f"operation {op.output!r}: {op.kind} cannot read {given}" + f" with {names}" * bool(names)
            )

    if op.kind in ("lookup", "words", "history"):
        expect("column", len(inputs) <= (2 if op.kind == "lookup" else 1))
        rows = len(vocabularies[op.attrs["vocabulary"]]) + 1
        return ("rows" if op.kind == "lookup" else "bags", rows)
    if op.kind == "bucket":
        expect("column")
        return ("rows", len(op.attrs["edges"]) + 2)
    if op.kind in ("take", "pool"):
        expect("rows" if op.kind == "take" else "bags", len(shapes[0]) == 2 and shapes[0][0] == widths[0])
        return ("vectors", shapes[0][1])
    if op.kind in ("linear", "cross"):
        expect("vectors", len(shapes[0]) == 2 and shapes[0][1] == widths[-1] and shapes[1] == shapes[0][:1])
        if op.kind == "cross":
            expect("vectors", widths == [shapes[0][0]] * 2)
        return ("vectors", shapes[0][0])
    if op.kind == "shift":
        expect("vectors", max(shapes[0], default=0) == widths[0] and sum(d != 1 for d in shapes[0]) <= 1)
        return inputs[0]
    if op.kind == "add":
        expect("vectors", len({*widths, 1}) <= 2)
        return ("vectors", max(widths))
    expect("vectors")
    return ("vectors", {"concat": sum(widths), "fm": 1, "sum": 1}.get(op.kind, widths[0]))
