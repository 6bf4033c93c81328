"""Every method alone, what a search finds, and the peers, at 10 to 300 times fewer bytes.

    python benchmarks/frontier.py [TASK ...]            writes benchmarks/results/frontier.json
    python benchmarks/frontier.py --combined [TASK ...]  what combines methods anew, all else as it stands there
    python benchmarks/frontier.py --alone [TASK ...]     the other way round: each method alone, and the peers

Bytes are of whole artifacts, vocabularies counted; ids are hashed alike for all. For each method and ratio the best setting
that fits is chosen on validation and judged on test once, paired and over the seeds. Peers that were scored on test only
are chosen on test, in their favour. Resumable: every point is kept under runs/frontier/.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import books
import frontier_peers
import frontier_scratch
import numpy as np
from frontier_recipes import BITS, TRIALS, alone_items, alone_like, alone_towers, at_random, grid

from recprune.adapters import adapter_for
from recprune.artifact import Artifact, read, write
from recprune.context import Context
from recprune.evaluation import ListTruth, RowTruth, auc, differences, estimate
from recprune.pipeline.config import read_config
from recprune.pipeline.like import LikeTask
from recprune.pipeline.run import Run, machine, versions
from recprune.pipeline.search import search_task
from recprune.processes import spawned
from recprune.pruning.compress import apply
from recprune.pruning.recipe import Recipe
from recprune.pruning.space import space_of
from recprune.snapshot import Snapshot

ROOT = Path(__file__).parent
RUNS = ROOT.parent / "runs"
RATIOS = (10, 30, 100, 300)
# Solved in closed form there is no chance in a model: one seed (`classical.py` has next book over five splits).
CLOSED = (0,)
TRAINED = (0, 1, 2)
SEEDS = {"like": TRAINED, "like-ids": TRAINED, "next book": CLOSED, "next film": CLOSED, "next film in order": TRAINED}
RETRAINED = 8
FEW = 12  # trials where there is one matrix and nothing else
KINDS = ("combined", "alone")
COMBINED = ("search", "fit_bytes", "fit_bytes, layers refitted", "hand-written", "grid", "random recipes")
Json = dict[str, Any]


def run_of(task: str, seed: int) -> Run:
    """The run that trained the original: of the books, the one that `make evidence` keeps."""

    def say(name: str, line: str) -> None:
        print(seed, name, line, flush=True)

    if task in ("next film", "next film in order"):
        config = read_config(ROOT.parent / "examples" / "movielens.yaml")
        ordered = replace(config.tasks["next film in order"], trained_small=(32, 20, 16, 8, 4, 2))
        tasks = {**config.tasks, "next film in order": ordered}
        return Run(replace(config, name=f"evidence-films-{seed}", seed=seed, tasks=tasks), RUNS, say)
    return books.run_of(seed, say)


class Bench:
    """One task and seed: its original, and points that are made once."""

    def __init__(self, task: str, seed: int) -> None:
        self.name, self.seed, self.run = task, seed, run_of(task, seed)
        self.folder = RUNS / "frontier" / f"{task}-{seed}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.original_bytes: int = self.run.stage(task, "train")["size"]["disk_bytes"]
        self.place = self.run.folder / task
        self.task = self.run.task(task)
        self.judges = {part: self.task.judge(part) for part in ("valid", "test")}
        self.hashed = isinstance(self.task, LikeTask)

    @cached_property
    def original(self) -> Artifact:
        return read(self.place / "original")

    @cached_property
    def model(self) -> Any:
        return self.task.model(self.place)

    @cached_property
    def adapter(self) -> Any:
        return adapter_for(self.model)

    @cached_property
    def snapshot(self) -> Snapshot:
        return self.adapter.read(self.model)

    @cached_property
    def context(self) -> Context:
        return self.adapter.context(self.model, self.task.data, self.seed, lambda line: None)

    def points(self, kinds: Sequence[str]) -> None:
        """Make every point of these kinds that is not there yet."""
        self._kept("original", "original", lambda: self._answers(self.original, self.original_bytes))
        if "combined" in kinds:
            self._search()
            self._combined()
        if "alone" in kinds:
            self._alone()

    def _combined(self) -> None:
        config = self.run.config.tasks[self.name]
        for name in self.run.stage(self.name, "compress"):
            if name != books.PLAIN:
                artifact = self.place / ("artifact" if name == config.ship else f"tried/{name}")
                self._read("hand-written", name, artifact)
        if self.context.calibration is not None:
            for ratio in RATIOS:
                fit = {"fit_bytes": {"bytes": self.original_bytes // ratio}}
                self._steps("fit_bytes", f"{ratio}x", [fit])
                self._steps("fit_bytes, layers refitted", f"{ratio}x", [fit, {"compensate": {}}])
        if self.name == "like-ids":
            for method, recipes in (("grid", grid()), ("random recipes", at_random(space_of(self.snapshot)))):
                for i, given in enumerate(recipes):
                    self._recipe(method, f"{i}", given)

    def _alone(self) -> None:
        if self.hashed:
            alone = alone_like(any(name.startswith("statistics.") for name in self.snapshot.weights))
        else:
            items = "item_weights" in self.snapshot.weights
            alone = alone_items(self.snapshot.weights.sizes["item"]) if items else alone_towers()
        for method, settings in alone.items():
            for setting, steps in settings.items():
                self._steps(method, setting, steps)
        for method, setting, artifact in frontier_peers.after_training(self.task, self.snapshot):
            self._kept(f"peer: {method}", setting, lambda artifact=artifact: self._saved(*artifact()))
        for method, setting, make in frontier_scratch.from_scratch(self.task, self.seed):
            self._kept(f"peer: {method}", setting, make)

    def _steps(self, method: str, setting: str, steps: list[Json]) -> None:
        given = {"fingerprint": BITS, "steps": steps} if self.hashed else {"steps": steps}
        self._recipe(method, setting, Recipe.from_json(given))

    def _recipe(self, method: str, setting: str, recipe: Recipe) -> None:
        def make() -> Json:
            given = self.snapshot, recipe, self.context, self.adapter, self.model
            return self._saved(apply(*given, before=self.original).artifact)

        self._kept(method, setting, make)

    def _search(self) -> None:
        stored = self.place / "search" / "frontier.json"
        if not stored.exists():
            trials = FEW if self.name == "next book" else TRIALS
            found = search_task(self.run, self.name, ratio=RATIOS[0], trials=trials, retrain=RETRAINED)
            stored.write_text(json.dumps(sorted(found["family"], key=int)), encoding="utf-8")
        for ratio in json.loads(stored.read_text(encoding="utf-8")):
            self._read("search", f"{ratio}x", self.place / "search" / "family" / f"{ratio}x")

    def _read(self, method: str, setting: str, artifact: Path) -> None:
        self._kept(method, setting, lambda: self._answers(read(artifact), size_of(artifact)))

    def _saved(self, artifact: Artifact, bytes_of: Artifact | None = None) -> Json:
        """What comes back from the disk. `bytes_of`: another artifact of the same content, whose bytes count."""
        place = self.folder / "artifact"
        size = write(artifact, place)["disk_bytes"]
        found = self._answers(read(place), size)
        if bytes_of is not None:
            found["bytes"] = write(bytes_of, place)["disk_bytes"]
        return found

    def _answers(self, artifact: Artifact, size: int) -> Json:
        return {"bytes": size, **{part: judge.predict(artifact) for part, judge in self.judges.items()}}

    def _kept(self, method: str, setting: str, make: Any) -> None:
        path = self.path(method, setting)
        if not path.exists():
            try:
                found = make()
            except Exception as error:  # one that cannot be done is told and left out
                print(self.seed, self.name, method, setting, "left out:", error, flush=True)
                return
            part = path.with_suffix(".part")
            with part.open("wb") as file:
                np.savez(file, method=method, setting=setting, **found)
            part.rename(path)
            print(self.seed, self.name, method, setting, f"{found['bytes']:,} bytes", flush=True)

    def path(self, method: str, setting: str) -> Path:
        """Where a point is kept."""
        name = "".join(c if c.isalnum() or c in ".-" else "_" for c in f"{method}--{setting}")
        return self.folder / f"{name}.npz"

    def stored(self, kinds: Sequence[str]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        """All points made so far, those of the cached peers too."""
        for path in sorted(self.folder.glob("*.npz")):
            with np.load(path) as found:
                yield str(found["method"]), str(found["setting"]), {k: found[k] for k in found.files}
        if "alone" not in kinds:
            return
        peers = self.run.stage(self.name, "peers")
        with np.load(self.place / "peers.npz") as found:
            for name, of in peers.items():
                family = "plain magnitude" if name.startswith("magnitude") else "smaller, trained from scratch"
                if of["frontier"]:
                    yield f"peer: {family}", name, {"bytes": of["disk_bytes"], "test": found[name]}


def size_of(folder: Path) -> int:
    """Bytes of all files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def work(task: str, seed: int, kinds: Sequence[str]) -> None:
    """One task and seed, in a process of its own."""
    Bench(task, seed).points(kinds)


