"""Audit a task: attack its original and its compressed model alike, by shadow models of both."""

from __future__ import annotations

from concurrent.futures import as_completed
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from recprune.adapters import adapter_for
from recprune.artifact import Artifact, read
from recprune.errors import RecpruneError
from recprune.evaluation import Interval, by_age
from recprune.files import read_sealed, write_arrays, write_sealed
from recprune.pipeline.cache import Stage, digest
from recprune.pipeline.config import RunConfig
from recprune.pipeline.run import Run
from recprune.pipeline.shared import groups_of
from recprune.pipeline.subjects import SIDES, Subject, Units, manifests, shadow, subject_of
from recprune.privacy import ATTACKS, infer, leakage, likelihood_ratio, play
from recprune.privacy.attacks import absence
from recprune.processes import spawned

__all__ = ["audit_task", "stored_audit"]

Array = npt.NDArray[Any]
_GUESSED = 20_000  # users whose attributes are guessed


def audit_task(
    run: Run,
    name: str,
    *,
    shadows: int = 16,
    rows: int = 10_000,
    users: int = 500,
    min_users: int = 5,
    workers: int = 1,
) -> dict[str, Any]:
    """Train the shadow models, attack, and write it all to `<task>/audit/audit.json`; what is there is not done again.

    Each shadow model is a whole task of its own: the task's training with another seed, on the rows of training where each
    audited interaction and each audited user is in or out by a coin of its own, then the recipe that is shipped. `rows`:
    interactions that are audited, half of them of training, half of test; `users`: users at most. `min_users`: rows of
    tables that rest on fewer are counted. Raises RecpruneError for fewer than 4 shadow models.
    """
    if shadows < 4:
        raise RecpruneError(f"an audit needs 4 shadow models or more, got {shadows}")
    for stage in ("train", "compress"):
        run.stage(name, stage)
    folder = run.folder / name
    place = folder / "audit"
    for part in SIDES.values():
        run.verify(folder / part)
    stages = [_stage(run, name, i, rows, users) for i in range(shadows)]
    open_ = [i for i, stage in enumerate(stages) if stage.result() is None]
    _train(run, name, open_, rows, users, min(workers, len(open_)))
    run.say(name, f"audit: attacking with {shadows} shadow models")
    task = run.task(name)
    subject = subject_of(task, rows, users, run.config.seed)
    signals, inside = _load(place, stages)
    shipped = {side: read(folder / part) for side, part in SIDES.items()}
    target = np.stack([subject.signals(artifact) for artifact in shipped.values()], axis=1)
    units = subject.units
    found = {
        "task": name,
        "question": run.config.tasks[name].question,
        "shadows": shadows,
        "manifests": manifests(folder),
        "membership": {
            kind: _membership(units, of, signals, inside, target if _comparable(task, kind) else None)
            for kind, of in (("interactions", ~units.of_users), ("users", units.of_users))
            if of.any()
        },
        "attributes": _attributes(task, shipped),
        "rare_rows": {"k": min_users, "tables": _rare_rows(task, folder, shipped, min_users, run.config.seed)},
        "notes": _notes(task),
    }
    write_sealed(place / "audit.json", found)
    return found


def stored_audit(folder: Path) -> dict[str, Any] | None:
    """What was found by an audit of the very artifacts that lie in a task's folder; None where there is none."""
    found = read_sealed(folder / "audit" / "audit.json")
    if found is None or found.get("manifests") != manifests(folder):
        return None
    return {key: value for key, value in found.items() if key != "sha256"}


# Shadow models


def _stage(run: Run, name: str, i: int, rows: int, users: int) -> Stage:
    config = run.config.tasks[name]
    key = digest("shadow", i, rows, users, run.key(name, "train"), config.recipes[config.ship].to_json())
    return Stage(f"shadow-{i:02}", run.folder / name / "audit", key)


