"""LightGBM's boosters, and the estimators around them."""

from __future__ import annotations

import copy
import itertools
import json
import re
from collections.abc import Callable, Mapping
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

__all__ = ["LightGbmAdapter"]

Array = npt.NDArray[Any]
_IDENTITY = (
    *("regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg", "custom"),
)
_LINKS: dict[str, Any] = {
    "binary": "sigmoid", "cross_entropy": "sigmoid", "multiclass": "softmax", "multiclassova": "sigmoid",
    "poisson": "exp", "gamma": "exp", "tweedie": "exp", **dict.fromkeys(_IDENTITY, "identity"),
}  # fmt: skip
_CATEGORICAL, _DEFAULT_LEFT = 1, 2  # bits of a decision; two more say what is missing: nothing, zero, NaN


class LightGbmAdapter:
    """Reads and rebuilds Boosters, LGBMClassifiers, LGBMRegressors and LGBMRankers, through the text of the model.

    Trees behind the best iteration are not read: the library does not use them. A class or a ranking score as the
    library's `predict` of a Booster gives it: probabilities where there are classes.
    """

    def read(self, model: Any) -> Snapshot:
        """The trees up to the best iteration."""
        text = _Text.of(_booster(model))
        keys = text.inputs()
        inputs = [
            Input(
                text.names[f],
                "missing" if kind == "zero" else "zero",
                text.categories(f) if kind == "category" else None,
            )
            for f, kind in keys
        ]
        return tree_snapshot(text.forest(keys), inputs, "float64", text.link, None, text.sigmoid)

    def rebuild(self, model: Any, weights: Weights) -> Any:
        """A Booster, or an estimator of the same class and settings around one, with these trees."""
        from lightgbm import Booster

        text = _Text.of(_booster(model))
        booster = Booster(model_str=text.written(Forest.of(weights), text.inputs()))
        if isinstance(model, Booster):
            return booster
        rebuilt = copy.copy(model)
        rebuilt._Booster, rebuilt._best_iteration = booster, 0
        rebuilt.set_params(n_estimators=booster.current_iteration())
        return rebuilt

    def context(self, model: Any, data: Any, seed: int, say: Callable[[str], None]) -> Context:
        """The rows of `data`, a pair (X, y)."""
        text = _Text.of(_booster(model))
        return tree_context(
            lambda: self.read(model), text.names, data, getattr(model, "classes_", None), text.outputs, seed, say
        )

    def check(self, model: Any, weights: Weights, data: Any) -> None:
        """Nothing to check: trees have no axes to cut."""


def _booster(model: Any) -> Any:
    from lightgbm import Booster

    found = model if isinstance(model, Booster) else getattr(model, "_Booster", None)
    if found is None:
        raise RecpruneError(f"this {type(model).__name__} is not fitted: call fit first")
    return found


