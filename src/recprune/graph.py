"""What a model computes: a flat list of typed operations over named arrays.

Adapters write graphs, the runtime executes them, artifacts store them as JSON. `KINDS` is the whole vocabulary of
operations; `runtime.reference` gives each its meaning in numpy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from recprune.errors import RecpruneError, unknown

__all__ = ["KINDS", "VERSION", "Graph", "Kind", "Op"]

VERSION = 1


@dataclass(frozen=True)
class Kind:
    """Arity of an operation: how many inputs (None: one or more), parameters, and which attributes."""

    inputs: int | None
    params: int
    attrs: tuple[str, ...] = ()


KINDS: dict[str, Kind] = {
    # From raw columns to rows of tables
    "lookup": Kind(None, 0, ("vocabulary",)),  # ids of one column, or of two as a pair -> rows
    "bucket": Kind(1, 0, ("edges",)),  # numbers -> 0..len(edges); missing -> len(edges) + 1
    "words": Kind(1, 0, ("vocabulary",)),  # texts -> bags of rows
    "history": Kind(1, 0, ("vocabulary",)),  # lists of ids -> bags of rows; unknown ids are left out
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
    "sum": Kind(1, 0),  # over the last axis, kept
    "sigmoid": Kind(1, 0),
}


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
            raise unknown("operation", self.kind, KINDS)
        kind = KINDS[self.kind]
        if kind.inputs is not None and len(self.inputs) != kind.inputs:
            raise RecpruneError(
                f"operation {self.output!r}: {self.kind} takes {kind.inputs} inputs, got {len(self.inputs)}"
            )
        if not self.inputs or len(self.params) != kind.params:
            raise RecpruneError(
                f"operation {self.output!r}: {self.kind} takes {kind.params} parameters, got {len(self.params)}"
            )
        if set(self.attrs) != set(kind.attrs):
            raise RecpruneError(
                f"operation {self.output!r}: {self.kind} takes attributes {kind.attrs}, got {tuple(self.attrs)}"
            )


@dataclass(frozen=True)
class Graph:
    """Operations in the order in which they run.

    `columns`: what a request gives. `output`: the name of the scores. `items`: for a retrieval model, the vocabulary
    whose ids the columns of the output are; `fallback`: the parameter of scores for a request without known history.
    """

    columns: tuple[str, ...]
    ops: tuple[Op, ...]
    output: str
    items: str | None = None
    fallback: str | None = None

    def __post_init__(self) -> None:
        known = set(self.columns)
        for op in self.ops:
            for name in op.inputs:
                if name not in known:
                    raise RecpruneError(f"operation {op.output!r} reads {name!r}, which nothing before it computes")
            if op.output in known:
                raise RecpruneError(f"operation {op.output!r} is computed twice")
            known.add(op.output)
        if self.output not in known:
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
        """As JSON."""
        ops = [
            {
                "kind": op.kind,
                "output": op.output,
                "inputs": list(op.inputs),
                "params": list(op.params),
                "attrs": dict(op.attrs),
            }
            for op in self.ops
        ]
        return {
            "version": VERSION,
            "columns": list(self.columns),
            "ops": ops,
            "output": self.output,
            "items": self.items,
            "fallback": self.fallback,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Graph:
        """From JSON; anything that does not fit is a RecpruneError."""
        try:
            if data["version"] > VERSION:
                raise RecpruneError(f"graph has version {data['version']}; this recprune reads up to {VERSION}")
            ops = tuple(
                Op(op["kind"], op["output"], tuple(op["inputs"]), tuple(op["params"]), op["attrs"])
                for op in data["ops"]
            )
            return cls(tuple(data["columns"]), ops, data["output"], data["items"], data["fallback"])
        except (KeyError, TypeError) as error:
            raise RecpruneError(f"graph is malformed: {error!r}") from error

    def without(self, dead: Iterable[str]) -> Graph:
        """Leave out the operations named `dead`, and their names where they are concatenated or added."""
        gone = set(dead)
        ops = []
        for op in self.ops:
            if op.output in gone:
                continue
            inputs = tuple(name for name in op.inputs if name not in gone)
            if not inputs:  # what joins nothing is nothing
                gone.add(op.output)
                continue
            ops.append(Op(op.kind, op.output, inputs, op.params, op.attrs))
        read = {name for op in ops for name in op.inputs} | {self.output}
        # A look-up whose rows nobody takes any more goes too.
        ops = [op for op in ops if op.output in read]
        used = {name for op in ops for name in op.inputs}
        return Graph(tuple(c for c in self.columns if c in used), tuple(ops), self.output, self.items, self.fallback)
