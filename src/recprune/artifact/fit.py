"""Whether a graph, its weights and its vocabularies fit together: what would fail at the first request fails on load."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sized
from typing import NamedTuple

from recprune.errors import RecpruneError
from recprune.graph import Graph, Op
from recprune.weights import Param, Trees, Weights

__all__ = ["check"]

_WIDEST = 1 << 16  # columns that any model may have
_GROWTH = 4096  # values that a stored byte may stand for
_WHOLE = ("linear", "cross", "layer_norm", "shift")  # what reads its parameters whole


class _Value(NamedTuple):
    """What an operation gives: the kind of it, how many rows there are to read or columns there are, and of what.

    Kinds: `column`; `rows` and `bags` of a table; `vectors`, one a request; `steps`, a vector for each row of the bags `of`;
    `items`, a vector for each of the `of` rows of a table.
    """

    kind: str
    width: int
    of: str = ""


def check(graph: Graph, weights: Weights, vocabularies: Mapping[str, Sized]) -> None:
    """Raise RecpruneError where an operation gets what it cannot read, naming the operation and the shapes."""
    for name in graph.params:
        if name not in weights:
            raise RecpruneError(f"the graph reads parameter {name!r}, which the artifact lacks")
    for name in graph.vocabularies:
        if name not in vocabularies:
            raise RecpruneError(f"the graph reads vocabulary {name!r}, which the artifact lacks")
    # Beyond that, each column costs a byte of weights or an id: a small file cannot ask for all of the memory.
    widest = max(_WIDEST, weights.nbytes + sum(len(vocabulary) + 1 for vocabulary in vocabularies.values()))
    known: dict[str, _Value] = dict.fromkeys(graph.columns, _Value("column", 0))
    for op in graph.ops:
        for name in op.params:
            _no_bomb(name, weights[name], widest, op.kind in _WHOLE)
        found = _result(op, [known[name] for name in op.inputs], weights, vocabularies)
        if found.kind in ("vectors", "steps", "items") and found.width > widest:
            raise RecpruneError(f"operation {op.output!r} gives {found.width} columns; this model may have {widest}")
        known[op.output] = found
    kind, width, _ = known[graph.output]
    expected = max(width, 1) if graph.items is None else len(vocabularies[graph.items]) + 1
    if (kind, width) != ("vectors", expected):
        raise RecpruneError(f"the output {graph.output!r} has {width} {kind}, a score needs {expected} columns")
    if graph.classes is not None and len(graph.classes) != (2 if width == 1 else width):
        raise RecpruneError(f"the output {graph.output!r} has {width} columns for {len(graph.classes)} classes")
    if graph.items is not None and graph.fallback is not None:
        shape = weights[graph.fallback].shape
        if shape not in ((expected,), (expected, 1)):
            raise RecpruneError(f"the fallback {graph.fallback!r} has shape {shape} for {expected} columns of scores")


def _no_bomb(name: str, param: Param, widest: int, whole: bool) -> None:
    width, values = math.prod(param.shape[1:]), math.prod(param.shape)
    if width > widest or (whole and values > max(_WIDEST**2 >> 8, _GROWTH * param.nbytes)):
        raise RecpruneError(f"parameter {name!r} of {param.nbytes} bytes claims a shape of {param.shape}")


def _result(op: Op, inputs: list[_Value], weights: Weights, vocabularies: Mapping[str, Sized]) -> _Value:
    kinds, widths = [value.kind for value in inputs], [value.width for value in inputs]
    shapes = [weights[name].shape for name in op.params]

    def expect(*expected: str, fits: bool = True) -> None:
        wanted = [expected[min(i, len(expected) - 1)] for i in range(len(kinds))]
        alike = op.kind == "dot" or len({value.of for value in inputs}) <= 1
        if kinds != wanted or not alike or not fits:
            given = [f"{value.width} {value.kind}" if value.kind != "column" else value.kind for value in inputs]
            names = [f"{name!r} of shape {shape}" for name, shape in zip(op.params, shapes, strict=True)]
            read = " with ".join(", ".join(part) for part in (given, names) if part)
            raise RecpruneError(f"operation {op.output!r}: {op.kind} cannot read {read}")

    if op.kind in ("lookup", "words", "history", "tokens", "features"):
        expect("column", fits=len(inputs) <= (2 if op.kind == "lookup" else 1))
        rows = len(vocabularies[op.attrs["vocabulary"]]) + 1
        return _Value("rows", rows) if op.kind == "lookup" else _Value("bags", rows, op.output)
    if op.kind == "bucket":
        expect("column")
        return _Value("rows", len(op.attrs["edges"]) + 2)
    if op.kind in ("numbers", "category"):
        expect("column")
        return _Value("vectors", len(inputs))
    if op.kind == "trees":
        trees = weights[op.params[0]].value
        expect("vectors", fits=isinstance(trees, Trees) and trees.fits(widths[0], shapes[1]))
        return _Value("vectors", trees.outputs if isinstance(trees, Trees) else 0)
    if op.kind in ("recent", "places"):
        expect("bags")
        rows, of = (widths[0], op.output) if op.kind == "recent" else (op.attrs["length"] + 1, inputs[0].of)
        return _Value("bags", rows, of)
    if op.kind == "tfidf":
        expect("bags", fits=len(shapes[0]) == 2 and shapes[0][0] == widths[0] and shapes[0][1] >= 1)
        return _Value("bags", widths[0], op.output)
    if op.kind in ("take", "pool", "solve"):
        steps = op.kind == "take" and kinds == ["bags"]
        read = "bags" if op.kind != "take" or steps else "rows"
        expect(read, fits=len(shapes[0]) == 2 and shapes[0][0] == widths[0])
        return _Value("steps", shapes[0][1], inputs[0].of) if steps else _Value("vectors", shapes[0][1])
    if op.kind == "every":
        expect(fits=len(shapes[0]) == 2)
        return _Value("items", shapes[0][1], str(shapes[0][0]))
    if op.kind == "attention":
        heads = weights.sizes.get(op.attrs["heads"], 0)
        divided = heads > 0 and not widths[0] % heads and not widths[2] % heads
        expect("steps", "steps", "steps", "bags", fits=widths[0] == widths[1] and divided)
        return _Value("steps", widths[2], inputs[0].of)
    if op.kind == "last":
        expect("steps", "bags")
        return _Value("vectors", widths[0])
    if op.kind == "dot":
        expect("vectors", "items", fits=widths[0] == widths[1])
        return _Value("vectors", int(inputs[1].of))
    # Layers: over a vector a request, a step or an item, and they give as many.
    kind, of = kinds[0] if kinds[0] in ("steps", "items") else "vectors", inputs[0].of
    if op.kind in ("linear", "cross"):
        expect(kind, fits=len(shapes[0]) == 2 and shapes[0][1] == widths[-1] and shapes[1] == shapes[0][:1])
        if op.kind == "cross":
            expect(kind, fits=widths == [shapes[0][0]] * 2)
        return _Value(kind, shapes[0][0], of)
    if op.kind == "layer_norm":
        expect(kind, fits=shapes == [(widths[0],)] * 2 and widths[0] <= op.attrs["width"])
        return inputs[0]
    if op.kind == "shift":
        expect(kind, fits=max(shapes[0], default=0) == widths[0] and sum(d != 1 for d in shapes[0]) <= 1)
        return inputs[0]
    if op.kind in ("softmax", "normalize"):
        expect(kind, fits=widths[0] >= 1)
        return inputs[0]
    expect(kind, fits=op.kind != "add" or len({*widths, 1}) <= 2)
    return _Value(kind, {"concat": sum(widths), "add": max(widths), "fm": 1, "sum": 1}.get(op.kind, widths[0]), of)