@dataclass(frozen=True, eq=False)
class _Text:
    """A model's text: what stands before the trees, the trees, what stands behind them."""

    head: Mapping[str, str]
    blocks: list[dict[str, Array]]
    tail: str

    @classmethod
    def of(cls, booster: Any) -> _Text:
        best = booster.best_iteration
        text = booster.model_to_string(num_iteration=best if best > 0 else None, importance_type="split")
        head, *blocks = re.split(r"\nTree=\d+\n", text)
        if not blocks:
            raise RecpruneError("this booster has no trees")
        last, _, tail = blocks[-1].partition("end of trees")
        return cls(_fields(head), [_arrays(block) for block in (*blocks[:-1], last)], tail)

    @property
    def names(self) -> list[str]:
        return self.head["feature_names"].split(" ")

    @property
    def outputs(self) -> int:
        return int(self.head["num_tree_per_iteration"])

    @property
    def objective(self) -> list[str]:
        return self.head.get("objective", "custom").split(" ")

    @property
    def link(self) -> Any:
        name = self.objective[0]
        if name not in _LINKS or "sqrt" in self.objective[1:]:
            raise unknown("objective of LightGBM that is supported:", " ".join(self.objective), _LINKS)
        return _LINKS[name]

    @property
    def sigmoid(self) -> float:
        return next((float(o.partition(":")[2]) for o in self.objective if o.startswith("sigmoid:")), 1.0)

    def categories(self, feature: int) -> tuple[Any, ...] | None:
        """The values behind the codes of a column that was a pandas category; None where it came as codes."""
        found = re.search(r"pandas_categorical:(.*)", self.tail)
        listed = json.loads(found[1]) if found else None
        if not listed:
            return None
        coded = [i for i, info in enumerate(self.head["feature_infos"].split(" ")) if info[:1] not in "[n"]
        if len(coded) != len(listed):
            raise RecpruneError(
                "columns that are pandas categories must be categorical features, all of them, unordered"
            )
        return tuple(listed[coded.index(feature)]) if feature in coded else None

    def inputs(self) -> list[tuple[int, str]]:
        """What the trees read, in the order of a graph's inputs: features, once for each way to take what is missing."""
        found = set()
        for block in self.blocks:
            zero = (block["decision_type"] >> 2 & 3) == 1
            zero &= (block["decision_type"] & _CATEGORICAL) == 0
            found |= {(int(f), "zero") for f in np.unique(block["split_feature"][zero])}
            found |= {(int(f), "nan") for f in np.unique(block["split_feature"][~zero])}
        read = {f for f, _ in found}
        found |= {(f, "nan") for f in range(len(self.names)) if f not in read}
        listed = [(f, "category" if self.categories(f) is not None else kind) for f, kind in found]
        return sorted(listed, key=lambda key: (("nan", "zero", "category").index(key[1]), key[0]))

    def forest(self, keys: list[tuple[int, str]]) -> Forest:
        blocks = self.blocks
        if any(block["is_linear"].any() for block in blocks):
            raise RecpruneError(
                "trees with linear models in their leaves are not supported; train with linear_tree=False"
            )
        splits = [len(block["split_feature"]) for block in blocks]
        sizes = np.array([2 * s + 1 for s in splits])
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
        # Splits first, then leaves, which LightGBM counts -1, -2, ...
        ends = [np.full(s + 1, -1) for s in splits]

        def whole(name: str) -> Array:
            pairs = zip(blocks, ends, splits, strict=True)
            return np.concatenate([np.append(np.where(b[name] < 0, s - 1 - b[name], b[name]), e) for b, e, s in pairs])

        def of_splits(name: str, otherwise: float) -> Array:
            return np.concatenate([np.append(b[name], e * 0 + otherwise) for b, e in zip(blocks, ends, strict=True)])

        order, begins, right = preorder(starts, whole("left_child"), whole("right_child"))
        feature = of_splits("split_feature", -1)[order].astype(np.int32)
        limit = np.finfo(np.float64)
        threshold = np.clip(of_splits("threshold", 0.0)[order], limit.min, limit.max)
        decision = of_splits("decision_type", 0)[order].astype(np.int64)
        inner, asks = feature >= 0, (decision & _CATEGORICAL) > 0
        kind = decision >> 2 & 3
        # Where nothing is missing NaN counts as zero, so it goes where zero goes; no set of categories holds it.
        passes = np.where(kind == 0, threshold >= 0, (decision & _DEFAULT_LEFT) > 0) & inner & ~asks
        place = {key: i for i, key in enumerate(keys)}
        width = max(f for f, _ in keys) + 1
        table = np.full((2, width), -1, np.int32)
        for f in range(width):
            either = place.get((f, "nan"), place.get((f, "category"), -1))
            table[:, f] = either, place.get((f, "zero"), either)
        zero = (kind == 1) & ~asks
        sets, category = self._sets(asks, threshold, np.repeat(np.arange(len(blocks)), sizes)[order])
        leaf = np.concatenate([np.append(np.zeros(len(b["threshold"])), b["leaf_value"]) for b in blocks])[order]
        return Forest(
            starts=begins,
            feature=np.where(inner, table[zero.astype(int), feature], -1).astype(np.int32),
            threshold=np.where(asks, 0, threshold),
            missing=passes,
            category=category,
            right=right,
            values=leaf[~inner].reshape(-1, 1),
            inputs=len(keys),
            outputs=self.outputs,
            mode="mean" if "average_output" in self.head else "sum",
            sets=sets,
        )

    def _sets(self, asks: Array, threshold: Array, tree: Array) -> tuple[Array, Array]:
        """Sets of categories, (sets, categories), and the one that each node asks for."""
        category = np.full(len(asks), -1, np.int32)
        words = []
        for i in np.flatnonzero(asks):
            block, number = self.blocks[tree[i]], int(threshold[i])
            bounds = block["cat_boundaries"].astype(np.int64)
            words.append(block["cat_threshold"][bounds[number] : bounds[number + 1]].astype("<u4"))
            category[i] = len(words) - 1
        longest = max((len(w) for w in words), default=0)
        table = np.zeros((len(words), longest), "<u4")
        for row, found in zip(table, words, strict=True):
            row[: len(found)] = found
        return np.unpackbits(table.view(np.uint8), axis=1, bitorder="little").astype(bool), category

    def written(self, forest: Forest, keys: list[tuple[int, str]]) -> str:
        """The text of a model with other trees."""
        bounds = np.append(forest.starts, len(forest.feature))
        blocks = [
            f"Tree={i}\n" + self._tree(forest, keys, int(start), int(stop)) + "\n\n"
            for i, (start, stop) in enumerate(itertools.pairwise(bounds))
        ]
        head = {k: v for k, v in self.head.items() if k != "tree_sizes"}
        lines = [f"{key}={value}" if value else key for key, value in head.items()]
        lines.append("tree_sizes=" + " ".join(str(len(block.encode())) for block in blocks))
        return "\n".join(lines) + "\n\n" + "".join(blocks) + "end of trees" + self.tail

    @staticmethod
    def _tree(forest: Forest, keys: list[tuple[int, str]], start: int, stop: int) -> str:
        here = slice(start, stop)
        inner = forest.feature[here] >= 0
        values = forest.values[forest.leaf[start : start + 1][0] :][: int((~inner).sum()), 0]
        # A node's number: splits count up, leaves count down from -1.
        number = np.where(inner, np.cumsum(inner) - 1, 0 - np.cumsum(~inner))
        at = np.flatnonzero(inner)
        asks = forest.category[here][at] >= 0
        features = [keys[i] for i in forest.feature[here][at]]
        zero = np.array([kind == "zero" for _, kind in features], bool)
        decision = np.where(asks, _CATEGORICAL, _DEFAULT_LEFT * forest.missing[here][at] + np.where(zero, 4, 8))
        sets = [np.flatnonzero(forest.sets[i]) for i in forest.category[here][at][asks]]
        words = [_bits(found) for found in sets]
        threshold = forest.threshold[here][at].copy()
        threshold[asks] = np.arange(int(asks.sum()))
        fields: dict[str, Any] = {"num_leaves": [len(values)], "num_cat": [len(words)]}
        if len(at):
            fields |= {
                "split_feature": [f for f, _ in features],
                "split_gain": [0] * len(at),
                "threshold": [repr(float(t)) for t in threshold],
                "decision_type": decision,
                "left_child": number[at + 1],
                "right_child": number[forest.right[here][at] - start],
            }
        fields["leaf_value"] = [repr(float(value)) for value in values]
        if words:
            fields["cat_boundaries"] = np.concatenate([[0], np.cumsum([len(w) for w in words])])
            fields["cat_threshold"] = np.concatenate(words)
        fields |= {"is_linear": [0], "shrinkage": [1]}
        return "\n".join(f"{key}={' '.join(map(str, value))}" for key, value in fields.items())


def _bits(members: Array) -> npt.NDArray[np.uint32]:
    words = np.zeros(int(members.max(initial=0)) // 32 + 1, np.uint32)
    np.bitwise_or.at(words, members // 32, np.uint32(1) << (members % 32).astype(np.uint32))
    return words


def _fields(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.split("\n") if line)
    return {key: value for key, _, value in pairs}


_WHOLE = ("left_child", "right_child", "split_feature", "decision_type")


def _arrays(block: str) -> dict[str, Array]:
    """The fields of a tree that say what it computes; all of them, empty for a tree that is one leaf."""
    given = _fields(block)
    found: dict[str, Array] = {}
    for name in (*_WHOLE, "threshold", "leaf_value", "cat_boundaries", "cat_threshold", "is_linear"):
        values = given.get(name, "").split()
        found[name] = np.array(values, np.float64).astype(np.int64) if name in _WHOLE else np.array(values, np.float64)
    return found