def _train(run: Run, name: str, open_: list[int], rows: int, users: int, workers: int) -> None:
    """Those that are not there yet, one by one or side by side; each is kept as soon as it is done."""
    if workers < 2:
        if not open_:
            return
        subject = subject_of(run.task(name), rows, users, run.config.seed)
        for i in open_:
            _shadow(run, name, i, rows, users, subject)
        return
    with spawned(workers) as pool:
        jobs = {pool.submit(_alone, run.config, run.folder.parent, name, i, rows, users): i for i in open_}
        for job in as_completed(jobs):
            run.say(name, f"audit: shadow model {jobs[job] + 1}: done in {job.result():.0f} s")


_prepared: dict[str, tuple[Run, Subject]] = {}  # a process works for one audit: it reads the data once


def _alone(config: RunConfig, runs: Path, name: str, i: int, rows: int, users: int) -> float:
    if name not in _prepared:
        run = Run(config, runs)
        _prepared[name] = run, subject_of(run.task(name), rows, users, config.seed)
    run, subject = _prepared[name]
    return _shadow(run, name, i, rows, users, subject)


def _shadow(run: Run, name: str, i: int, rows: int, users: int, subject: Subject) -> float:
    """One shadow model: its signals, before and after the recipe, and who was inside; the model itself is not kept."""
    stage = _stage(run, name, i, rows, users)
    scratch = stage.folder / f"work-{i:02}"

    def say(line: str) -> None:
        run.say(name, f"audit: shadow model {i + 1}: {line}")

    def work() -> tuple[dict[str, Any], list[str]]:
        seed = run.config.seed + 1000 + i
        inside = np.random.default_rng(seed).random(len(subject.units.user)) < 0.5
        asked = shadow(subject, inside, seed, scratch, SIDES, say)
        write_arrays(stage.folder / f"{stage.name}.npz", {"inside": inside, **asked})
        return {"seed": seed}, [f"{stage.name}.npz"]

    stage.run(work)
    say(f"done in {stage.seconds:.0f} s")
    return stage.seconds


def _load(place: Path, stages: list[Stage]) -> tuple[Array, Array]:
    """Signals (models, units, sides) and who was inside (models, units)."""
    signals, inside = [], []
    for stage in stages:
        with np.load(place / f"{stage.name}.npz") as stored:
            signals.append(np.stack([stored[side] for side in SIDES], axis=1))
            inside.append(stored["inside"])
    return np.stack(signals), np.stack(inside)


# Membership


def _membership(units: Units, of: Array, signals: Array, inside: Array, target: Array | None) -> dict[str, Any]:
    """Every attack on every model: each shadow model in turn, and the shipped ones where members and others compare."""
    signals, inside, users = signals[:, of], inside[:, of], units.user[of]
    known = {"original": signals[..., :1], "compressed": signals[..., 1:], "both": signals}
    games = {
        attack: leakage(
            inside,
            np.tile(users, len(inside)),
            {m: play(x, inside, attack) for m, x in known.items() if m != "both" or attack == "ratio"},
        )
        for attack in ATTACKS
    }
    found: dict[str, Any] = {
        "units": int(of.sum()),
        "attacks": {attack: _plain(of_attack) for attack, of_attack in games.items()},
    }
    if target is not None:
        x = target[of]
        sides = {"original": x[:, :1], "compressed": x[:, 1:], "both": x}
        ways = {
            "loss": {m: v[:, 0] for m, v in sides.items() if m != "both"},
            "offline": {m: absence(v, known[m], inside) for m, v in sides.items() if m != "both"},
            "ratio": {m: likelihood_ratio(v, known[m], inside) for m, v in sides.items()},
        }
        trained = units.trained[of]
        found["shipped"] = {attack: _plain(leakage(trained, users, scores)) for attack, scores in ways.items()}
    return found


def _plain(given: dict[str, dict[str, dict[str, Interval]]]) -> dict[str, Any]:
    return {
        part: {model: {m: i.to_json() for m, i in measures.items()} for model, measures in of.items()}
        for part, of in given.items()
    }


