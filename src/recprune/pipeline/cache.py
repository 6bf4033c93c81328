"""Stages that are done once: their results are kept with a key of everything that went into them."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recprune.artifact.files import write_bytes
from recprune.errors import RecpruneError

__all__ = ["Stage", "digest"]


def digest(*parts: Any) -> str:
    """A short SHA-256 of JSON values, independent of the order of keys."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass
class Stage:
    """One stage of a task. Its result is a JSON file beside whatever files the work wrote.

    The result is written last, and atomically: a stage that was killed is simply not there, and is done again.
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
        try:
            stored = json.loads(self.path.read_text(encoding="utf-8"))
            if stored["key"] != self.key or any(not (self.folder / name).exists() for name in stored["files"]):
                return None
            self.seconds = float(stored["seconds"])
            found: dict[str, Any] = stored["result"]
            return found
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @property
    def files(self) -> list[str]:
        """Names of the files that the work wrote; none where it is not done."""
        return [] if self.result() is None else list(json.loads(self.path.read_text(encoding="utf-8"))["files"])

    def run(self, work: Callable[[], tuple[dict[str, Any], list[str]]]) -> dict[str, Any]:
        """The result, from the cache or by `work`, which gives it and the names of the files that it wrote."""
        found = self.result()
        if found is not None:
            self.cached = True
            return found
        start = time.perf_counter()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            result, files = work()
        except OSError as error:
            raise RecpruneError(
                f"{self.name} stopped: {error.filename or self.folder}: {error.strerror or error}"
            ) from error
        self.seconds = time.perf_counter() - start
        stored = {"key": self.key, "seconds": self.seconds, "files": files, "result": result}
        write_bytes(self.path, json.dumps(stored, allow_nan=False).encode())
        return result
