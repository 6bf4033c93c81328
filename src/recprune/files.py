"""Atomic writes: either the whole new content is there, or the old one is, whenever the process or the machine stops."""

from __future__ import annotations

import ctypes
import glob
import hashlib
import io
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.errors import RecpruneError

__all__ = [
    "intact",
    "new_directory",
    "read_sealed",
    "remove_directory",
    "sealed",
    "write_arrays",
    "write_bytes",
    "write_sealed",
]

_PARTIAL = ".partial"
_STALE = 3600  # seconds after which what a killed process left half written is removed


def write_bytes(path: Path, content: bytes, scratch: Path | None = None) -> None:
    """Write a file by way of a temporary one, synced before it takes the name.

    `scratch`: the folder of the temporary file, where a kill leaves it, on the same disk; default: that of the file. Raises
    RecpruneError, with what was there before left as it is, where it cannot be written.
    """
    path = Path(path)
    try:
        _prepare(path)
        handle, name = tempfile.mkstemp(dir=scratch or path.parent, prefix=f".{path.name}.", suffix=_PARTIAL)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        _sync(path.parent)
    except OSError as error:
        raise RecpruneError(f"cannot write {path}: {error.strerror or error}") from error


def write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write arrays by their names as npz. Raises RecpruneError as `write_bytes`."""
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]
    write_bytes(path, content.getvalue())


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """JSON with its own SHA-256 under the key `sha256`, by which damage is seen.

    >>> intact(sealed({"a": 1})), intact(sealed({"a": 1}) | {"a": 2})
    (True, False)
    """
    content: dict[str, Any] = json.loads(json.dumps(value, allow_nan=False))
    content.pop("sha256", None)
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return content | {"sha256": hashlib.sha256(text.encode()).hexdigest()}


def intact(value: Mapping[str, Any]) -> bool:
    """Whether this is what `sealed` gave."""
    return "sha256" in value and sealed(value)["sha256"] == value["sha256"]


def write_sealed(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON with its seal. Raises RecpruneError as `write_bytes`."""
    write_bytes(path, json.dumps(sealed(value)).encode())


def read_sealed(path: Path) -> dict[str, Any] | None:
    """What `write_sealed` wrote; None where there is no such file, or a damaged one."""
    try:
        found = json.loads(path.read_bytes())
        return found if isinstance(found, dict) and intact(found) else None
    except (OSError, ValueError, RecursionError):
        return None


@contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """Fill a temporary directory beside `path` with files; on success it takes the name, and an older one goes.

    Raises RecpruneError, with the older one left as it is, where it cannot be written.
    """
    path = Path(path)
    try:
        _prepare(path)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=_PARTIAL))
        try:
            yield temporary
            for file in temporary.iterdir():
                _sync(file)
            os.chmod(temporary, 0o755)
            _sync(temporary)
            if path.exists():
                _exchange(temporary, path)
            else:
                os.replace(temporary, path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        _sync(path.parent)
        shutil.rmtree(temporary, ignore_errors=True)  # the older one
    except OSError as error:
        raise RecpruneError(f"cannot write {path}: {error.strerror or error}") from error


def remove_directory(path: Path) -> None:
    """Remove a directory, where there is one: it loses its name first, so that a kill leaves no half of it under that.

    Raises RecpruneError where it cannot be removed.
    """
    path = Path(path)
    try:
        _prepare(path)
        if path.is_dir():
            temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=_PARTIAL))
            os.replace(path, temporary / "gone")
            shutil.rmtree(temporary)
    except OSError as error:
        raise RecpruneError(f"cannot remove {path}: {error.strerror or error}") from error


def _exchange(one: Path, other: Path) -> None:
    """Let two directories change names: at once where the system can, else by way of a third name."""
    if sys.platform == "linux":
        rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
        here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
        if rename is not None and rename(here, os.fsencode(one), here, os.fsencode(other), swap) == 0:
            return
    third = one.with_name(one.name + ".old")
    os.replace(other, third)
    try:
        os.replace(one, other)
    except OSError:
        os.replace(third, other)
        raise
    os.replace(third, one)


def _prepare(path: Path) -> None:
    """Make the folder, and remove from it what a killed process left of this file long ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*{_PARTIAL}"):
        with suppress(OSError):
            if left.lstat().st_mtime < time.time() - _STALE:
                shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()


def _sync(path: Path) -> None:
    """Have a file, or the names in a directory, on the disk; not every system can do it for directories."""
    with suppress(OSError) if path.is_dir() else nullcontext():
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