def _comparable(task: Any, kind: str) -> bool:
    """Whether training and test differ by nothing but chance. Users of the shipped models were all in training."""
    return kind == "interactions" and not getattr(task.data, "timed", False)


def _notes(task: Any) -> list[str]:
    found = [
        "Of users the shipped models themselves cannot be attacked: all users with a history were in their training."
    ]
    if getattr(task.data, "timed", False):
        found.append(
            "Nor of interactions: the test is later than the training, and what an attack finds might be the time."
        )
    return found


# Attributes and rare rows


def _attributes(task: Any, shipped: dict[str, Artifact]) -> dict[str, Any]:
    """Age group, country and other attributes of few values guessed from the rows of the users, where a model has such."""
    log = task.load()
    tables = {side: a.weights.tables("user") if "user" in a.vocabularies else [] for side, a in shipped.items()}
    if not tables["original"]:
        return {}
    known = log.users.filter(pl.col("user").is_in(log.interactions["user"].unique().implode()))
    ids = known["user"].cast(pl.String).to_numpy().astype(object)
    has = shipped["original"].vocabularies["user"].lookup(ids) < len(shipped["original"].vocabularies["user"])
    found = {}
    ages = [name for name in ("age",) if name in known.columns and known.schema[name].is_numeric()]
    for name in (*ages, *groups_of(known)):
        labels = _groups(name, known[name])
        rows = np.flatnonzero(has & (labels != ""))
        rows = np.random.default_rng(0).permutation(rows)[:_GUESSED]
        if len(rows) < 20 or len(np.unique(labels[rows])) < 2:
            continue
        values = {side: _user_rows(shipped[side], names, ids[rows]) for side, names in tables.items() if names}
        found[name] = infer(values, labels[rows]).to_json()
    return found


def _groups(name: str, values: pl.Series) -> Array:
    """Age groups, or the ten largest groups; "" where unknown or smaller."""
    if values.dtype.is_numeric():
        labels = np.full(len(values), "", dtype=object)
        for part in by_age(values.cast(pl.Float64).fill_null(np.nan).to_numpy()):
            if part.name != "age:unknown":
                labels[part.mask] = part.name
        return labels
    text = values.cast(pl.String).fill_null("")
    largest = text.filter(text != "").value_counts(sort=True).head(10)[text.name].to_list()
    return np.where(text.is_in(largest).to_numpy(), text.to_numpy(), "")


def _user_rows(artifact: Artifact, names: list[str], ids: Array) -> Array:
    rows = artifact.vocabularies["user"].lookup(ids)
    return np.concatenate([artifact.weights[name].value.take(rows) for name in names], axis=1)


def _rare_rows(task: Any, folder: Path, shipped: dict[str, Artifact], k: int, seed: int) -> list[dict[str, Any]]:
    """For each table of ids: rows of their own, and those of them that rest on fewer than k users, before and after."""
    model = task.model(folder)
    adapter = adapter_for(model)
    snapshot, context = adapter.read(model), adapter.context(model, task.data, seed, lambda line: None)
    found = []
    for axis, ids in snapshot.ids.items():
        if axis not in context.users:
            continue
        users = np.asarray(context.users[axis])[: len(ids)]
        for name in snapshot.weights.tables(axis):
            line: dict[str, Any] = {"table": name}
            for side, artifact in shipped.items():
                own = np.zeros(0, dtype=np.int64)
                if name in artifact.weights and axis in artifact.vocabularies:
                    rows = artifact.vocabularies[axis].lookup(ids.astype(object))
                    mask = artifact.weights[name].value.mask()
                    kept = np.flatnonzero((rows < len(mask) - 1) & mask[np.minimum(rows, len(mask) - 1)])
                    # Where hashed ids take an unknown id for a known one, the row is that of the one with more users.
                    most = np.zeros(len(mask), dtype=np.int64)
                    np.maximum.at(most, rows[kept], users[kept])
                    own = most[most > 0]
                line[side] = {"rows": len(own), "rare": int((own < k).sum())}
            found.append(line)
    return found
