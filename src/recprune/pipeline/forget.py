"""Forget users: they leave the log and every model of a run, and it is shown that the models no longer tell them apart.

All work is done beside the run, in `.forgetting/`, until everything is there. Then the list of who is forgotten is written,
from where on nothing that was made with them counts as done, and what was made without them takes its places.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from recprune.artifact.write import SIGNATURE
from recprune.data import Forgotten
from recprune.errors import RecpruneError
from recprune.evaluation import told_apart
from recprune.files import write_bytes
from recprune.pipeline.cache import Stage, digest
from recprune.pipeline.logs import drop_cached, user_files
from recprune.pipeline.run import FORGOTTEN, STAGES, Run
from recprune.pipeline.subjects import manifests
from recprune.pipeline.witnesses import evidence

__all__ = ["EVIDENCE", "forget", "stored_evidence"]

EVIDENCE = "forgetting.json"
"""What was shown when users were forgotten, in a task's folder."""
_PLACE, _GONE = ".forgetting", "gone.json"
_OURS = ("data.json", "summary.json", "report.html")


def forget(run: Run, users: Sequence[str], *, models: int = 4, key: str | Path = "") -> dict[str, Any]:
    """Forget users: stages of the run that are there are replaced by others that never saw them. Goes on after a kill.

    `models`: how many are trained to compare with, from scratch without the users (0: nothing is compared). `key`: signs
    artifacts, in place of the one that the configuration names.

    Gives `forgotten` (how many, now), `tasks` (name to `how`, and `evidence` where there is some), `removed` (what was there
    and was not made again), `kept` (what in the folder is none of the run's) and `files` (the log's own, which still have
    the users). Raises RecpruneError for a user who is not in the log, and where artifacts are signed and there is no key.
    """
    if models and models < 4:
        raise RecpruneError(f"a comparison needs 4 models or more, got {models}; 0 compares nothing")
    place = run.folder / _PLACE
    if _list(place, run).digest == run.forgotten.digest and run.forgotten:
        found = _commit(run, place)  # it was killed when all was done but for this
        run = Run(run.config, run.folder.parent, run.say)
        if all(user in run.forgotten for user in users):
            return found
    fresh = list(dict.fromkeys(user for user in users if user not in run.forgotten))
    if not fresh:
        shutil.rmtree(place, ignore_errors=True)
        return {"forgotten": 0, "tasks": {}, "removed": [], "kept": [], "files": []}
    _check(run, fresh, key)
    _open(run, place, fresh)
    new = Run(replace(run.config, sign=str(Path(key).resolve()) if key else run.config.sign), place, run.say)
    tasks = {}
    for name in run.config.tasks:
        if (run.folder / name / "train.json").exists():
            tasks[name] = _again(run, new, name, fresh, models, place)
    if (run.folder / "summary.json").exists():
        new.summary()
    _prepare(run, new, place, {"forgotten": len(fresh), "tasks": tasks})
    return _commit(run, place)


def stored_evidence(folder: Path) -> dict[str, Any] | None:
    """What was shown of the very artifacts that lie in a task's folder when users were forgotten; None where nothing was."""
    try:
        found: dict[str, Any] = json.loads((folder / EVIDENCE).read_text(encoding="utf-8"))
        return found if found["manifests"] == manifests(folder, found["manifests"]) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


# Beside the run


def _list(place: Path, run: Run) -> Forgotten:
    return Forgotten.read(place / run.config.name / FORGOTTEN)


def _check(run: Run, users: Sequence[str], key: str | Path) -> None:
    log = run.log()
    known = set(pl.concat([log.interactions["user"], log.users["user"]]).cast(pl.String).to_list())
    for user in users:
        if user not in known:
            raise RecpruneError(
                f"user {user!r} is not in the log {log.name}; forget users before they are deleted there"
            )
    signed = next((path for name in run.config.tasks for path in (run.folder / name).rglob(SIGNATURE)), None)
    if signed and not (key or run.config.sign):
        raise RecpruneError(
            f"{signed.parent} is signed, and the configuration names no key for its successor: give one"
        )


def _open(run: Run, place: Path, users: Sequence[str]) -> None:
    """A folder to work in: that of the same users, where they were begun to be forgotten, else a new one."""
    begun = _list(place, run)
    same = not run.forgotten or begun.salt == run.forgotten.salt
    if not begun or not same or begun != replace(begun, hashes=run.forgotten.hashes).adding(users):
        shutil.rmtree(place, ignore_errors=True)
        write_bytes(place / run.config.name / FORGOTTEN, run.forgotten.adding(users).content)


