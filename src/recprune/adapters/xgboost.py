"""XGBoost's boosters, and the estimators around them."""

from __future__ import annotations

import copy
import itertools
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.adapters.trees import Input, tree_context, tree_snapshot
from recprune.context import Context
from recprune.errors import RecpruneError, unknown
from recprune.forest import Forest, preorder
from recprune.snapshot import Snapshot
from recprune.weights import Weights

__all__ = ["XgBoostAdapter"]

Array = npt.NDArray[Any]
_LINKS: dict[str, Any] = {
    "binary:logistic": "sigmoid", "reg:logistic": "sigmoid", "binary:logitraw": "identity",
    "multi:softprob": "softmax", "multi:softmax": "softmax",
    "count:poisson": "exp", "reg:gamma": "exp", "reg:tweedie": "exp",
    "reg:squarederror": "identity", "reg:absoluteerror": "identity", "reg:pseudohubererror": "identity",
    "rank:ndcg": "identity", "rank:map": "identity", "rank:pairwise": "identity",
}  # fmt: skip
_BACK: dict[str, Callable[[float], float]] = {  # from a base score as it is stored to the sum of the trees
    "sigmoid": lambda share: math.log(share / (1 - share)),
    "exp": math.log,
}


class XgBoostAdapter:
    """Reads and rebuilds Boosters, XGBClassifiers, XGBRegressors and XGBRankers, through the JSON of the model.

    An estimator is read up to its best iteration, as it predicts; a Booster whole, as it does. A row passes XGBoost's test
    where it is below the threshold; both are float32, so that is: at most the next smaller number.
    """

    def read(self, model: Any) -> Snapshot:
        """All trees that take part."""
        found = _Json.of(model)
        inputs = [Input(name) for name in found.names]
        return tree_snapshot(found.forest(), inputs, "float32", found.link, found.base)

    def rebuild(self, model: Any, weights: Weights) -> Any:
        """A Booster, or an estimator of the same class and settings around one, with these trees."""
        from xgboost import Booster

        booster = Booster()
        booster.load_model(bytearray(json.dumps(_Json.of(model).written(Forest.of(weights))).encode()))
        if isinstance(model, Booster):
            return booster
        rebuilt = copy.copy(model)
        rebuilt._Booster = booster
        rebuilt.set_params(n_estimators=booster.num_boosted_rounds(), early_stopping_rounds=None)
        return rebuilt

    def context(self, model: Any, data: Any, seed: int, say: Callable[[str], None]) -> Context:
        """The rows of `data`, a pair (X, y)."""
        found = _Json.of(model)
        classes = getattr(model, "classes_", None)
        return tree_context(lambda: self.read(model), found.names, data, classes, found.outputs, seed, say)

    def check(self, model: Any, weights: Weights, data: Any) -> None:
        """Nothing to check: trees have no axes to cut."""


