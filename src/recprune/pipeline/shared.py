"""What the stages of every kind of task have in common."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from recprune.adapters import adapter_for
from recprune.artifact import Artifact, read
from recprune.context import Context
from recprune.data import Log
from recprune.evaluation import ListTruth, RowTruth, Slice, compare, differences, estimate
from recprune.pipeline.config import TaskConfig
from recprune.pipeline.private import METRICS, Watch, at_most
from recprune.pruning.compress import apply
from recprune.pruning.step import Step
from recprune.weights import Weights

__all__ = ["REPAIRED", "Say", "Stored", "groups_of", "judge_all", "nouns", "plan_recipes", "try_recipes"]

REPAIRED = "one epoch more without forgotten users"
"""How a model that learns by gradients was repaired."""
Say = Callable[[str], None]
Stored = tuple[dict[str, Any], list[str]]
"""What a stage gives: its result as JSON, and the names of the files it wrote."""

Array = npt.NDArray[Any]
_FEW = 25  # values of an attribute that slices are made by


def nouns(log_name: str) -> tuple[str, str]:
    """What items and users are called in slices and notes."""
    return ("book", "reader") if log_name == "book-crossing" else ("item", "user")


def groups_of(users: pl.DataFrame) -> list[str]:
    """Attributes by which users are told apart in slices: `country`, and every text of few values."""
    texts = [name for name in users.columns if name != "user" and users.schema[name] == pl.String]
    return [name for name in texts if name == "country" or users[name].n_unique() <= _FEW]


def try_recipes(
    config: TaskConfig,
    model: Any,
    data: Any,
    folder: Path,
    seed: int,
    say: Say,
    judge: Callable[[Artifact], Mapping[str, float]],
    metrics: Sequence[str],
    log: Log,
) -> Stored:
    """Every recipe; the one to ship becomes `artifact`, the others lie in `tried/`.

    `judge`: the `metrics` on validation. The manifest of each says where it comes from: the digests of the original and of
    the log, and these metrics; of a private original, what was spent, and what of the log the steps read beside.
    """
    adapter = adapter_for(model)
    snapshot, context = adapter.read(model), adapter.context(model, data, seed, say)
    lineage = {
        "original": hashlib.sha256((folder / "original" / "manifest.json").read_bytes()).hexdigest(),
        "data": log.digest,
    }
    original = read(folder / "original")  # as it was written: to pack its ids again takes as long as a recipe
    private = original.metadata.get("private")

    def known(measured: Mapping[str, float], read_again: Iterable[str]) -> dict[str, Any]:
        found: dict[str, Any] = {"lineage": {**lineage, "metrics": measured}}
        if private is not None:
            found["private"] = {**private, "not_covered": [*private["not_covered"], METRICS, *read_again]}
        return found

    found = {}
    for name, recipe in config.recipes.items():
        say(f"recipe {name}")
        # A recipe may fit a number of bytes, so room is counted for what is known of it only afterwards.
        room, watch = known(dict.fromkeys(metrics, -0.123456), at_most(recipe)), Watch()
        compressed = apply(
            snapshot,
            recipe,
            context,
            adapter,
            model,
            before=original,
            metadata=room,
            run=_as_it_is if private is None else watch,
        )
        scratch = folder / ".judged"  # what ships has its metrics from the first moment on
        compressed.save(scratch)
        valid = dict(judge(read(scratch)))
        shutil.rmtree(scratch)
        measured = {metric: round(value, 6) for metric, value in valid.items()}
        size = compressed.save(_path(config, folder, name), known(measured, watch.found))
        found[name] = {"size": size, "plan": compressed.plan, "valid": valid}
        told = ", ".join(f"{metric} {value:.4f}" for metric, value in valid.items())
        say(f"{name}: {size['disk_bytes']:,} bytes, on validation {told}")
    return found, [str(_path(config, folder, name).relative_to(folder)) for name in config.recipes]


def _as_it_is(step: Step, weights: Weights, context: Context) -> Weights:
    return step(weights, context)


def plan_recipes(config: TaskConfig, model: Any, data: Any, folder: Path, seed: int, say: Say) -> dict[str, Any]:
    """What every recipe would do: for each its plan, its bytes before and after, and the steps that are left for later."""
    adapter = adapter_for(model)
    snapshot, context = adapter.read(model), adapter.context(model, data, seed, say)
    original, found = read(folder / "original"), {}
    for name, recipe in config.recipes.items():
        planned = apply(snapshot, recipe, context, adapter, model, train=False, before=original)
        planned.check_smaller()
        later = [step.describe() for step in recipe.steps if step.trains]
        whole = sum(line["bytes_before"] for line in planned.plan)
        found[name] = {"plan": planned.plan, "bytes_before": whole, "bytes_after": planned.size_bytes, "later": later}
    return found


def judge_all(
    config: TaskConfig,
    folder: Path,
    truth: RowTruth | ListTruth,
    predict: Callable[[Artifact], Array],
    metrics: Sequence[str],
    judged: Sequence[str],
    slices: Sequence[Slice],
    say: Say,
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Original, every recipe and the peers on the same test.

    `predict`: what `truth` judges (scores or ranked lists) of an artifact. `judged`: metrics of the frontier and the peers.
    Gives the JSON of the stage, and all predictions by name.
    """
    found = {"original": predict(read(folder / "original")), "compressed": predict(read(folder / "artifact"))}
    found |= {name: predict(read(_path(config, folder, name))) for name in config.recipes if name != config.ship}
    with np.load(folder / "peers.npz") as stored:
        peers = {name: stored[name] for name in stored.files}
    say("comparing on test, 1,000 resamples of users")
    evaluation = compare(truth, found["original"], found["compressed"], metrics, slices)
    others = {name: value for name, value in found.items() if name not in ("original", "compressed")} | peers
    result = {
        **evaluation.to_json(),
        "worse": evaluation.worse(),
        "peers": {n: {m: i.to_json() for m, i in estimate(truth, p, judged).items()} for n, p in peers.items()},
        "differences": {
            name: {metric: interval.to_json() for metric, interval in of.items()}
            for name, of in differences(truth, found["original"], others, judged).items()
        },
    }
    return result, found


def _path(config: TaskConfig, folder: Path, name: str) -> Path:
    return folder / "artifact" if name == config.ship else folder / "tried" / name
