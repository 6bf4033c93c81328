"""The file behind a search: lines with checksums, appended by processes that may be killed at any moment."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend

from recprune.errors import RecpruneError
from recprune.files import write_bytes

__all__ = ["Journal"]

_SUM = 8  # letters of SHA-256 before each line: of the letters before the last line, and of this one
_FIRST = b"chained"  # stands before the first line; lines of older versions had sums of themselves alone


class Journal(BaseJournalBackend):
    """What Optuna logs. A last line that a kill cut short does not count, and is cut off before the next is written.

    Optuna's own file has neither checksums nor locks that end with their process. Each checksum covers that of the line
    before: a line that is missing or doubled is seen, beside the last ones.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places = [(0, _FIRST)]  # where each line begins, and the checksum before it

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """What was logged from that number on. Raises RecpruneError that names the first damaged line."""
        start, before = self._places[log_number_from]
        try:
            with self._path.open("rb") as file:
                file.seek(start)
                content = file.read()
        except FileNotFoundError:
            return
        number = log_number_from
        for line in content.split(b"\n")[:-1]:
            if line[:_SUM] != _sum(before, line[_SUM:]):
                raise RecpruneError(
                    f"{self._damage(number)}; nothing was changed: the same command keeps what is whole and goes on"
                )
            start, before, number = start + len(line) + 1, line[:_SUM], number + 1
            if number == len(self._places):
                self._places.append((start, before))
            yield json.loads(line[_SUM:])

    def mend(self, say: Callable[[str], None]) -> None:
        """Where a line is damaged, missing or doubled, keep the lines before it, the file as it was beside, and say so.

        Raises RecpruneError for a file of an older version, which is left as it is, and where it cannot be written.
        """
        try:
            with self._path.open("r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                content = file.read()
                number, start, before = 0, 0, _FIRST
                for line in content.split(b"\n")[:-1]:
                    if line[:_SUM] != _sum(before, line[_SUM:]):
                        break
                    start, before, number = start + len(line) + 1, line[:_SUM], number + 1
                else:
                    return
                if not number and line[:_SUM] == _sum(b"", line[_SUM:]):
                    raise RecpruneError(f"{self._path} is of an older version of recprune; move it away to search anew")
                # Named by what it holds: a kill before the cut leaves no second copy. The cut itself is whole or not done.
                name = f"{self._path.stem}.damaged-{hashlib.sha256(content).hexdigest()[:_SUM]}{self._path.suffix}"
                write_bytes(self._path.with_name(name), content)
                os.ftruncate(file.fileno(), start)
                os.fsync(file.fileno())
        except FileNotFoundError:
            return
        except OSError as error:
            raise RecpruneError(f"cannot mend {self._path}: {error.strerror or error}") from error
        say(f"{self._damage(number)}: what stands before it is kept, the file as it was is {name}")

    def _damage(self, number: int) -> str:
        return f"{self._path} is damaged at line {number + 1}, or a line is missing or doubled there"

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Log more, all of it or nothing. Raises RecpruneError where it cannot be written."""
        lines = [json.dumps(log, separators=(",", ":")).encode() for log in logs]
        try:
            # Unbuffered: what a full disk refused must not be written after all when the file is closed.
            with self._path.open("a+b", buffering=0) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                start = _line_end(file.fileno(), os.fstat(file.fileno()).st_size)
                os.ftruncate(file.fileno(), start)
                before = os.pread(file.fileno(), _SUM, _line_end(file.fileno(), start - 1)) if start else _FIRST
                content = b""
                for line in lines:
                    before = _sum(before, line)
                    content += before + line + b"\n"
                try:
                    while content:
                        content = content[file.write(content) :]
                    os.fsync(file.fileno())
                except OSError:
                    os.ftruncate(file.fileno(), start)
                    raise
        except OSError as error:
            raise RecpruneError(f"cannot write {self._path}: {error.strerror or error}") from error


def _sum(before: bytes, line: bytes) -> bytes:
    return hashlib.sha256(before + line).hexdigest()[:_SUM].encode()


def _line_end(handle: int, stop: int) -> int:
    """Where the last line of a file that ends before `stop` ends."""
    while stop:
        start = max(0, stop - 65_536)
        found = os.pread(handle, stop - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        stop = start
    return 0