@dataclass(frozen=True, eq=False)
class _Json:
    """A model's JSON, and how many rounds of it take part."""

    whole: dict[str, Any]
    rounds: int

    @classmethod
    def of(cls, model: Any) -> _Json:
        from xgboost import Booster

        booster = model if isinstance(model, Booster) else getattr(model, "_Booster", None)
        if booster is None:
            raise RecpruneError(f"this {type(model).__name__} is not fitted: call fit first")
        if booster is not model and not np.isnan(model.missing):
            raise RecpruneError(f"only NaN may mean a missing value, this model takes {model.missing} for one")
        best = None if booster is model else booster.attr("best_iteration")
        rounds = booster.num_boosted_rounds() if best is None else int(best) + 1
        found = cls(json.loads(booster.save_raw("json")), rounds)
        name = found.booster["name"]
        if name not in ("gbtree", "dart"):
            raise RecpruneError(f"boosters of trees are supported, this one is {name}")
        if found.model["cats"]["enc"]:
            raise RecpruneError("columns that were categories of a frame are not supported; give XGBoost their codes")
        if any(int(tree["tree_param"]["size_leaf_vector"]) > 1 for tree in found.model["trees"]):
            raise RecpruneError("trees with vectors in their leaves are not supported; train one_output_per_tree")
        return found

    @property
    def booster(self) -> dict[str, Any]:
        found: dict[str, Any] = self.whole["learner"]["gradient_booster"]
        return found

    @property
    def model(self) -> dict[str, Any]:
        found: dict[str, Any] = (self.booster["gbtree"] if self.booster["name"] == "dart" else self.booster)["model"]
        return found

    @property
    def names(self) -> list[str]:
        given = self.whole["learner"]["feature_names"]
        return given or [f"f{i}" for i in range(int(self.whole["learner"]["learner_model_param"]["num_feature"]))]

    @property
    def outputs(self) -> int:
        return max(1, int(self.whole["learner"]["learner_model_param"]["num_class"]))

    @property
    def link(self) -> Any:
        name = self.whole["learner"]["objective"]["name"]
        if name not in _LINKS:
            raise unknown("objective of XGBoost that is supported:", name, _LINKS)
        return _LINKS[name]

    @property
    def base(self) -> Array:
        given = json.loads(self.whole["learner"]["learner_model_param"]["base_score"])
        scores = given if isinstance(given, list) else [given]
        back = _BACK.get(self.link, float)
        return np.broadcast_to(np.array([back(score) for score in scores], np.float32), self.outputs)

    def forest(self) -> Forest:
        model = self.model
        stop = model["iteration_indptr"][self.rounds]
        turn = np.array(model["tree_info"][:stop])
        weight = np.array(self.booster.get("weight_drop", np.ones(stop))[:stop])
        # Trees of one round that grow side by side are put in turn with the outputs.
        listed = np.stack([np.flatnonzero(turn == k) for k in range(self.outputs)], axis=1).reshape(-1)
        trees = [model["trees"][i] for i in listed]
        sizes = np.array([len(tree["left_children"]) for tree in trees])
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)

        def of(name: str) -> Array:
            return np.concatenate([np.asarray(tree[name]) for tree in trees])

        left, right = of("left_children"), of("right_children")
        asks = (of("split_type") == 1) & (left >= 0)
        sets, category = _sets(trees, starts, len(left))
        # What is in the set goes right there, here it passes and goes left.
        left, right = np.where(asks, right, left), np.where(asks, left, right)
        order, begins, after = preorder(starts, left, right)
        inner = left[order] >= 0
        condition = of("split_conditions")[order].astype(np.float32)
        leaf = condition.astype(np.float64) * np.repeat(weight[listed], sizes)[order]
        asks = asks[order]
        return Forest(
            starts=begins,
            feature=np.where(inner, of("split_indices")[order], -1).astype(np.int32),
            threshold=np.where(inner & ~asks, np.nextafter(condition, np.float32(-np.inf)), 0).astype(np.float64),
            missing=(of("default_left")[order].astype(bool) != asks) & inner,
            category=category[order],
            right=after,
            values=leaf[~inner].reshape(-1, 1),
            inputs=len(self.names),
            outputs=self.outputs,
            sets=sets,
        )

    def written(self, forest: Forest) -> dict[str, Any]:
        """The JSON of a model with other trees."""
        whole = copy.deepcopy({**self.whole, "learner": {**self.whole["learner"], "gradient_booster": {}}})
        bounds = np.append(forest.starts, len(forest.feature))
        count = forest.trees
        whole["learner"]["attributes"].pop("best_iteration", None)
        whole["learner"]["gradient_booster"] = {
            "name": "gbtree",
            "model": {
                "cats": self.model["cats"],
                "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": str(count)},
                "iteration_indptr": list(range(0, count + 1, self.outputs)),
                "tree_info": [i % self.outputs for i in range(count)],
                "trees": [
                    self._tree(forest, i, int(start), int(stop))
                    for i, (start, stop) in enumerate(itertools.pairwise(bounds))
                ],
            },
        }
        return whole

    def _tree(self, forest: Forest, number: int, start: int, stop: int) -> dict[str, Any]:
        here, count = slice(start, stop), stop - start
        inner, asks = forest.feature[here] >= 0, forest.category[here] >= 0
        passed, other = np.arange(1, count + 1), forest.right[here] - start
        left, right = np.where(asks, other, passed)[inner], np.where(asks, passed, other)[inner]
        parents = np.full(count, 2**31 - 1)
        parents[left] = parents[right] = np.flatnonzero(inner)
        condition = np.nextafter(forest.threshold[here].astype(np.float32), np.float32(np.inf))
        condition[asks] = 0
        condition[~inner] = forest.values[forest.leaf[here][~inner], 0]
        sets = [np.flatnonzero(forest.sets[i]).tolist() for i in forest.category[here][asks]]
        sizes = [len(found) for found in sets]
        nothing = [0.0] * count

        def children(values: Array) -> list[int]:
            found = np.full(count, -1)
            found[inner] = values
            return found.tolist()

        return {
            "base_weights": nothing, "loss_changes": nothing, "sum_hessian": nothing, "id": number,
            "categories": [one for found in sets for one in found],
            "categories_nodes": np.flatnonzero(asks).tolist(),
            "categories_segments": np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(int).tolist() if sizes else [],
            "categories_sizes": sizes,
            "default_left": ((forest.missing[here] != asks) & inner).astype(int).tolist(),
            "left_children": children(left), "right_children": children(right), "parents": parents.tolist(),
            "split_conditions": [float(value) for value in condition],
            "split_indices": np.where(inner, forest.feature[here], 0).tolist(),
            "split_type": asks.astype(int).tolist(),
            "tree_param": {
                "num_deleted": "0", "num_feature": str(len(self.names)), "num_nodes": str(count), "size_leaf_vector": "1",
            },
        }  # fmt: skip


def _sets(trees: list[dict[str, Any]], starts: Array, nodes: int) -> tuple[Array, Array]:
    """Sets of categories, (sets, categories), and the one that each node asks for."""
    category = np.full(nodes, -1, np.int32)
    found: list[list[int]] = []
    for tree, start in zip(trees, starts, strict=True):
        parts = zip(tree["categories_nodes"], tree["categories_segments"], tree["categories_sizes"], strict=True)
        for node, begin, size in parts:
            category[start + node] = len(found)
            found.append(tree["categories"][begin : begin + size])
    table = np.zeros((len(found), max((max(members, default=-1) for members in found), default=-1) + 1), bool)
    for row, members in zip(table, found, strict=True):
        row[members] = True
    return table, category
