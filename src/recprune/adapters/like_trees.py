"""recprune's own trees over tables of statistics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy.typing as npt
import polars as pl

from recprune.adapters.calibration import GraphCalibration, no_gradients
from recprune.adapters.statistics import ids_of, pair_reads, row_of, statistic_axes, users_by_row, with_unseen
from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.graph import Graph, Op
from recprune.recommenders.features import SEPARATOR
from recprune.recommenders.like import LikeData
from recprune.recommenders.like_trees import LikeTrees
from recprune.runtime.scorer import column
from recprune.snapshot import Snapshot
from recprune.weights import Dense, Param, Trees, Weights

__all__ = ["LikeTreesAdapter"]

Array = npt.NDArray[Any]
_CALIBRATION = 50_000  # rows on which steps see what the model does


class LikeTreesAdapter:
    """Reads and rebuilds `LikeTrees`: look-ups of statistics, side by side, and the trees that read them."""

    def read(self, model: LikeTrees) -> Snapshot:
        """The tables, the trees, and the graph from raw ids to a score."""
        features, params, sizes = model.features, dict(model.trees), dict[str, int]()
        ops: list[Op] = []
        for key, table in features.tables.items():
            axes = statistic_axes(features, key)
            sizes |= dict.fromkeys(axes, 1)
            params[f"statistics.{key}"] = Param((key, "+".join(axes)), Dense(table), (len(table) - 1,), False)
            ops.append(row_of(features, key))
            ops.append(Op("take", f"{key} statistics", (ops[-1].output,), (f"statistics.{key}",)))
        tables = tuple(f"{key} statistics" for key in features.tables)
        ops += [Op("concat", "inputs", tables), Op("trees", "raw", ("inputs",), ("trees", "leaves"))]
        trees = model.trees["trees"].value
        if isinstance(trees, Trees) and trees.mode == "sum":
            ops.append(Op("sigmoid", "score", ("raw",)))
        columns = tuple(dict.fromkeys(part for key in features.tables for part in key.split(SEPARATOR)))
        graph = Graph(columns, tuple(ops), ops[-1].output)
        return Snapshot(Weights(params, sizes), graph, ids_of(features, features.tables))

    def rebuild(self, model: LikeTrees, weights: Weights) -> LikeTrees:
        """The same ids with other tables and trees."""
        tables = {key: weights[f"statistics.{key}"].value.decode() for key in model.features.tables}
        trees = Weights({name: weights[name] for name in ("trees", "leaves")})
        return LikeTrees(replace(model.features, tables=tables), trees)

    def context(self, model: LikeTrees, data: LikeData | None, seed: int, say: Callable[[str], None]) -> Context:
        """Reads of each row; and rows to calibrate with, which no statistic was counted from.

        Those are rows without a rating, and those of validation; labels of neither are used, so refits go towards the
        original. Training rows would find their own ratings in the tables.
        """
        features = model.features
        popularity = {key: with_unseen(features.readings[key]) for key in features.readings}
        if data is None:
            return Context(popularity, seed=seed, say=say)
        if not isinstance(data, LikeData):
            raise RecpruneError(f"the data of this model is a LikeData, got {type(data).__name__}")
        _, train = data.fitted(features.settings)
        popularity |= {pair: pair_reads(pair, features, train) for pair in features.pairs}

        def columns(graph: Graph) -> Mapping[str, Array]:
            some = data.implicit.sample(min(len(data.implicit), _CALIBRATION * 4 // 5), seed=seed)
            parts = (some, data.valid.head(_CALIBRATION - len(some)))
            seen = pl.concat([part.select(graph.columns) for part in parts])
            return {name: column(seen, name) for name in graph.columns}

        calibration = GraphCalibration(lambda: self.read(model), columns, no_gradients)
        users = users_by_row(data.train["user"].to_numpy(), features, train)
        return Context(popularity, users=users, calibration=calibration, seed=seed, say=say, given="a model of trees")

    def check(self, model: LikeTrees, weights: Weights, data: Any) -> None:
        """RecpruneError where a column was cut that trees read."""
        for key in model.features.tables:
            wanted, width = len(statistic_axes(model.features, key)), weights[f"statistics.{key}"].shape[1]
            if width != wanted:
                raise RecpruneError(f"trees read all {wanted} columns of 'statistics.{key}', {width} are left")
