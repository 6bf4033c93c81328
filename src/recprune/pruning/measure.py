"""How good some weights are on validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.runtime.reference import execute, rows_of
from recprune.snapshot import Snapshot
from recprune.vocabulary import ListedVocabulary
from recprune.weights import Dense, Weights

__all__ = ["Measure", "Probe"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Probe:
    """How good some weights are: scores of validation rows by the model's graph, judged by `metric`.

    `columns`: the raw columns of the rows. `judge`: scores -> the metric, the higher the better.
    """

    metric: str
    columns: Mapping[str, Any]
    judge: Callable[[Array], float]


class Measure:
    """Judges weights on the rows of a probe; what was looked up once is not looked up again."""

    def __init__(self, snapshot: Snapshot, probe: Probe) -> None:
        assert snapshot.graph is not None
        self.graph, self.weights, self.judge = snapshot.graph, snapshot.weights, probe.judge
        self.vocabularies = {axis: ListedVocabulary(ids) for axis, ids in snapshot.ids.items()}
        self.known = rows_of(self.graph, self.vocabularies, probe.columns)
        self._given: dict[str, dict[str, Array]] = {}

    def __call__(self, weights: Weights) -> float:
        """The metric with these weights."""
        return self.judge(execute(self.graph, weights, self.vocabularies, self.known))

    def with_table(self, name: str, table: Array) -> float:
        """The metric when one table holds other values, and everything else is as it was."""
        given = {out: value for param, found in self._tables().items() if param != name for out, value in found.items()}
        weights = self.weights.replace(name, Dense(table))
        return self.judge(execute(self.graph, weights, self.vocabularies, self.known | given))

    def shuffled(self, columns: Mapping[str, Array], seed: int = 0) -> float:
        """The metric when what these columns of tables give is shuffled among the rows, all of them alike.

        That keeps how the values are spread and cuts what they tell (permutation importance: Breiman 2001).
        """
        given: dict[str, Array] = {}
        for name, chosen in columns.items():
            for output, value in self._tables().get(name, {}).items():
                value = given.get(output, value).copy()
                order = np.random.default_rng(seed).permutation(len(value))
                value[:, chosen] = value[order][:, chosen]
                given[output] = value
        return self.judge(execute(self.graph, self.weights, self.vocabularies, self.known | given))

    def _tables(self) -> dict[str, dict[str, Array]]:
        """What each table gives for the rows, by name of the table and output of the operation that reads it."""
        if not self._given:
            for i, op in enumerate(self.graph.ops):
                if op.kind in ("take", "pool"):
                    part = replace(self.graph, ops=self.graph.ops[: i + 1], output=op.output)
                    value = execute(part, self.weights, self.vocabularies, self.known)
                    self._given.setdefault(op.params[0], {})[op.output] = value
        return self._given
