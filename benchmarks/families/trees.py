"""Trees on `like`: a tuned LightGBM and a random forest, made smaller, against the same libraries trained smaller.

    python benchmarks/families/trees.py [seed ...]

Features are the statistics that the LightGBM peer of `recprune.recommenders.peers` reads. Models are stopped on
validation rows; nothing is chosen on test: every recipe that was tried there is a line. AUC is of test, with 95 % intervals
by resampling users; differences are paired. Bytes are of whole artifacts (manifest, graph and recipe included), or of the
library's own file, which its points say.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from recprune.adapters import adapter_for
from recprune.artifact import Artifact, contents
from recprune.data import book_crossing, movielens_100k
from recprune.evaluation import RowTruth, differences, estimate
from recprune.pruning.compress import apply, pack
from recprune.pruning.methods import Codebook, DropTrees, MergeLeaves, RefitLeaves, RoundThresholds, ShrinkLeaves
from recprune.pruning.recipe import Recipe
from recprune.recommenders.features import Features
from recprune.recommenders.like import LIKE, features_for, like_data
from recprune.runtime import Scorer

DATA = {"book-crossing": (book_crossing, 8.0), "movielens-100k": (movielens_100k, 4.0)}
SPLIT = ("train", "valid", "test")
ROWS = 40_000  # training rows that leaves are refitted on
CODES = (RoundThresholds(5), Codebook("leaves", 4))
BOOSTED = {
    "5-bit thresholds, 5-bit leaves": (RoundThresholds(5), RefitLeaves(sweeps=2), Codebook("leaves", 5)),
    "half of the leaves": (MergeLeaves(0.5), RoundThresholds(5), RefitLeaves(sweeps=3), Codebook("leaves", 4)),
    "250 trees, 40 % of their leaves": (
        DropTrees(250), MergeLeaves(0.4), RoundThresholds(5), RefitLeaves(sweeps=4), Codebook("leaves", 4),
    ),
    "150 trees, 30 % of their leaves": (
        DropTrees(150), MergeLeaves(0.3), RoundThresholds(4), RefitLeaves(sweeps=4), Codebook("leaves", 4),
    ),
}  # fmt: skip
SMALLER = {"200 x 16 leaves": (200, 16, 0.06), "100 x 16 leaves": (100, 16, 0.1), "40 x 8 leaves": (40, 8, 0.2)}
FORESTS = (
    (20, 4000, "original"),
    (10, 1000, "original"),
    (10, 1000, "labels"),
)  # trees, leaves, what they are refitted to


def of_family(data: str, family: str, seed: int) -> Iterator[dict[str, Any]]:
    """The points of one family on one log, the original first."""
    x, y, names, users = rows(data, seed)
    truth = RowTruth(y["test"], users)
    first = None
    for name, kind, size, given in FAMILIES[family](x, y, names, seed):
        scores = np.asarray(given, np.float32).reshape(-1)
        first = scores if first is None else first
        value = estimate(truth, scores, ["auc"], seed=seed)["auc"].to_json()
        apart = differences(truth, first, {name: scores}, ["auc"], seed=seed)[name]["auc"].to_json()
        yield {
            "task": f"{data}, {family}", "name": name, "kind": kind, "disk_bytes": size,
            "metrics": {"auc": value}, "differences": {"auc": apart},
        }  # fmt: skip


def rows(data: str, seed: int) -> tuple[dict[str, Any], dict[str, Any], list[str], Any]:
    """Statistics and labels of each part, names of the columns, users of the test rows."""
    load, liked = DATA[data]
    split = like_data(load(), liked=liked, seed=seed)
    settings = features_for(LIKE.features, split.train, liked)
    features, train = Features.fit(split.train, split.implicit, settings)
    encoded = {"train": train, "valid": features.encode(split.valid), "test": features.encode(split.test)}
    names = [f"{key}.{column}" for key, columns in settings.statistics for column in columns]

    return (
        {part: features.matrix(encoded[part]) for part in SPLIT},
        dict(split.labels),
        names,
        split.test["user"].to_numpy(),
    )


def boosted(x: Any, y: Any, names: list[str], seed: int) -> Iterator[tuple[str, str, int, Any]]:
    """LightGBM with a small step, stopped on validation; smaller ones; and what was made of them."""
    model = lightgbm(x, y, names, seed, 3000, 63, 0.03, stop=True)
    text = len(model.model_to_string().encode())
    yield "original", "original", *shipped(model, x)
    yield "original, LightGBM's text", "original", text, model.predict(x["test"])
    for name, steps in BOOSTED.items():
        yield name, "ours", *shipped(model, x, y, steps)
    for count in (50, 150):
        fewer = model.model_to_string(num_iteration=count)
        yield f"first {count} trees, LightGBM's text", "peer", len(fewer), model.predict(x["test"], num_iteration=count)
        yield f"first {count} trees, in our container", "peer", *shipped(model, x, y, (DropTrees(count),))
    for name, (trees, leaves, step) in SMALLER.items():
        small = lightgbm(x, y, names, seed, trees, leaves, step)
        yield f"{name}, LightGBM's text", "peer", len(small.model_to_string()), small.predict(x["test"])
        yield f"{name}, in our container", "peer", *shipped(small, x)
        yield f"{name}, 5-bit thresholds, 4-bit leaves", "ours", *shipped(small, x, y, CODES)


def lightgbm(
    x: Any, y: Any, names: list[str], seed: int, trees: int, leaves: int, step: float, stop: bool = False
) -> Any:
    import lightgbm

    settings = {
        "objective": "binary", "metric": "auc", "learning_rate": step, "num_leaves": leaves, "min_data_in_leaf": 100,
        "feature_fraction": 0.5, "bagging_fraction": 0.8, "bagging_freq": 1, "lambda_l2": 5.0, "num_threads": 1,
        "seed": seed, "deterministic": True, "verbose": -1,
    }  # fmt: skip
    fitted = lightgbm.Dataset(x["train"], y["train"], feature_name=[name.replace(" ", "_") for name in names])
    held = [lightgbm.Dataset(x["valid"], y["valid"], reference=fitted)] if stop else []
    calls = [lightgbm.early_stopping(50, verbose=False)] if stop else []
    return lightgbm.train(settings, fitted, trees, held, callbacks=calls)


def forests(x: Any, y: Any, names: list[str], seed: int) -> Iterator[tuple[str, str, int, Any]]:
    """A random forest with leaves of ten rows; smaller ones; and what was made of it."""
    model = forest(x, y, seed, n_estimators=40)
    yield "original", "original", *shipped(model, x)
    yield "original, joblib", "original", *dumped(model, x)
    leaves = sum(tree.tree_.n_leaves for tree in model.estimators_)
    for trees, wanted, towards in FORESTS:
        name = f"{trees} trees, {wanted:,} leaves, refitted to {towards}"
        keep = wanted / (leaves * trees / len(model.estimators_))
        steps = (DropTrees(trees), ShrinkLeaves(20.0), MergeLeaves(min(1.0, keep)), RoundThresholds(5))
        refit = RefitLeaves(towards, 50.0, 3)
        yield name, "ours", *shipped(model, x, y, (*steps, refit, Codebook("leaves", 4)))
    yield "10 trees, in our container", "peer", *shipped(model, x, y, (DropTrees(10),))
    for name, settings in (
        ("10 trees of 400 leaves", {"n_estimators": 10, "max_leaf_nodes": 400}),
        ("10 trees, ccp_alpha 2e-5", {"n_estimators": 10, "ccp_alpha": 2e-5}),
    ):
        small = forest(x, y, seed, **settings)
        yield f"{name}, joblib", "peer", *dumped(small, x)
        yield f"{name}, in our container", "peer", *shipped(small, x)


def forest(x: Any, y: Any, seed: int, **settings: Any) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    share = min(1.0, 100_000 / len(y["train"]))
    whole = {"min_samples_leaf": 10, "max_features": "sqrt", "max_samples": share, "random_state": seed} | settings
    return RandomForestClassifier(**whole).fit(x["train"], y["train"])


def shipped(model: Any, x: Any, y: Any = None, steps: tuple[Any, ...] = ()) -> tuple[int, Any]:
    """Bytes of the whole artifact, and its scores of the test rows by numpy."""
    adapter = adapter_for(model)
    snapshot = adapter.read(model)
    artifact: Artifact = pack(snapshot, Recipe())
    if steps:
        some = np.random.default_rng(0).permutation(len(y["train"]))[:ROWS]
        context = adapter.context(model, (x["train"][some], y["train"][some]), 0, lambda line: None)
        artifact = apply(snapshot, Recipe(steps), context, adapter, model, before=artifact).artifact
    assert snapshot.graph is not None
    test = dict(zip(snapshot.graph.columns, x["test"].T, strict=True))
    return sum(len(content) for content in contents(artifact).values()), Scorer(artifact).score(test)


def dumped(model: Any, x: Any) -> tuple[int, Any]:
    """Bytes as joblib stores it, compressed."""
    import joblib

    file = io.BytesIO()
    joblib.dump(model, file, compress=3)
    return len(file.getvalue()), model.predict_proba(x["test"])[:, 1]


def line(point: dict[str, Any]) -> str:
    """A point as a line of a table."""
    apart = point["differences"]["auc"]
    return (
        f"{point['task']:25s} {point['kind']:9s} {point['name']:45s} {point['disk_bytes']:12,d}  "
        f"{point['metrics']['auc']['value']:.4f}  {apart['value']:+.4f} ({apart['low']:+.4f} to {apart['high']:+.4f})"
    )


FAMILIES = {"lightgbm": boosted, "forest": forests}
PARTS = {f"{data} {family}": partial(of_family, data, family) for data in DATA for family in FAMILIES}

if __name__ == "__main__":
    for number in [int(given) for given in sys.argv[1:]] or [0]:
        for part in PARTS.values():
            for point in part(number):
                print(f"seed {number}  {line(point)}", flush=True)
