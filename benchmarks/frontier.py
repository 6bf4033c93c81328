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
import multiprocessing
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import books
import frontier_peers
import numpy as np

from recprune.adapters import adapter_for
from recprune.artifact import Artifact, read, write
from recprune.context import Context
from recprune.evaluation import differences, estimate
from recprune.pipeline.config import read_config
from recprune.pipeline.like import LikeTask
from recprune.pipeline.run import Run, machine, versions
from recprune.pipeline.search import search_task
from recprune.pruning.compress import apply
from recprune.pruning.recipe import Recipe
from recprune.pruning.space import Space, space_of
from recprune.snapshot import Snapshot

ROOT = Path(__file__).parent
RUNS = ROOT.parent / "runs"
RATIOS = (10, 30, 100, 300)
# Solved in closed form there is no chance in a model: one seed (`classical.py` has next book over five splits).
CLOSED = (0,)
TRAINED = (0, 1, 2)
SEEDS = {"like": TRAINED, "like-ids": TRAINED, "next book": CLOSED, "next film": CLOSED, "next film in order": TRAINED}
TRIALS, RETRAINED = 48, 4
FEW = 12  # trials where there is one matrix and nothing else
KEEPS = (0.3, 0.1, 0.03, 0.01)
BITS = 8  # of the hash of an id, for all alike
KINDS = ("combined", "alone")
COMBINED = ("search", "fit_bytes", "hand-written", "grid", "random recipes")
Json = dict[str, Any]


def run_of(task: str, seed: int) -> Run:
    """The run that trained the original: of the books, the one that `make evidence` keeps."""

    def say(name: str, line: str) -> None:
        print(seed, name, line, flush=True)

    if task in ("next film", "next film in order"):
        config = read_config(ROOT.parent / "examples" / "movielens.yaml")
        ordered = replace(config.tasks["next film in order"], trained_small=(32, 16, 8, 4, 2))
        tasks = {**config.tasks, "next film in order": ordered}
        return Run(replace(config, name=f"evidence-films-{seed}", seed=seed, tasks=tasks), RUNS, say)
    return books.run_of(seed, say)


# What each method does alone, by its setting. The layers stay as they are: they are a hundredth of the model.
def alone_like(statistics: bool) -> dict[str, dict[str, list[Json]]]:
    def tables(make: Any) -> list[Json]:
        return [*make("tables.*.factor"), *make("tables.*.bias"), *(make("statistics.*") if statistics else [])]

    def rows(keep: float, importance: str) -> list[Json]:
        # Statistics are not trained on a loss: they go by reads, or by their size where that is asked for.
        other = "magnitude" if importance == "magnitude" else "popularity"
        counted = [{"drop_rows": {"target": "statistics.*", "budget": {"uniform": keep}, "importance": other}}]
        return [
            {"drop_rows": {"target": "tables.*", "budget": {"uniform": keep}, "importance": importance}},
            *(counted if statistics else []),
        ]

    found: dict[str, dict[str, list[Json]]] = {
        f"rows by {name.replace('_', ' ')}": {f"{keep:g}": rows(keep, name) for keep in KEEPS}
        for name in ("magnitude", "popularity", "expected_loss")
    }
    found["single weights"] = {
        f"{keep:g}": tables(lambda t, keep=keep: [{"drop_weights": {"target": t, "keep": keep}}]) for keep in KEEPS
    }
    found["columns"] = {f"{keep:g}": [{"drop_axis": {"axis": "* id.factor", "keep": keep}}] for keep in (0.5, 0.25)}
    found["float16"] = {"16 bits": tables(lambda t: [{"cast": {"target": t}}])}
    found["quantize"] = {
        f"{bits} bits": tables(
            lambda t, bits=bits: [{"quantize": {"target": t, "bits": bits, "granularity": "per_column"}}]
        )
        for bits in (8, 4, 2, 1)
    }
    found["codebook"] = {
        f"{bits} bits": tables(lambda t, bits=bits: [{"codebook": {"target": t, "bits": bits}}])
        for bits in (8, 4, 2, 1)
    }
    found["product quantization"] = {
        f"2 x {bits} bits": tables(lambda t, bits=bits: [{"codebook": {"target": t, "bits": bits, "parts": 2}}])
        for bits in (6, 3)
    }
    found["mixed bits"] = {
        f"{bits}": tables(lambda t, bits=bits: [{"mixed": {"target": t, "reads": [0.5, 0.3, 0.2], "bits": list(bits)}}])
        for bits in ((9, 6, 3), (6, 3, 1))
    }
    for by in ("hash", "quotient"):
        found[f"shared rows by {by}"] = {
            f"{keep:g}": tables(lambda t, keep=keep, by=by: [{"share": {"target": t, "keep": keep, "by": by}}])
            for keep in (0.1, 0.03)
        }
    found["low rank"] = {
        f"rank {rank}": [{"factorize": {"target": "tables.*.factor", "rank": rank}}] for rank in (2, 1)
    }
    found["sparsify rows"] = {f"{keep:g}": [{"sparsify": {"target": "tables.*", "keep": keep}}] for keep in (0.1, 0.03)}
    return found