def _again(run: Run, new: Run, name: str, users: Sequence[str], models: int, place: Path) -> dict[str, Any]:
    """The stages of a task that are there, without the users: repaired, and from scratch where that is not enough."""
    old, same = run.task(name), run.done(name, "train")
    folder, beside = run.folder / name, place / "witnesses" / name
    there = [stage for stage in STAGES if (folder / f"{stage}.json").exists()]
    sides = ["original", *(["compressed"] if run.done(name, "compress") else [])]
    failed = Stage("repair", beside, digest(new.key(name, "train"), models))  # what a repair gave that was not enough

    def made(repair: bool) -> dict[str, Any]:
        how = (lambda task, to, say: task.repair(lambda: old.model(folder), to, say)) if repair else None
        trained = new.stage(name, "train", how)
        if "compress" in there:
            new.stage(name, "compress")
        return trained

    def shown() -> dict[str, Any]:
        return evidence(run, new, name, users, sides, models=models, place=beside)

    # Another version, or another configuration: there is nothing to repair.
    trained = made(repair=same and failed.result() is None)
    found: dict[str, Any] = {"how": trained.get("repaired", "trained again")}
    if models and same:
        of = shown()
        if "repaired" in trained and any(map(told_apart, of["users"])):
            failed.run(lambda: ({"users": of["users"]}, []))
            new.undo(name)
            made(repair=False)
            of = shown()
        if (before := failed.result()) is not None:
            found["how"] = "trained from scratch, a repair being not enough"
            of["repair"] = before["users"]
        found["evidence"] = {"task": name, **of, "manifests": manifests(new.folder / name, sides)}
        write_bytes(new.folder / name / EVIDENCE, json.dumps(found["evidence"], allow_nan=False).encode())
    for stage in there:
        new.stage(name, stage)
    return found


def _prepare(run: Run, new: Run, place: Path, found: dict[str, Any]) -> None:
    """Write down what is to go and what is to be said, before anything of the run is touched."""
    entries = [path for path in run.folder.iterdir() if path.name not in (_PLACE, FORGOTTEN)]
    ours = [path.name for path in entries if _is_ours(path, run)]
    gone = [name for name in ours if not (new.folder / name).exists()]
    removed = [name for name in gone if name not in _OURS and not name.startswith(".")]
    for part in ("search", "audit"):
        removed += [f"{name}/{part}" for name in found["tasks"] if (run.folder / name / part).exists()]
    kept = [path.name for path in entries if path.name not in ours]
    said = {**found, "removed": sorted(removed), "kept": sorted(kept), "files": _files(run)}
    write_bytes(place / _GONE, json.dumps({"gone": gone, "found": said}, allow_nan=False).encode())


def _is_ours(path: Path, run: Run) -> bool:
    """What stages write, or were writing when they were killed."""
    if path.name in (*_OURS, *run.config.tasks) or path.name.startswith(tuple(f".{name}." for name in _OURS)):
        return True
    marks = (*(f"{stage}.json" for stage in STAGES), "training.pt", "original", "artifact", "search", "audit")
    return path.is_dir() and any((path / mark).exists() for mark in marks)


def _files(run: Run) -> list[str]:
    return [str(path) for path in user_files(run.config.data, run.config.folder) if path.exists()]


# Into its place


def _commit(run: Run, place: Path) -> dict[str, Any]:
    """Each step may be the last one before a kill: the next call does the others."""
    new, old = place / run.config.name, place / "old"
    written: dict[str, Any] = json.loads((place / _GONE).read_text(encoding="utf-8"))
    write_bytes(run.folder / FORGOTTEN, (new / FORGOTTEN).read_bytes())
    for path in sorted(new.iterdir()):
        if path.name != FORGOTTEN:
            _aside(run.folder / path.name, old)
            os.replace(path, run.folder / path.name)
    for name in written["gone"]:
        _aside(run.folder / name, old)
    drop_cached(run.config.data, _list(place, run))
    (new / FORGOTTEN).unlink()  # nothing is left to do but to clear away
    shutil.rmtree(place)
    found: dict[str, Any] = written["found"]
    return found


def _aside(path: Path, old: Path) -> None:
    if path.exists():
        old.mkdir(exist_ok=True)
        os.replace(path, Path(tempfile.mkdtemp(dir=old)) / path.name)
