"""Stages that are done once: their results are kept with a key of everything that went into them."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from recprune.artifact.write import SIGNATURE
from recprune.errors import RecpruneError
from recprune.files import read_sealed, write_sealed

__all__ = ["Stage", "digest"]


def digest(*parts: Any) -> str:
    """A short SHA-256 of JSON values, independent of the order of keys."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass
class Stage:
    """One stage of a task. Its result is a JSON file beside whatever files the work wrote.

    The result is written last, and atomically: a stage that was killed is simply not there, and is done again. So is one
    whose files are not the ones that it wrote: damaged, or written by a later stage that was killed.
    """

    name: str
    folder: Path
    key: str
    seconds: float = 0.0
    cached: bool = False

    @property
    def path(self) -> Path:
        """Where the result lies."""
        return self.folder / f"{self.name}.json"

    def result(self) -> dict[str, Any] | None:
        """What the stage found, where it is done and its inputs are the same."""
        stored = self._stored()
        return None if stored is None else stored["result"]

    @property
    def written(self) -> list[str]:
        """Names of the files that the work wrote, whether or not they are still what it wrote."""
        return list((self._sealed() or {"files": ()})["files"])

    def _sealed(self) -> dict[str, Any] | None:
        stored = read_sealed(self.path)
        # In a format from before the files were a list.
        if stored is None or stored.get("key") != self.key or not isinstance(stored.get("files"), dict):
            return None
        return stored

    def _stored(self) -> dict[str, Any] | None:
        stored = self._sealed()
        try:
            if stored is None or any(_content(self.folder / name) != of for name, of in stored["files"].items()):
                return None
        except OSError:  # a file is gone
            return None
        self.seconds = stored["seconds"]
        return stored

    def run(self, work: Callable[[], tuple[dict[str, Any], list[str]]]) -> dict[str, Any]:
        """The result, from the cache or by `work`, which gives it and the names of the files that it wrote."""
        found = self.result()
        if found is not None:
            self.cached = True
            return found
        start = time.perf_counter()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            result, names = work()
            files = {name: _content(self.folder / name) for name in names}
        except OSError as error:
            raise RecpruneError(
                f"{self.name} stopped: {error.filename or self.folder}: {error.strerror or error}"
            ) from error
        self.seconds = time.perf_counter() - start
        stored = {"key": self.key, "seconds": self.seconds, "files": files, "result": result}
        write_sealed(self.path, stored)
        return result


def _content(path: Path) -> str:
    """SHA-256 of a file, or of the files of an artifact but for its signature, which may come later."""
    if not path.is_dir():
        about = path.stat()
        return _hashed(path, (about.st_mtime_ns, about.st_size, about.st_ino))
    inside = sorted(file for file in path.iterdir() if file.name != SIGNATURE)
    return hashlib.sha256("".join(f"{file.name} {_content(file)} " for file in inside).encode()).hexdigest()


@cache
def _hashed(path: Path, stamp: tuple[int, ...]) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