def judged(task: str, kinds: Sequence[str]) -> Json:
    """For each method and ratio the best that fits, chosen on validation, judged on test over the seeds."""
    benches = [Bench(task, seed) for seed in SEEDS[task]]
    made: dict[tuple[str, str], dict[int, Mapping[str, Any]]] = {}
    for bench in benches:
        for method, setting, found in bench.stored(kinds):
            made.setdefault((method, setting), {})[bench.seed] = found
    base = made.pop(("original", "original"))
    metric = benches[0].task.metric
    judges, whole = benches[0].judges, int(np.mean([bench.original_bytes for bench in benches]))
    value = {
        key: [
            {part: value_of(judges[part].truth, found[part], metric) for part in ("valid", "test") if part in found}
            for found in seeds.values()
        ]
        for key, seeds in made.items()
    }
    size = {key: int(np.mean([found["bytes"] for found in seeds.values()])) for key, seeds in made.items()}
    judged_metrics = (metric,) if metric == "auc" else (metric, "recall@20", "tail_recall@20")
    rows = []
    for ratio in RATIOS:
        for method in dict.fromkeys(method for method, _ in made):
            fits = [key for key in made if key[0] == method and size[key] * ratio <= whole]
            if not fits:
                continue

            def good(key: tuple[str, str]) -> float:
                part = "valid" if all("valid" in of for of in value[key]) else "test"
                return float(np.mean([of[part] for of in value[key]]))

            # A search says itself what it would ship at a ratio: a member stands under the first that it is the best of.
            asked = [key for key in fits if method == "search" and int(key[1].removesuffix("x")) <= ratio]
            best = max(asked, key=lambda key: int(key[1].removesuffix("x"))) if asked else max(fits, key=good)
            seeds = list(made[best])
            found = differences(
                judges["test"].truth,
                [base[seed]["test"] for seed in seeds],
                {"": [made[best][seed]["test"] for seed in seeds]},
                judged_metrics,
            )[""]
            kind = "peer" if method.startswith("peer: ") else "combined" if method in COMBINED else "alone"
            rows.append(
                {"ratio": ratio, "method": method.removeprefix("peer: "), "kind": kind, "setting": best[1],
                 "disk_bytes": size[best], "seeds": len(seeds),
                 "differences": {m: i.to_json() for m, i in found.items()}}
            )  # fmt: skip
    original = estimate(judges["test"].truth, [base[seed]["test"] for seed in base], judged_metrics)
    return {
        "metric": metric,
        "original_bytes": whole,
        "original": {m: i.to_json() for m, i in original.items()},
        "seeds": list(SEEDS[task]),
        "rows": rows,
    }


