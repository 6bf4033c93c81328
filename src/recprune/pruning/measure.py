"""How good some weights are on validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.runtime.requests import Requests
from recprune.snapshot import Snapshot
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
        self.weights, self.judge = snapshot.weights, probe.judge
        self.requests = Requests(snapshot, probe.columns)
        self._given: dict[str, dict[str, Array]] = {}

    def __call__(self, weights: Weights) -> float:
        """The metric with these weights."""
        return self.judge(self.requests.run(weights))

    def with_table(self, name: str, table: Array) -> float:
        """The metric when one table holds other values, and everything else is as it was."""
        given = {out: value for param, found in self._tables().items() if param != name for out, value in found.items()}
        weights = self.weights.replace(name, Dense(table))
        return self.judge(self.requests.run(weights, given=given))

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
        return self.judge(self.requests.run(self.weights, given=given))

    def _tables(self) -> dict[str, dict[str, Array]]:
        """What each table gives for the rows, by name of the table and output of the operation that reads it."""
        if not self._given:
            graph = self.requests.graph
            for i, op in enumerate(graph.ops):
                if op.kind in ("take", "pool"):
                    part = replace(graph, ops=graph.ops[: i + 1], output=op.output)
                    value = self.requests.run(self.weights, part)
                    self._given.setdefault(op.params[0], {})[op.output] = value
        return self._given
