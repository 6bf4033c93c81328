"""Run the stages of a configuration, and write what was found."""

from __future__ import annotations

import os
import platform
import queue
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import recprune
from recprune.data import Forgotten
from recprune.errors import RecpruneError, unknown
from recprune.evaluation import Gate, advantage, write_summary
from recprune.judge import Judge
from recprune.pipeline.cache import Stage, digest
from recprune.pipeline.config import LIKE_TREES, LikeConfig, NextItemConfig, RunConfig, TaskConfig
from recprune.pipeline.logs import identity, load_log
from recprune.pipeline.shared import Say, Stored
from recprune.processes import shared_queue, spawned
from recprune.trust import sign_artifact, verify_artifact

__all__ = ["FORGOTTEN", "STAGES", "Run", "Task", "machine", "versions"]

FORGOTTEN = "forgotten.json"  # the list of users who are left out of a run, in its folder
STAGES = ("train", "peers", "analyze", "compress", "evaluate")
# What each stage builds on; a stage is done again where one of these changed.
# `importance` and `plan` are asked for by themselves and are no part of a whole run.
_NEEDS = {
    "train": (),
    "peers": (),
    "analyze": ("train",),
    "importance": ("train",),
    "plan": ("train",),
    "compress": ("train",),
    "evaluate": ("peers", "compress"),
}
# What of a task's configuration each stage depends on; everything else leaves its result as it is.
_LATER = {"recipes", "ship", "gate", "question"}


class Task(Protocol):
    """A kind of task: each stage takes the task's folder, and gives JSON and the names of the files it wrote."""

    metric: str

    @property
    def data(self) -> Any:
        """What the model is trained on, as its adapter takes it."""

    def model(self, folder: Path) -> Any:
        """The trained original."""

    def judge(self, part: str) -> Judge:
        """What is true of a part, and how an artifact answers it."""

    def slices(self) -> list[Any]:
        """Parts of the test."""

    def train(self, folder: Path, say: Say) -> Stored:
        """Train the original."""

    def repair(self, trained: Callable[[], Any], folder: Path, say: Say) -> Stored:
        """As `train`, from the model that was `trained` on this data and users more, who are to be forgotten."""

    def peers(self, folder: Path, say: Say) -> Stored:
        """Score the peers on test."""

    def analyze(self, folder: Path, say: Say) -> Stored:
        """What is redundant."""

    def importance(self, folder: Path, say: Say) -> Stored:
        """How well each importance predicts losses."""

    def plan(self, folder: Path, say: Say) -> Stored:
        """What every recipe would do, before any training."""

    def compress(self, folder: Path, say: Say) -> Stored:
        """Apply every recipe."""

    def evaluate(self, folder: Path, say: Say) -> Stored:
        """Judge on test."""