def value_of(truth: RowTruth | ListTruth, found: Any, metric: str) -> float:
    """A metric without its interval, for choosing among many."""
    if isinstance(truth, RowTruth) and metric == "auc":
        return auc(truth.labels, found)
    return estimate(truth, found, (metric,), resamples=100)[metric].value


def _made(row: Json, kinds: Sequence[str]) -> bool:
    return ("combined" if row["kind"] == "combined" else "alone") in kinds


def main() -> None:
    kinds = [kind for kind in KINDS if f"--{kind}" in sys.argv] or KINDS
    tasks = [task for task in sys.argv[1:] if task in SEEDS] or list(SEEDS)
    jobs = [(task, seed, kinds) for task in tasks for seed in SEEDS[task]]
    with spawned(os.cpu_count() or 1) as pool:
        for job in [pool.submit(work, *job) for job in jobs]:
            job.result()
    out = ROOT / "results" / "frontier.json"
    found = json.loads(out.read_text(encoding="utf-8"))["tasks"] if out.exists() else {}
    for task in tasks:
        new = judged(task, kinds)
        rows = [row for row in new["rows"] if _made(row, kinds)]
        rows += [row for row in found.get(task, {"rows": []})["rows"] if not _made(row, kinds)]
        found[task] = {**new, "rows": sorted(rows, key=lambda row: (row["ratio"], row["method"]))}
    ordered = {task: found[task] for task in SEEDS if task in found}
    result = {"format": 1, "machine": machine(), "versions": versions(), "tasks": ordered}
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
