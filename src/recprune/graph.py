"""What a model computes: a flat list of typed operations over named arrays.

Adapters write graphs, the runtime executes them, artifacts store them as JSON. `KINDS` is the whole vocabulary of
operations; `runtime.reference` gives each its meaning in numpy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from recprune.errors import RecpruneError, unknown
from recprune.text import Analyzer

__all__ = ["KINDS", "VERSION", "Graph", "Kind", "Op"]

VERSION = 3


@dataclass(frozen=True)
class Kind:
    """Arity of an operation: how many inputs (None: one or more), parameters, and which attributes.

    `since`: the first version that has it.
    """

    inputs: int | None
    params: int
    attrs: tuple[str, ...] = ()
    since: int = 1


KINDS: dict[str, Kind] = {
    # From raw columns to rows of tables
    "lookup": Kind(None, 0, ("vocabulary",)),  # ids of one column, or of two as a pair -> rows
    "bucket": Kind(1, 0, ("edges",)),  # numbers -> 0..len(edges); missing -> len(edges) + 1
    "words": Kind(1, 0, ("vocabulary",)),  # texts -> bags of rows
    "history": Kind(1, 0, ("vocabulary",)),  # lists of ids -> bags of rows, each once; unknown ids are left out
    # From rows to vectors
    "take": Kind(1, 1),  # rows of a table
    "pool": Kind(1, 1, ("mode",)),  # sum or mean of the rows of each bag
    # Dense layers
    "concat": Kind(None, 0),
    "linear": Kind(1, 2),  # x @ weight.T + bias
    "cross": Kind(2, 2),  # x0 * (x @ weight.T + bias) + x (DCN-v2: Wang et al. 2021)
    "fm": Kind(None, 0),  # sum of products of all pairs of vectors (Rendle 2010)
    "relu": Kind(1, 0),
    "add": Kind(None, 0),
    "shift": Kind(1, 1),  # one number a column is added to every row
    "sum": Kind(1, 0),  # over the last axis, kept
    "sigmoid": Kind(1, 0),
    # Over histories: bags in their order, the latest last, and vectors for each row of each bag
    "recent": Kind(1, 0, ("length",), 2),  # the last `length` of each bag
    "places": Kind(1, 0, ("length",), 2),  # bags -> how many rows come later in the bag, at most `length`
    "layer_norm": Kind(1, 2, ("width",), 2),  # Ba et al. 2016 over `width` columns: those that were cut count as zeros
    "attention": Kind(
        4, 0, ("heads", "factor"), 2
    ),  # queries, keys, values, bags -> what each row sees of those before
    "last": Kind(2, 0, (), 2),  # vectors, bags -> the last of each bag; zeros for an empty one
    # Scores of all items
    "every": Kind(0, 1, (), 2),  # all rows of a table
    "dot": Kind(2, 0, (), 2),  # vectors x what `every` began -> a score for each row of the table
    # Texts and named features: bags whose rows count more or less
    "tokens": Kind(1, 0, ("vocabulary", "analyzer"), 3),  # texts -> bags of the n-grams that the vocabulary has
    "features": Kind(1, 0, ("vocabulary",), 3),  # mappings of names to numbers -> bags
    "tfidf": Kind(1, 1, ("sublinear", "norm"), 3),  # bags -> bags of distinct rows: counts x a table's first column
    # Several classes
    "softmax": Kind(1, 0, (), 3),
    "normalize": Kind(1, 0, (), 3),  # by the sum of the columns
    # Users without a table of users: each bag's vector is the ridge regression of what it read on the rows of a table
    "solve": Kind(1, 1, ("whole", "read", "target", "l2"), 3),
    # Trees
    "numbers": Kind(None, 0, ("dtype", "tiny"), 3),  # raw columns of numbers -> vectors, NaN where one is missing
    "category": Kind(1, 0, ("categories",), 3),  # one raw column -> the place of its value in a list, NaN where in none
    "trees": Kind(1, 2, (), 3),  # vectors -> the sum or mean of the leaves that they reach
    "scale": Kind(1, 0, ("factor",), 3),
    "exp": Kind(1, 0, (), 3),
}


def _is_edges(value: Any) -> bool:
    if not isinstance(value, list | tuple) or any(type(edge) not in (int, float) for edge in value):
        return False
    return all(math.isfinite(edge) for edge in value) and all(a < b for a, b in pairwise(value))


def _is_analyzer(value: Any) -> bool:
    try:
        return bool(Analyzer.from_json(value))
    except RecpruneError as error:
        raise RecpruneError(f"{value!r} is no analyzer: {error}") from error


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_categories(value: Any) -> bool:
    if not isinstance(value, list | tuple) or any(type(one) not in (str, int, float) for one in value):
        return False
    return len(set(value)) == len(value) and all(math.isfinite(one) for one in value if not isinstance(one, str))


_FITS: dict[str, Callable[[Any], bool]] = {
    "vocabulary": lambda value: isinstance(value, str),
    "edges": _is_edges,
    "mode": lambda value: value in ("sum", "mean"),
    "length": lambda value: type(value) is int and 1 <= value < 2**31,
    "width": lambda value: type(value) is int and 1 <= value < 2**31,
    "heads": lambda value: isinstance(value, str),  # the name of an axis: its size is how many there are
    "factor": lambda value: _is_number(value) and value > 0,
    "whole": lambda value: _is_number(value) and value >= 0,
    "read": lambda value: _is_number(value) and value >= 0,
    "target": lambda value: _is_number(value) and value > 0,
    "l2": lambda value: _is_number(value) and value > 0,
    "analyzer": _is_analyzer,
    "sublinear": lambda value: type(value) is bool,
    "norm": lambda value: value in ("l1", "l2", None),
    "dtype": lambda value: value in ("float32", "float64"),
    "tiny": lambda value: value in ("kept", "zero", "missing"),  # what a number within 1e-35 of zero counts as
    "categories": _is_categories,
}
_MOST = 10_000  # operations
# What gives zeros for zeros: where all that they read is gone, they go too.
_VANISH = ("concat", "fm", "relu", "add", "sum", "numbers")


@dataclass(frozen=True)
class Op:
    """One operation: `output` is the name of what it computes from `inputs` (names) and `params` (of the weights)."""

    kind: str
    output: str
    inputs: tuple[str, ...]
    params: tuple[str, ...] = ()
    attrs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown("operation", str(self.kind), KINDS)
        if not all(isinstance(name, str) for name in (self.output, *self.inputs, *self.params)):
            raise RecpruneError(f"operation {self.output!r}: names of outputs, inputs and parameters are texts")
        kind = KINDS[self.kind]
        if kind.inputs is not None and len(self.inputs) != kind.inputs:
            raise RecpruneError(
                f"operation {self.output!r}: {self.kind} takes {kind.inputs} inputs, got {len(self.inputs)}"
            )
        if not self.inputs and kind.inputs != 0:
            raise RecpruneError(f"operation {self.output!r}: {self.kind} has no input")
        if len(self.params) != kind.params:
            raise RecpruneError(
                f"operation {self.output!r}: {self.kind} takes {kind.params} parameters, got {len(self.params)}"
            )
        if not isinstance(self.attrs, Mapping) or set(self.attrs) != set(kind.attrs):
            raise RecpruneError(
                f"operation {self.output!r}: {self.kind} takes attributes {kind.attrs}, got {tuple(self.attrs)}"
            )
        for name, value in self.attrs.items():
            if not _FITS[name](value):
                raise RecpruneError(f"operation {self.output!r}: {value!r} is no {name}")


@dataclass(frozen=True)
class Graph:
    """Operations in the order in which they run.

    `columns`: what a request gives. `output`: the name of the scores. `items`: for a retrieval model, the vocabulary
    whose ids the columns of the output are; `fallback`: the parameter of scores for a request without known history.
    `classes`: what the columns of the output are the scores of; two where the one column is that of the second.
    """

    columns: tuple[str, ...]
    ops: tuple[Op, ...]
    output: str
    items: str | None = None
    fallback: str | None = None
    classes: tuple[Any, ...] | None = None

    def __post_init__(self) -> None:
        if self.classes is not None and any(type(label) not in (str, int, float, bool) for label in self.classes):
            raise RecpruneError(f"classes are texts, numbers or truth values, got {self.classes}")
        known = set(self.columns)
        if not known or len(known) < len(self.columns) or not all(isinstance(name, str) for name in known):
            raise RecpruneError(f"a graph reads one column or more, each once, got {self.columns}")
        if len(self.ops) > _MOST:
            raise RecpruneError(f"a graph has at most {_MOST} operations, got {len(self.ops)}")
        for op in self.ops:
            for name in op.inputs:
                if name not in known:
                    raise RecpruneError(f"operation {op.output!r} reads {name!r}, which nothing before it computes")
            if op.output in known:
                raise RecpruneError(f"operation {op.output!r} is computed twice")
            known.add(op.output)
        if self.output not in known - set(self.columns):
            raise RecpruneError(f"the output {self.output!r} is computed by no operation")

    @property
    def params(self) -> list[str]:
        """Parameters read, in order of first use."""
        read = [name for op in self.ops for name in op.params]
        return list(dict.fromkeys(read + ([self.fallback] if self.fallback else [])))

    @property
    def vocabularies(self) -> list[str]:
        """Vocabularies used, in order of first use."""
        used = [str(op.attrs["vocabulary"]) for op in self.ops if "vocabulary" in op.attrs]
        return list(dict.fromkeys(used + ([self.items] if self.items else [])))

    def to_json(self) -> dict[str, Any]:
        """As JSON; what is empty is left out."""
        ops = []
        for op in self.ops:
            more = {"inputs": list(op.inputs), "params": list(op.params), "attrs": dict(op.attrs)}
            ops.append({"kind": op.kind, "output": op.output} | {key: value for key, value in more.items() if value})
        classes = None if self.classes is None else list(self.classes)
        named = {"items": self.items, "fallback": self.fallback, "classes": classes}
        return {
            # The first that has all operations, so that an older recprune reads what it can.
            "version": max((KINDS[op.kind].since for op in self.ops), default=1),
            "columns": list(self.columns),
            "ops": ops,
            "output": self.output,
            **{key: value for key, value in named.items() if value is not None},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Graph:
        """From JSON; anything that does not fit is a RecpruneError."""
        try:
            if type(data["version"]) is not int or not 1 <= data["version"] <= VERSION:
                raise RecpruneError(f"graph has version {data['version']!r}; this recprune reads up to {VERSION}")
            ops = tuple(
                Op(
                    op["kind"],
                    op["output"],
                    tuple(op.get("inputs", ())),
                    tuple(op.get("params", ())),
                    op.get("attrs", {}),
                )
                for op in data["ops"]
            )
            classes = None if data.get("classes") is None else tuple(data["classes"])
            return cls(tuple(data["columns"]), ops, data["output"], data.get("items"), data.get("fallback"), classes)
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise RecpruneError(f"graph is malformed: {error!r}") from error

    def until(self, name: str) -> Graph:
        """The operations up to the one whose output is `name`, which becomes the output of the graph."""
        last = next(i for i, op in enumerate(self.ops) if op.output == name)
        return Graph(self.columns, self.ops[: last + 1], name)

    def without(self, dead: Iterable[str]) -> Graph:
        """Leave out the operations named `dead`, whatever reads nothing else, and whatever is read by nothing any more.

        Raises RecpruneError where an operation that cannot go (a layer, the output) would be left without its input.
        """
        gone = set(dead)
        ops: list[Op] = []
        for op in self.ops:
            inputs = tuple(name for name in op.inputs if name not in gone)
            if op.output in gone or (not inputs and op.kind in _VANISH):
                gone.add(op.output)
                continue
            if (not inputs and op.inputs) or (KINDS[op.kind].inputs is not None and len(inputs) < len(op.inputs)):
                raise RecpruneError(f"nothing is left for operation {op.output!r} ({op.kind}) to read")
            ops.append(Op(op.kind, op.output, inputs, op.params, op.attrs))
        read = {self.output}
        kept: list[Op] = []
        for op in reversed(ops):
            if op.output in read:
                kept.insert(0, op)
                read.update(op.inputs)
        columns = tuple(column for column in self.columns if column in read)
        if not columns:
            raise RecpruneError("nothing is left for the model to read")
        return replace(self, columns=columns, ops=tuple(kept))
