"""Search a task's recipe: the cached original, choices on validation, one report on test."""

from __future__ import annotations

import json
import math
import shutil
from functools import partial
from pathlib import Path
from typing import Any

from recprune.artifact import read
from recprune.errors import RecpruneError
from recprune.evaluation import Gate, compare, differences
from recprune.files import new_directory, remove_directory, write_bytes
from recprune.judge import Judge
from recprune.pipeline.config import RunConfig
from recprune.pipeline.run import Run
from recprune.pruning.search import Found, constraint, search
from recprune.pruning.trials import HOW, Trial

__all__ = ["search_task"]


def search_task(
    run: Run,
    name: str,
    *,
    max_drop: str | None = None,
    size: int | None = None,
    ratio: float | None = None,
    trials: int = 100,
    retrain: int = 8,
    time_limit: float = math.inf,
    workers: int = 1,
) -> dict[str, Any]:
    """Search, judge what was chosen and its family on test, and write it all to `<task>/search/`.

    There: `artifact` (chosen), `family/<ratio>x`, `recipe.yaml`, `search.json` with what is returned.
    """
    if getattr(run.config.tasks.get(name), "private", None) is not None:
        raise RecpruneError(
            f"search retrains and chooses by the log without noise; give the private task {name!r} a recipe"
        )
    constraint(max_drop, size, ratio, time_limit)  # before anything is trained
    trained = run.stage(name, "train")
    task = run.task(name)
    folder = run.folder / name
    run.verify(folder / "original")
    found = search(
        task.model(folder),
        task.data,
        task.judge("valid"),
        folder=folder / "search",
        max_drop=max_drop,
        size=size,
        ratio=ratio,
        trials=trials,
        retrain=retrain,
        time_limit=time_limit,
        seed=run.config.seed,
        workers=workers,
        reopen=partial(_reopen, run.config, run.folder.parent, name),
        original_bytes=trained["size"]["disk_bytes"],
        say=lambda line: run.say(name, f"search: {line}"),
    )
    run.say(name, "search: judging what was chosen on test, once")
    result = _judged(found, task.judge("test"), folder, task.slices(), max_drop)
    _ship(run, found)
    result["name"], result["question"] = name, run.config.tasks[name].question
    write_bytes(folder / "search" / "recipe.yaml", recipe_yaml(found.chosen).encode())
    write_bytes(folder / "search" / "search.json", json.dumps(result, allow_nan=False).encode())
    return result


def recipe_yaml(trial: Trial, name: str = "searched") -> str:
    """A recipe as it stands under `recipes:` of a run's YAML."""
    import yaml

    given = trial.recipe.to_json()
    recipe = {key: given[key] for key in ("fingerprint", "steps") if given[key]}
    text: str = yaml.safe_dump({name: recipe}, sort_keys=False, width=4096, default_flow_style=None)
    return text


def _ship(run: Run, found: Found) -> None:
    """What was chosen becomes `artifact`, and the family stands beside it: each whole and signed when it takes its name."""
    place = found.folder
    family = {f"{ratio}x": trial for ratio, trial in found.family.items()}
    for trial, target in (
        (found.chosen, place / "artifact"),
        *((t, place / "family" / name) for name, t in family.items()),
    ):
        with new_directory(target) as copy:
            shutil.copytree(place / trial.folder, copy, dirs_exist_ok=True)
            if target.name == "artifact":
                run.sign(copy)
    for left in (place / "family").glob("*x"):
        if left.name not in family:
            remove_directory(left)


def _judged(found: Found, judge: Judge, folder: Path, slices: list[Any], max_drop: str | None) -> dict[str, Any]:
    base = judge.predict(read(folder / "original"))
    place = found.folder
    chosen = judge.predict(read(place / found.chosen.folder))
    evaluation = compare(judge.truth, base, chosen, judge.metrics, slices)
    predictions = {str(ratio): judge.predict(read(place / trial.folder)) for ratio, trial in found.family.items()}
    on_test = differences(judge.truth, base, predictions, judge.metrics[:2]) if predictions else {}
    metrics = evaluation.to_json()["metrics"]
    return {
        "how": HOW,
        "metric": found.metric,
        "original_bytes": found.original_bytes,
        "chosen": _trial(found.chosen, found),
        "test": {"metrics": metrics, "worse": evaluation.worse()},
        "gate": Gate.parse(max_drop).check(metrics) if max_drop else {"passed": True, "rules": []},
        "frontier": [_trial(trial, found) for trial in found.frontier],
        "family": {
            str(ratio): _trial(trial, found) | {"test": {m: i.to_json() for m, i in on_test[str(ratio)].items()}}
            for ratio, trial in found.family.items()
        },
        "tried": [
            {"disk_bytes": t.disk_bytes, "value": t.differences[found.metric].value, "retrained": t.retrained}
            for t in found.trials
        ],
    }


def _trial(trial: Trial, found: Found) -> dict[str, Any]:
    return {
        "number": trial.number,
        "disk_bytes": trial.disk_bytes,
        "ratio": found.original_bytes / trial.disk_bytes,
        "valid": {metric: interval.to_json() for metric, interval in trial.differences.items()},
        "us": trial.us,
        "retrained": trial.retrained,
        "recipe": trial.recipe.to_json(),
        "words": trial.recipe.describe(),
    }


def _reopen(config: RunConfig, runs: Path, name: str) -> tuple[Any, Any, Judge]:
    """Model, data and judge, in the process of a worker."""
    run = Run(config, runs)
    task = run.task(name)
    return task.model(run.folder / name), task.data, task.judge("valid")
