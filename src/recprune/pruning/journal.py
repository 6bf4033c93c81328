"""The file behind a search: lines with checksums, appended by processes that may be killed at any moment."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend

from recprune.errors import RecpruneError

__all__ = ["Journal"]

_SUM = 8  # letters of SHA-256 before each line


class Journal(BaseJournalBackend):
    """What Optuna logs. A last line that a kill cut short does not count, and is cut off before the next is written.

    Optuna's own file has neither checksums nor locks that end with their process.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offsets = [0]  # where each line begins

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """What was logged from that number on. Raises RecpruneError that names the first damaged line."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offsets[log_number_from])
                content = file.read()
        except FileNotFoundError:
            return
        number = log_number_from
        for line in content.split(b"\n")[:-1]:
            if line[:_SUM] != _sum(line[_SUM:]):
                raise RecpruneError(
                    f"{self._path} is damaged at line {number + 1}; nothing was changed; what stands before the damage is "
                    "whole, move the file away to search anew"
                )
            number += 1
            if number == len(self._offsets):
                self._offsets.append(self._offsets[-1] + len(line) + 1)
            yield json.loads(line[_SUM:])

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Log more, all of it or nothing. Raises RecpruneError where it cannot be written."""
        lines = [json.dumps(log, separators=(",", ":")).encode() for log in logs]
        content = b"".join(_sum(line) + line + b"\n" for line in lines)
        try:
            # Unbuffered: what a full disk refused must not be written after all when the file is closed.
            with self._path.open("a+b", buffering=0) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                start = _whole(file.fileno())
                os.ftruncate(file.fileno(), start)
                try:
                    while content:
                        content = content[file.write(content) :]
                    os.fsync(file.fileno())
                except OSError:
                    os.ftruncate(file.fileno(), start)
                    raise
        except OSError as error:
            raise RecpruneError(f"cannot write {self._path}: {error.strerror or error}") from error


def _sum(line: bytes) -> bytes:
    return hashlib.sha256(line).hexdigest()[:_SUM].encode()


def _whole(handle: int) -> int:
    """Where the last whole line of a file ends."""
    stop = os.fstat(handle).st_size
    while stop:
        start = max(0, stop - 65_536)
        found = os.pread(handle, stop - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        stop = start
    return 0
