"""Every method on every small model keeps the promises of a step."""

from functools import cache

import numpy as np
import pytest
import torch

from recprune.adapters import adapter_for
from recprune.adapters.calibration import GraphCalibration
from recprune.adapters.sklearn import SklearnAdapter
from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.graph import Graph, Op
from recprune.pruning.budgets import PerParameter, TotalBytes, Uniform
from recprune.pruning.methods import (
    METHODS,
    Cast,
    Codebook,
    Compensate,
    DropAxis,
    DropFields,
    DropIds,
    DropRows,
    DropTrees,
    DropWeights,
    Factorize,
    FitBytes,
    KeepTop,
    MergeLeaves,
    MinUsers,
    Mixed,
    Quantize,
    RefitLeaves,
    Retrain,
    RoundThresholds,
    Share,
    ShrinkLeaves,
    Sparsify,
)
from recprune.pruning.space import space_of
from recprune.pruning.step import Step
from recprune.recommenders.factors import FactorModel, Fold
from recprune.recommenders.sasrec import SasRec
from recprune.recommenders.two_tower import TwoTower
from recprune.snapshot import Snapshot
from recprune.testing import check_step
from recprune.weights import Dense, Param, Weights

from ..adapters.grown import tree_context, tree_snapshot


def dense(*shape, seed=0):
    return Dense(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def table_model():
    inputs = "user.factor+book.factor"
    return Weights(
        {
            "user.factor": Param(("user", "user.factor"), dense(60, 8), (59,)),
            "book.factor": Param(("book", "book.factor"), dense(90, 8, seed=1), (89,)),
            "book.bias": Param(("book", "book.bias"), dense(90, 1, seed=2), (89,)),
            "hidden.weight": Param(("hidden", inputs), dense(12, 16, seed=3)),
            "hidden.bias": Param(("hidden",), dense(12, seed=4)),
            "out.weight": Param(("score", "hidden"), dense(1, 12, seed=5)),
            "out.bias": Param(("score",), dense(1, seed=6)),
        }
    )


def calibration():
    """The table model on 200 requests of known and unknown ids."""
    rng = np.random.default_rng(1)
    ids = {axis: np.array([f"{axis}{i}" for i in range(n)]) for axis, n in (("user", 59), ("book", 89))}
    ops = [Op("lookup", f"{axis} rows", (axis,), (), {"vocabulary": axis}) for axis in ids]
    ops += [Op("take", f"{axis} factor", (f"{axis} rows",), (f"{axis}.factor",)) for axis in ids]
    ops += [
        Op("take", "bias", ("book rows",), ("book.bias",)),
        Op("concat", "x", ("user factor", "book factor")),
        Op("linear", "h", ("x",), ("hidden.weight", "hidden.bias")),
        Op("relu", "hidden", ("h",)),
        Op("linear", "out", ("hidden",), ("out.weight", "out.bias")),
        Op("add", "score", ("out", "bias")),
    ]
    graph = Graph(("user", "book"), tuple(ops), "score")
    columns = {axis: rng.choice([*known, "stranger"], 200) for axis, known in ids.items()}
    return GraphCalibration(lambda: Snapshot(table_model(), graph, ids), lambda _: columns, lambda weights: {})


def item_model():
    return Weights(
        {
            "similar": Param(("item", "item"), dense(41, 41), (40,)),
            "popular": Param(("item", ""), dense(41, 1), (40,), trained=False),
        }
    )


def factor_model():
    """Items whose users are folded in, with a bias; and how it runs on ten histories."""
    return folded().weights


@cache
def folded():
    factors = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
    shares, bias = np.arange(40) / 40, np.arange(40) / 80
    model = FactorModel.of(factors, BOOKS, Fold.confidence(5, 1.0), shares=shares, bias=bias)
    return adapter_for(model).read(model)


def foreign_model():
    """Nothing is known of the axes; a single number among them."""
    return Weights(
        {
            "a.weight": Param(("", ""), dense(50, 16)),
            "b.kernel": Param(("", "", ""), dense(4, 6, 5)),
            "b.scale": Param((), Dense(np.array(0.5, np.float32))),
        }
    )


WORDS = np.array([f"w{i:02}" for i in range(60)])


@cache
def text_pipeline():
    """Titles of 60 words in three classes: what scikit-learn's text models are made of."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    rng = np.random.default_rng(0)
    titles = [" ".join(rng.choice(WORDS, 5)) for _ in range(200)]
    labels = np.array([hash_of(title) for title in titles])
    return make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(titles, labels), (titles, labels)


def hash_of(title):
    return "abc"[sum(map(ord, title)) % 3]


def text_model():
    return SklearnAdapter().read(text_pipeline()[0]).weights


BOOKS = np.array([f"b{i:02}" for i in range(40)])


@cache
def snapshot_of(make):
    """A model that reads histories of 40 items, as its adapter gives it."""
    torch.manual_seed(0)
    model = make(BOOKS, np.arange(40) / 40, width=8, length=6)
    return adapter_for(model).read(model)


def two_tower_model():
    return snapshot_of(TwoTower).weights


def sasrec_model():
    return snapshot_of(SasRec).weights


def boosted_model():
    """Trees that are added up, over numbers and categories."""
    return tree_snapshot("sum").weights


def forest_model():
    """Trees that are averaged, with a column for each of three classes."""
    return tree_snapshot("mean").weights


def context(make=table_model):
    if make is text_model:
        return SklearnAdapter().context(*text_pipeline(), 0, lambda line: None)
    if make in (boosted_model, forest_model):
        return tree_context("sum" if make is boosted_model else "mean")
    rng = np.random.default_rng(0)
    popularity = {
        axis: rng.integers(0, 50, rows) for axis, rows in (("user", 60), ("book", 90), ("item", 41), ("place", 7))
    }
    half = rng.integers(0, 2, (200, 41)).astype(np.float32)
    trainer = lambda weights, settings, say: weights  # noqa: E731
    runs = histories(make) if make in (two_tower_model, sasrec_model, factor_model) else calibration()
    users = {axis: np.minimum(counts, 30) for axis, counts in popularity.items()}
    return Context(popularity, users=users, gram=half.T @ half, trainer=trainer, calibration=runs)


def histories(make):
    """A model that reads histories on ten of them."""
    read = [list(BOOKS[i : i + 1 + i % 9]) for i in range(10)]
    makers = {two_tower_model: lambda: snapshot_of(TwoTower), sasrec_model: lambda: snapshot_of(SasRec)}
    snapshot = makers.get(make, folded)()
    return GraphCalibration(lambda: snapshot, lambda graph: {"items": read}, lambda weights: {})


HISTORY_STEPS = [
    DropRows("items", Uniform(0.4)),
    DropIds("item", 0.4),
    DropAxis("factor", 0.5),
    DropAxis("*hidden", 0.25),
    DropFields(("item",)),
    FitBytes(2500, "items,*.weight"),
    Quantize("*", 8),
    Quantize("*", 2, "per_tensor"),
    Cast("*"),
    Codebook("items", 3),
    Codebook("items", 3, parts=2),
    Mixed("items", (0.5, 0.5), (4, 2)),
    Share("items", 0.2, 8),
    Share("items", 0.2, 8, "quotient"),
    Factorize("*.weight", 2),
    DropWeights("items", 0.1),
    MinUsers("items", 25),
    KeepTop("*.weight", 2, by="column", refit=False),
    Sparsify("items", 0.5),
    Compensate(),
    Retrain(),
]
TREE_STEPS = [
    DropTrees(3),
    MergeLeaves(0.3),
    RoundThresholds(1),
    RefitLeaves(),
    RefitLeaves("labels", 20.0, 1),
    ShrinkLeaves(),
    Quantize("*", 4, "per_tensor"),
    Codebook("leaves", 3),
    Cast("*"),
]
CASES = [
    (table_model, DropRows("*.factor", Uniform(0.3))),
    (table_model, DropRows("*.factor", Uniform(0.3), "magnitude")),
    (table_model, DropRows("book.*", TotalBytes(1500), "popularity")),
    (table_model, DropIds("book", 0.3)),
    (table_model, DropIds("user", 0.1, "magnitude")),
    (table_model, MinUsers("*.factor", 25)),
    (table_model, DropAxis("hidden", 0.5)),
    (table_model, DropAxis("*.factor", 0.25)),
    (table_model, DropFields(("user",))),
    (table_model, Quantize("*", 8)),
    (table_model, Quantize("*", 4, "per_group", 8)),
    (table_model, Quantize("*", 2, "per_tensor")),
    (table_model, Quantize("*.factor", 1)),
    (table_model, Cast("*")),
    (table_model, Codebook("*.factor", 4)),
    (table_model, Codebook("*.factor", 3, parts=2)),
    (table_model, Mixed("*.factor", (0.5, 0.5), (4, 2))),
    (table_model, Mixed("*.factor", (0.3, 0.3, 0.4), (8, 4, 2), "value", (8, 4, 2))),
    (table_model, Share("*.factor", 0.2, 8)),
    (table_model, Share("*.factor", 0.2, 8, "quotient")),
    (table_model, Factorize("*.factor", 2)),
    (table_model, Factorize("*.factor", energy=0.5)),
    (table_model, Factorize("*.factor", bytes=1000)),
    (table_model, Factorize("*.factor", change=0.3)),
    (table_model, DropRows("book.*", PerParameter({"*.bias": 0.2}))),
    (table_model, DropAxis("hidden", 0.5, "magnitude")),
    (table_model, FitBytes(2500)),
    (table_model, FitBytes(4500, "user.*")),
    (table_model, Sparsify("*.factor", 0.3)),
    (table_model, Sparsify("hidden,*.factor", 0.5, "axis", "l2")),
    (table_model, Sparsify("*", 0.5, "fields")),
    (table_model, Compensate()),
    (table_model, Retrain()),
    (item_model, DropRows("similar", Uniform(0.5))),
    (item_model, MinUsers("similar", 25)),
    (item_model, Quantize("*", 3, "per_column")),
    (item_model, Factorize("similar", 5)),
    (item_model, KeepTop("similar", 6)),
    (item_model, DropWeights("similar", 0.1)),
    (item_model, KeepTop("similar", 4, by="column", refit=False)),
    *((make, step) for make in (two_tower_model, sasrec_model) for step in HISTORY_STEPS),
    (sasrec_model, DropRows("positions", Uniform(0.5))),
    (sasrec_model, DropAxis("*head", 0.5)),
    (sasrec_model, DropAxis("*match,*value", 0.5)),
    (text_model, DropIds("word", 0.3)),
    (text_model, DropIds("word", 0.3, "chi_squared")),
    (text_model, DropIds("word", 0.3, "mutual_information")),
    (text_model, DropRows("coef", Uniform(0.4), "taylor")),
    (text_model, Quantize("*", 8, "per_column")),
    (text_model, Codebook("idf,coef", 4)),
    (text_model, Factorize("coef", 2)),
    (text_model, KeepTop("coef", 30, by="column", refit=False)),
    (text_model, Retrain()),
    (factor_model, DropRows("item_factors", Uniform(0.4))),
    (factor_model, MinUsers("item_factors", 25)),
    (factor_model, DropAxis("factor", 0.5)),
    (factor_model, Quantize("*", 8)),
    (factor_model, Quantize("item_factors", 4, "per_column")),
    (factor_model, Codebook("item_factors", 3, parts=2)),
    (factor_model, Mixed("item_factors", (0.5, 0.5), (4, 2))),
    (factor_model, Factorize("item_factors", 3)),
    (factor_model, FitBytes(800, "item_factors")),
    *((make, step) for make in (boosted_model, forest_model) for step in TREE_STEPS),
    (foreign_model, Quantize("*", 8)),
    (foreign_model, Quantize("*", 3, "per_column")),
    (foreign_model, Quantize("*", 1, "per_tensor")),
    (foreign_model, DropWeights("a.weight", 0.3)),
    (foreign_model, Cast("*", "bfloat16")),
    (foreign_model, Factorize("a.weight", 3)),
    (foreign_model, Sparsify("a.weight", 0.02, "weights")),
    (foreign_model, KeepTop("a.weight", 4, by="column", refit=False)),
    (foreign_model, Retrain(1, 0.01, 0.0)),
]


FOR_TREES = {DropTrees, MergeLeaves, RoundThresholds, RefitLeaves, ShrinkLeaves}


@pytest.mark.parametrize("step", FOR_TREES, ids=lambda step: step.verb)
def test_steps_for_trees_say_that_there_are_none(step):
    with pytest.raises(RecpruneError, match=f"^{step.verb} is for models of trees, this one has none$"):
        step()(table_model(), context())


def named(value):
    return value.verb if isinstance(value, Step) else value.__name__


@pytest.mark.parametrize(("make", "step"), CASES, ids=named)
def test_promises(make, step):
    result = check_step(step, make(), context(make))
    if not isinstance(step, Retrain | Compensate | RefitLeaves | ShrinkLeaves):
        assert result.nbytes < make().nbytes


@pytest.mark.parametrize("make", [two_tower_model, sasrec_model, factor_model, text_model])
def test_a_search_offers_what_can_be_done(make):
    makers = {two_tower_model: lambda: snapshot_of(TwoTower), sasrec_model: lambda: snapshot_of(SasRec)}
    makers |= {factor_model: folded, text_model: lambda: SklearnAdapter().read(text_pipeline()[0])}
    snapshot = makers[make]()
    steps = [step for knob in space_of(snapshot).knobs for step in knob.choices if isinstance(step, Step)]
    assert len(steps) >= 10
    for step in steps:
        assert step(snapshot.weights, context(make)).nbytes <= snapshot.weights.nbytes


PAIRS = [
    (make, first, second)
    for make in (table_model, sasrec_model, text_model, boosted_model, forest_model)
    for first in [step for other, step in CASES if other is make]
    for second in [step for other, step in CASES if other is make]
]


@pytest.mark.parametrize(("make", "first", "second"), PAIRS, ids=named)
def test_promises_hold_after_any_other_step(make, first, second):
    # A field that was dropped has no columns left to act on; that is no error.
    weights = first(make(), context(make))
    if isinstance(second, DropAxis) and isinstance(first, DropFields):
        assert second(weights, context(make)).nbytes <= weights.nbytes
        return
    if make is sasrec_model and isinstance(first, DropFields) and isinstance(second, Compensate):
        # Its only field is gone, and the model has nothing left to run on.
        with pytest.raises(RecpruneError, match="nothing is left for operation"):
            second(weights, context(make))
        return
    check_step(second, weights, context(make))


def test_every_method_is_held_to_them():
    assert {type(step) for _, step in CASES} == set(METHODS.values())
    for model in (two_tower_model, sasrec_model):
        assert {type(step) for make, step in CASES if make is model} == set(METHODS.values()) - FOR_TREES
    assert all(METHODS[verb].verb == verb for verb in METHODS)


class Wrong(Quantize):
    """A step that can be made to break each promise."""

    how = ""
    calls = 0

    def __call__(self, weights, context):
        Wrong.calls += 1
        table = weights["a.weight"]
        if self.how == "input":
            table.value.values[0, 0] += 1
        if self.how == "random":
            return weights.replace("a.weight", Dense(table.value.values * np.float32(Wrong.calls)))
        if self.how == "larger":
            return Weights(dict(weights) | {"a.weight": Param(("", ""), dense(50, 17))})
        if self.how == "names":
            return Weights({"other": table, **{k: v for k, v in weights.items() if k != "a.weight"}})
        if self.how == "touches":
            return weights.replace("b.kernel", Dense(np.zeros((4, 6, 5), np.float32)))
        return weights

    def describe(self):
        return "two\nlines" if self.how == "describe" else "wrong"

    @classmethod
    def from_fields(cls, given):
        if cls.how == "json":
            return cls("*")
        return super().from_fields(given)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("input", "changed its input"),
        ("random", "not deterministic"),
        ("larger", "made .* bytes into"),
        ("names", "changed the names"),
        ("touches", "which it does not name"),
        ("describe", "in one line"),
        ("json", "does not come back"),
    ],
)
def test_a_broken_promise_is_named(how, message, monkeypatch):
    monkeypatch.setattr(Wrong, "how", how)
    with pytest.raises(AssertionError, match=message):
        check_step(Wrong("a.weight"), foreign_model(), context())
