"""Three seeds of the book example with the peers at many sizes: `benchmarks/results/books.json`.

    python benchmarks/books.py

Resumable: every stage of every seed is kept under runs/evidence-<seed>/. Differences are paired by test row and averaged
over the seeds; `advantage` is the bytes of the smallest peer at equal quality over ours.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from recprune.evaluation import ListTruth, RowTruth, advantage, compare, differences, estimate
from recprune.pipeline.config import RunConfig, read_config
from recprune.pipeline.like import METRICS, LikeTask
from recprune.pipeline.next_item import METRICS as LIST_METRICS
from recprune.pipeline.run import Run, machine, versions
from recprune.processes import spawned
from recprune.pruning.methods import Quantize
from recprune.pruning.recipe import Recipe

ROOT = Path(__file__).parent
SEEDS = (0, 1, 2)
# (width, readings) of the same model trained from scratch; width 0 is the model without any id table.
SMALLER = {
    "like": ((0, 10), (1, 20), (2, 20), (2, 10), (4, 10), (8, 20)),
    "like-ids": ((1, 20), (1, 10), (2, 20), (2, 10), (2, 5), (4, 10), (4, 5), (8, 10), (8, 5), (8, 3)),
}
# What any library does: the original in 8 bits, its ids hashed as ours are. A peer, though not trained again.
PLAIN = "the original in 8 bits"
PLAIN_RECIPE = Recipe.from_json(
    {
        "fingerprint": 8,
        "steps": [
            {"quantize": {"target": "tables.*.factor", "bits": 8}},
            {"quantize": {"target": "tables.*.bias", "bits": 8, "granularity": "per_column"}},
            {"quantize": {"target": "*.weight", "bits": 8}},
        ],
    }
)
DROPS = {"auc": (0.001, 0.004, 0.010), "ndcg@10": (0.0,), "recall@20": (0.0,)}


def run_of(seed: int, say: Callable[[str, str], None]) -> Run:
    """The run of a seed, kept under runs/evidence-<seed>/."""
    config = read_config(ROOT.parent / "examples" / "books.yaml")
    tasks = {
        name: replace(task, trained_small=SMALLER[name], recipes={**task.recipes, PLAIN: plain(name)})
        if name in SMALLER
        else task
        for name, task in config.tasks.items()
    }
    return Run(replace(config, name=f"evidence-{seed}", seed=seed, tasks=tasks), ROOT.parent / "runs", say)


def main() -> None:
    runs = {seed: run_of(seed, lambda task, line: print(task, line, flush=True)) for seed in SEEDS}
    tasks = runs[SEEDS[0]].config.tasks
    jobs = [(seed, name) for seed in SEEDS for name in tasks if name in SMALLER or seed == SEEDS[0]]
    with spawned(os.cpu_count() or 1) as pool:
        for job in [pool.submit(stages_of, runs[seed].config, name) for seed, name in jobs]:
            job.result()
    found = {name: over_seeds(name, runs) for name in tasks}
    result = {"format": 1, "machine": machine(), "versions": versions(), "seeds": list(SEEDS), "tasks": found}
    out = ROOT / "results" / "books.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for name, task in found.items():
        print(name, {m: round(v["difference"]["value"], 5) for m, v in task["metrics"].items()}, task["size"]["ratio"])
        for entry in task["advantage"]:
            print("  advantage", entry)


def plain(name: str) -> Recipe:
    """The recipe of the plain peer; statistics, where there are, in 8 bits too."""
    statistics = Quantize("statistics.*", 8, "per_column")
    return replace(PLAIN_RECIPE, steps=(*PLAIN_RECIPE.steps, *([statistics] if name == "like" else [])))


STAGES = ("train", "peers", "compress", "evaluate")


def stages_of(config: RunConfig, name: str) -> None:
    """The stages of one task and seed, in a process of its own."""
    run = Run(config, ROOT.parent / "runs", lambda task, line: print(config.seed, task, line, flush=True))
    for stage in STAGES:
        run.stage(name, stage)


def over_seeds(name: str, runs: dict[int, Run]) -> dict[str, object]:
    """One task's result over all seeds (one is enough for models that are fitted in closed form)."""
    seeds = [seed for seed in runs if name in SMALLER or seed == SEEDS[0]]
    stages = {seed: {stage: runs[seed].stage(name, stage) for stage in STAGES} for seed in seeds}
    first, task = stages[seeds[0]], runs[seeds[0]].task(name)
    files = "test_scores.npz" if isinstance(task, LikeTask) else "test_lists.npz"
    scores: dict[str, list[np.ndarray]] = {}
    peers: dict[str, list[np.ndarray]] = {}
    for seed in seeds:
        folder = runs[seed].folder / name
        for source, target in ((files, scores), ("peers.npz", peers)):
            with np.load(folder / source) as stored:
                for key in stored.files:
                    target.setdefault(key, []).append(stored[key])
    truth: RowTruth | ListTruth
    if isinstance(task, LikeTask):
        truth, metrics, judged = (
            RowTruth(task.data.labels["test"], task.data.test["user"].to_numpy()),
            METRICS,
            ("auc",),
        )
    else:
        truth, metrics, judged = task.truth("test"), LIST_METRICS, ("ndcg@10", "recall@20")
    config = runs[seeds[0]].config.tasks[name]
    evaluation = compare(truth, scores["original"], scores["compressed"], metrics, task.slices())
    others = {key: value for key, value in scores.items() if key not in ("original", "compressed")}
    points = differences(truth, scores["original"], {config.ship: scores["compressed"], **others, **peers}, judged)

    def mean_bytes(get) -> int:  # type: ignore[no-untyped-def]
        return round(float(np.mean([get(stages[seed]) for seed in seeds])))

    frontier = []
    for key, of in points.items():
        ours, made = key in config.recipes and key != PLAIN, key in config.recipes
        if not made and not first["peers"][key]["frontier"]:
            continue
        size = (
            (lambda s, key=key: s["compress"][key]["size"]["disk_bytes"])
            if made
            else (lambda s, key=key: s["peers"][key]["disk_bytes"])
        )
        point = {"name": key, "kind": "ours" if ours else "peer", "disk_bytes": mean_bytes(size)}
        if ours:
            point["weights_bytes"] = mean_bytes(lambda s, key=key: s["compress"][key]["size"]["weights_bytes"])
            point["chosen"] = key == config.ship
        frontier.append(point | {"differences": {m: i.to_json() for m, i in of.items()}})
    sizes = {
        side: {
            field: mean_bytes(lambda s, side=side, field=field: _size(s, config.ship, side)[field])
            for field in _size(first, config.ship, side)
        }
        for side in ("original", "compressed")
    }
    noise = {
        m: float(np.std([i[0].value for i in ((estimate(truth, s, [m])[m],) for s in scores["original"])]))
        for m in judged
    }
    shown = ("auc",) if isinstance(task, LikeTask) else metrics
    peer_results = {
        key: {
            "metrics": {m: i.to_json() for m, i in estimate(truth, value, shown).items()},
            "disk_bytes": first["peers"][key]["disk_bytes"],
        }
        for key, value in peers.items()
    }
    advantages = [advantage(frontier, m, drop) for m in judged for drop in DROPS[m]]
    return {
        "size": {
            **sizes,
            "ratio": {
                "disk": sizes["original"]["disk_bytes"] / sizes["compressed"]["disk_bytes"],
                "weights": sizes["original"]["weights_bytes"] / sizes["compressed"]["weights_bytes"],
            },
        },
        **evaluation.to_json(),
        "seed_noise": noise,
        "peers": peer_results,
        "frontier": frontier,
        "advantage": [entry for entry in advantages if entry],
        "scoring": first["evaluate"]["scoring"],
        "original": first["train"]["original"],
        "notes": first["evaluate"]["notes"],
        "recipes": {key: recipe.to_json() for key, recipe in config.recipes.items()},
    }  # fmt: skip


def _size(stages: dict, ship: str, side: str) -> dict:  # type: ignore[type-arg]
    return stages["train"]["size"] if side == "original" else stages["compress"][ship]["size"]


if __name__ == "__main__":
    main()