class Run:
    """The stages of a configuration under `runs/<name>/`, each done once.

    `say(task, line)` is told what happens. Users whom the folder's `forgotten.json` lists are left out of everything.
    """

    def __init__(
        self, config: RunConfig, runs: Path = Path("runs"), say: Callable[[str, str], None] = lambda t, s: None
    ):
        self.config, self.folder, self.say = config, runs / config.name, say
        self.forgotten = Forgotten.read(self.folder / FORGOTTEN)
        self.log = cache(lambda: load_log(config.data, config.folder, self.forgotten))

    def task(self, name: str) -> Task:
        """The task of that name, ready to work."""
        config = self._config(name)
        if isinstance(config, LikeConfig):
            from recprune.pipeline.like import LikeTask
            from recprune.pipeline.like_trees import LikeTreesTask

            return (LikeTreesTask if config.model in LIKE_TREES else LikeTask)(
                config, self.log, self.config.seed, self.config.split_seed
            )
        if isinstance(config, NextItemConfig):
            from recprune.pipeline.next_item import NextItemTask

            return NextItemTask(config, self.log, self.config.seed, self.config.split_seed)
        raise RecpruneError(f"task {name!r} has a kind that nothing runs: {config.kind}")

    def stage(self, name: str, stage: str, how: Callable[[Task, Path, Say], Stored] | None = None) -> dict[str, Any]:
        """The result of a stage of a task, after those that it builds on; `how` it is done, if otherwise than ever."""
        for needed in _NEEDS[stage]:
            self.stage(name, needed)
        found = self._stage(name, stage)
        task = self._task(name)
        # What was changed since it was signed is refused, not quietly made again.
        for file in found.written:
            self.verify(found.folder / file)

        def work() -> tuple[dict[str, Any], list[str]]:
            self.say(name, f"{stage} ...")
            do = how or (lambda task, folder, say: getattr(task, stage)(folder, say))
            result = do(task(), found.folder, lambda line: self.say(name, f"{stage}: {line}"))
            for file in result[1]:
                self.sign(found.folder / file)
            return result

        result = found.run(work)
        self.say(name, f"{stage}: " + ("as before" if found.cached else f"done in {found.seconds:.0f} s"))
        return result

    def done(self, name: str, stage: str) -> bool:
        """Whether the result of a stage of a task is there, and what went into it is the same."""
        return self._stage(name, stage).result() is not None

    def undo(self, name: str) -> None:
        """Forget the results of a task, the last ones first: its stages are done anew."""
        for stage in reversed(STAGES):
            self._stage(name, stage).path.unlink(missing_ok=True)

    def verify(self, path: Path) -> None:
        """Refuse an artifact without the signature that the configuration requires; other files are none of its business."""
        if self.config.require_signature and path.is_dir():
            verify_artifact(path, self.config.folder / self.config.require_signature)

    def sign(self, path: Path) -> None:
        """Sign an artifact with the key that the configuration names, if it names one."""
        if self.config.sign and path.is_dir():
            sign_artifact(path, self.config.folder / self.config.sign)

    def summary(self) -> dict[str, Any]:
        """All stages of all tasks; writes `summary.json` and gives it."""
        about = self._data()
        self._together()
        tasks = {name: self._summary(name) for name in self.config.tasks}
        stages = [
            {"stage": f"{name}: {stage}", "seconds": round(found.seconds, 1)}
            for name in self.config.tasks
            for stage in STAGES
            if (found := self._stage(name, stage)).result() is not None
        ]
        summary: dict[str, Any] = {
            "format": 1,
            "name": self.config.name,
            "machine": machine(),
            "versions": versions(),
            "seeds": [self.config.seed],
            "tasks": tasks,
            "stages": stages,
            "data": about,
        }
        if self.config.question:
            summary["question"] = self.config.question
        write_summary(summary, self.folder / "summary.json")
        return summary

    def _together(self) -> None:
        """Tasks that are not done yet, side by side: each in a process of its own, as far as there are cores."""
        open_ = [n for n in self.config.tasks if not all(self.done(n, stage) for stage in STAGES)]
        workers = min(len(open_), os.cpu_count() or 1)
        if workers < 2:
            return
        with shared_queue() as lines, spawned(workers) as pool:
            jobs = [pool.submit(_whole_task, self.config, self.folder.parent, name, lines) for name in open_]
            while not all(job.done() for job in jobs) or not lines.empty():
                with suppress(queue.Empty):
                    self.say(*lines.get(timeout=0.2))
                for job in jobs:
                    if job.done() and job.exception() is not None:
                        job.result()

    def _config(self, name: str) -> TaskConfig:
        if name not in self.config.tasks:
            raise unknown("task", name, self.config.tasks)
        return self.config.tasks[name]

    def _task(self, name: str) -> Callable[[], Task]:
        self._config(name)
        made: dict[str, Task] = self.__dict__.setdefault("_made", {})
        return lambda: made[name] if name in made else made.setdefault(name, self.task(name))

    def _stage(self, name: str, stage: str) -> Stage:
        return Stage(stage, self.folder / name, self.key(name, stage))

    def key(self, name: str, stage: str) -> str:
        """A digest of all that the result of a stage depends on."""
        config = self._config(name)
        values = {key: value for key, value in vars(config).items() if key not in _LATER}
        extra: list[Any] = [self.key(name, needed) for needed in _NEEDS[stage]]
        if stage in ("compress", "plan"):
            extra += [{key: recipe.to_json() for key, recipe in config.recipes.items()}, config.ship]
        if stage != "peers":
            values.pop("trained_small", None)
        seeds = self.config.seed, self.config.split_seed
        return digest(stage, recprune.__version__, self._identity, *seeds, values, extra)

    @cached_property
    def _identity(self) -> list[str]:
        return identity(self.config.data, self.forgotten, self.log)

    def _data(self) -> dict[str, Any]:
        stored = Stage("data", self.folder, digest(recprune.__version__, self._identity))

        def work() -> tuple[dict[str, Any], list[str]]:
            log = self.log()
            found = {
                "name": log.name,
                "licence": log.licence,
                "interactions": len(log.interactions),
                "users": log.interactions["user"].n_unique(),
                "items": log.interactions["item"].n_unique(),
                "repairs": dict(log.repairs),
            }
            return found, []

        return stored.run(work)

    def _summary(self, name: str) -> dict[str, Any]:
        from recprune.pipeline.audit import stored_audit
        from recprune.pipeline.forget import stored_evidence

        config = self._config(name)
        found = {stage: self.stage(name, stage) for stage in STAGES}
        audit, shown = stored_audit(self.folder / name), stored_evidence(self.folder / name)
        recipe, shipped = config.recipes[config.ship], found["compress"][config.ship]
        original, compressed = found["train"]["size"], shipped["size"]
        frontier = _frontier(config, found)
        metric = next(iter(found["evaluate"]["metrics"]))
        drops = {rule.max_drop for rule in Gate.parse(config.gate).rules if rule.metric == metric and not rule.relative}
        advantages = [advantage(frontier, metric, drop) for drop in sorted({0.001, 0.004, 0.01} | drops)]
        gate = Gate.parse(config.gate).check(found["evaluate"]["metrics"])
        analysis = {key: found["analyze"][key] for key in ("blocks", "axes", "findings")}
        return {
            "size": {
                "original": original,
                "compressed": compressed,
                "ratio": {
                    "disk": original["disk_bytes"] / compressed["disk_bytes"],
                    "weights": original["weights_bytes"] / compressed["weights_bytes"],
                },
            },
            "metrics": found["evaluate"]["metrics"],
            "slices": found["evaluate"]["slices"],
            "scoring": found["evaluate"]["scoring"],
            "peers": {
                peer: {
                    "metrics": metrics,
                    "disk_bytes": found["peers"][peer]["disk_bytes"],
                    **_note(found["peers"][peer]),
                }
                for peer, metrics in found["evaluate"]["peers"].items()
            },
            "frontier": frontier,
            "advantage": [entry for entry in advantages if entry is not None],
            "gate": gate,
            "question": config.question or f"task {name}",
            "original": found["train"]["original"],
            "split": found["train"]["split"],
            "recipe": {"words": recipe.describe(), "steps": recipe.to_json()["steps"]},
            "plan": [_plan_line(line) for line in shipped["plan"]],
            "sensitivity": found["analyze"]["sensitivity"],
            "analysis": analysis,
            "readers": found["evaluate"]["readers"],
            "notes": found["evaluate"]["notes"],
            **({"privacy": audit} if audit else {}),
            **({"forgetting": shown} if shown else {}),
        }