def alone_items(items: int) -> dict[str, dict[str, list[Json]]]:
    def top(count: int, **of: Any) -> list[Json]:
        return [{"keep_top": {"target": "item_weights", "per_column": count, **of}}]

    def whole(verb: str, **of: Any) -> list[Json]:
        return [{verb: {"target": "item_weights", **of}}]

    counts = (400, 200, 64, 32, 16, 8, 4)
    return {
        "pairs, refitted": {f"{count} a column": top(count) for count in counts},
        "largest of each column": {f"{count} a column": top(count, by="column", refit=False, bits=8) for count in counts},
        "float16": {"16 bits": whole("cast")},
        "quantize": {f"{bits} bits": whole("quantize", bits=bits, granularity="per_column") for bits in (8, 4, 2, 1)},
        # The singular values of a matrix of ten thousand items take an hour.
        "low rank": {f"rank {r}": whole("factorize", rank=r) for r in (200, 60, 20) if items < 5000},
    }  # fmt: skip


def alone_towers() -> dict[str, dict[str, list[Json]]]:
    return {
        "float16": {"16 bits": [{"cast": {"target": "*"}}]},
        "quantize": {f"{bits} bits": [{"quantize": {"target": "*", "bits": bits}}] for bits in (8, 6, 4, 3, 2)},
        "product quantization": {
            f"{parts} x {bits} bits": [{"codebook": {"target": "items", "bits": bits, "parts": parts}}]
            for parts, bits in ((16, 8), (8, 8), (8, 6), (4, 6))
        },
        "columns": {f"{keep:g}": [{"drop_axis": {"axis": "factor", "keep": keep}}] for keep in (0.5, 0.25)},
        "hidden units": {
            f"{keep:g}": [{"drop_axis": {"axis": "*hidden,*match,*value", "keep": keep}}] for keep in (0.5, 0.25)
        },
        "low rank": {f"rank {rank}": [{"factorize": {"target": "items", "rank": rank}}] for rank in (32, 16, 8)},
    }


def grid() -> Iterator[Recipe]:
    """As many recipes as the search tries: rows by expected loss, times codes of what is left, alike for all tables."""
    for keep in (1, 0.5, 0.25, 0.1, 0.05, 0.02):
        for bits in (10, 8, 6, 5, 4, 3, 2, 1):
            rows = {"drop_rows": {"target": "tables.*", "budget": {"uniform": keep}, "importance": "expected_loss"}}
            codes = [{"codebook": {"target": target, "bits": bits}} for target in ("tables.*.factor", "tables.*.bias")]
            layers = {"quantize": {"target": "*.weight", "bits": 8}}
            yield Recipe.from_json({"fingerprint": 7, "steps": [rows, *codes, layers]})


def at_random(space: Space) -> Iterator[Recipe]:
    """As many recipes as the search tries, a choice at random of every knob of its space."""
    rng = np.random.default_rng(0)
    for _ in range(TRIALS):
        yield space.recipe({knob.name: int(rng.integers(len(knob.choices))) for knob in space.knobs})


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
                self._steps("fit_bytes", f"{ratio}x", [{"fit_bytes": {"bytes": self.original_bytes // ratio}}])
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
        for method, setting, make in frontier_peers.from_scratch(self.task, self.seed):
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
            {
                part: estimate(judges[part].truth, found[part], (metric,), resamples=100)[metric].value
                for part in ("valid", "test")
                if part in found
            }
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


def _made(row: Json, kinds: Sequence[str]) -> bool:
    return ("combined" if row["kind"] == "combined" else "alone") in kinds


def main() -> None:
    kinds = [kind for kind in KINDS if f"--{kind}" in sys.argv] or KINDS
    tasks = [task for task in sys.argv[1:] if task in SEEDS] or list(SEEDS)
    jobs = [(task, seed, kinds) for task in tasks for seed in SEEDS[task]]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=multiprocessing.get_context("spawn")) as pool:
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
