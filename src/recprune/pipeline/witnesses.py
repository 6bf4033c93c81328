"""Is a user still told apart from one never seen? Models that never saw the user are asked beside: the audit's measure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.artifact import read
from recprune.pipeline.cache import Stage, digest
from recprune.pipeline.run import Run
from recprune.pipeline.shared import Say
from recprune.pipeline.subjects import SIDES, Subject, shadow, witnessed
from recprune.privacy import absence, play

__all__ = ["evidence"]

Array = npt.NDArray[Any]
_OTHERS = 200  # never seen users beside each who is forgotten


def evidence(
    old: Run, new: Run, name: str, users: Sequence[str], sides: Sequence[str], *, models: int, place: Path
) -> dict[str, Any]:
    """How far each user sticks out of users never seen, asked of the models of `old`, trained with them, and of `new`.

    `models` are trained without these users, and with each of some others, who did about as much, by a coin. How sure a
    model is of what the user did is compared with how sure these are (LiRA, offline: Carlini et al., IEEE S&P 2022); and so,
    among themselves, are those of the others whom they never saw. Nothing here names a user.
    """
    before, after = old.task(name), new.task(name)
    subject, groups = witnessed(before, users, _OTHERS, old.config.seed, _lost(before, after))
    found: dict[str, Any] = {"models": models, "users": [{"asked": 0} for _ in users]}
    if not any(len(group) for group in groups):
        return found
    config = new.config.tasks[name]
    key = digest(new.key(name, "train"), models, sorted(sides), config.recipes[config.ship].to_json())
    stages = [Stage(f"witness-{i:02}", place, digest(key, i)) for i in range(models)]
    gone = np.array([group[0] for group in groups if len(group)])
    seeds = [old.config.seed + 2000 + i for i in range(models)]
    inside = np.stack([np.random.default_rng(seed).random(len(subject.units.user)) < 0.5 for seed in seeds])
    inside[:, gone] = False
    for i, stage in enumerate(stages):
        say = partial(_tell, new, name, i + 1)
        _ask(stage, subject, inside[i], seeds[i], sides, say)
    for side in sides:
        known = np.array([(stage.result() or {})[side] for stage in stages])[..., None]
        never = _never(known, inside)
        for when, run in (("before", old), ("after", new)):
            artifact = run.folder / name / SIDES[side]
            run.verify(artifact)
            signals = subject.signals(read(artifact))[:, None]
            scores = absence(signals, known, inside) / _width(models)
            for entry, group in zip(found["users"], groups, strict=True):
                if len(group):
                    entry["asked"] = int((subject.units.unit == group[0]).sum())
                    entry["beside"] = len(group) - 1
                    entry.setdefault(side, {})[when] = _place(float(scores[group[0]]), never[:, group[1:]])
    return found


def _ask(
    stage: Stage, subject: Subject, inside: npt.NDArray[np.bool_], seed: int, sides: Sequence[str], say: Say
) -> None:
    """One witness: a model, its signals; it is kept no longer than it is asked."""

    def work() -> tuple[dict[str, Any], list[str]]:
        signals = shadow(subject, inside, seed, stage.folder / f"work-{stage.name}", sides, say)
        return {side: values.tolist() for side, values in signals.items()}, []

    stage.run(work)
    say(f"done in {stage.seconds:.0f} s")


def _tell(run: Run, name: str, number: int, line: str) -> None:
    run.say(name, f"forget: witness {number}: {line}")


def _never(known: Array, inside: npt.NDArray[np.bool_]) -> Array:
    """What each witness says of each user whom it never saw, by the others that did not either; NaN where there is none."""
    others = (~inside).sum(axis=0) - 1
    return np.where(inside | (others < 1), np.nan, play(known, inside, "offline") / _width(np.maximum(others, 1)))


def _width(models: Any) -> Any:
    """A mean of so many models is itself uncertain."""
    return np.sqrt(1 + 1 / models)


def _place(score: float, never: Array) -> dict[str, float]:
    """Where a score lies among those of users never seen: standard deviations above what models say that never saw the
    user, the share of the others that is lower, and the share that is as far out to either side."""
    never = never[~np.isnan(never)]
    lower, further = (never < score).mean(), (np.abs(never) >= abs(score)).mean()
    return {"deviations": score, "above": float(lower), "further": float(further)}


def _lost(before: Any, after: Any) -> Array:
    """Items that the model without the users no longer knows: it cannot be asked for them."""
    if not hasattr(before.data, "catalogue"):
        return np.zeros(0, dtype=str)
    old, new = (np.asarray(task.data.items[: task.data.catalogue]).astype(str) for task in (before, after))
    return np.setdiff1d(old, new)