def _whole_task(config: RunConfig, runs: Path, name: str, lines: Any) -> None:
    """All stages of one task, in a process of its own."""
    run = Run(config, runs, lambda task, line: lines.put((task, line)))
    for stage in STAGES:
        run.stage(name, stage)


def _note(peer: Mapping[str, Any]) -> dict[str, Any]:
    return {"note": peer["note"]} if peer.get("note") else {}


def _frontier(config: TaskConfig, found: Mapping[str, Any]) -> list[dict[str, Any]]:
    metrics = found["evaluate"]["metrics"]
    first = found["evaluate"]["differences"]
    points = []
    for name in config.recipes:
        size = found["compress"][name]["size"]
        if name == config.ship:
            judged = next((list(d) for d in first.values()), list(metrics)[:1])
            differences = {metric: metrics[metric]["difference"] for metric in judged}
        else:
            differences = first[name]
        point = {"name": name, "kind": "ours", "disk_bytes": size["disk_bytes"], "differences": differences}
        points.append(point | {"weights_bytes": size["weights_bytes"], "chosen": name == config.ship})
    for name, peer in found["peers"].items():
        if peer["frontier"]:
            points.append({"name": name, "kind": "peer", "disk_bytes": peer["disk_bytes"], "differences": first[name]})
    return points


_KINDS = {
    "tables": "table",
    "statistics": "statistic",
    "ids": "vocabulary",
    "item_weights": "table",
    "item_factors": "table",
    "trees": "trees",
    "leaves": "trees",
    "items": "table",
    "positions": "table",
    "popularity": "statistic",
}


def _plan_line(line: Mapping[str, Any]) -> dict[str, Any]:
    kind = _KINDS.get(line["part"].split(".")[0].split(" ")[0], "layer")
    return {**line, "kind": kind}


def machine() -> dict[str, Any]:
    """What a run ran on."""
    return {"system": platform.system(), "processor": platform.machine(), "cores": os.cpu_count()}


def versions() -> dict[str, str]:
    """Versions of what took part."""
    found = {"recprune": recprune.__version__, "python": platform.python_version()}
    for name in ("numpy", "torch", "polars", "scipy", "scikit-learn", "lightgbm", "implicit"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
