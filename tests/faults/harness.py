"""Commands run as a user runs them, in forked children of a warm process, with a fault at a place that is counted.

A place is a moment at which a command changes a file below its folder: it opens one for writing, syncs, renames, removes or
makes one. Places are counted by Python's audit hook, so that every one of them can be hit, one after the other.
"""

import errno
import hashlib
import json
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.faults.warm"])
_CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.truncate", "shutil.rmtree"}
_ADDS = {"open", "os.mkdir", "os.fsync"}  # what a full disk refuses
_LIMIT = 120  # seconds for one command


@dataclass(frozen=True)
class Fault:
    """What goes wrong at the place `at`, from 1: `kill`, or from there on `full` or `read-only`.

    `torn`: the file that was about to be synced is cut in half before the kill. Or `bytes`: no file grows beyond them.
    """

    kind: str
    at: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Ended:
    """How a command ended: its status (negative: a signal), what it printed, the places that it passed."""

    status: int
    said: str
    places: int

    @property
    def one_line(self):
        """Whether it ended by one line that names an error, beside lines of progress."""
        lines = [line for line in self.said.splitlines() if line.startswith("error: ")]
        return self.status == 2 and len(lines) == 1 and self.said.splitlines()[-1] == lines[0]


def command(folder, *arguments, fault=None):
    """Run a command in a folder and give how it ended; a hang or a traceback is an AssertionError."""
    place = Path(tempfile.mkdtemp())
    os.mkfifo(place / "out")  # a pipe, for a limit on the size of files holds for standard output too
    reader = os.open(place / "out", os.O_RDONLY | os.O_NONBLOCK)
    places, status = CONTEXT.Value("i", 0), CONTEXT.Value("i", -signal.SIGKILL)
    process = CONTEXT.Process(
        target=_work, args=(folder, [str(a) for a in arguments], fault, place / "out", places, status)
    )
    try:
        process.start()
        process.join(_LIMIT)
        if process.is_alive():
            process.kill()
            raise AssertionError(f"{arguments} hangs with {fault}")
        said = os.read(reader, 1 << 20).decode(errors="replace")
    finally:
        os.close(reader)
        shutil.rmtree(place)
    assert "Traceback" not in said, (arguments, fault, said)
    return Ended(status.value, said, places.value)


def _work(folder, arguments, fault, out, places, status):
    os.chdir(folder)
    handle = os.open(out, os.O_WRONLY)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    sys.argv = ["recprune", *arguments]
    from recprune.cli.main import main

    if fault is not None and fault.bytes:
        # The kernel refuses, in the middle of a write, whoever writes; or kills.
        resource.setrlimit(resource.RLIMIT_FSIZE, (fault.bytes, fault.bytes))
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL if fault.kind == "kill" else signal.SIG_IGN)
    _watch(str(folder), fault, places)
    try:
        main()
        status.value = 0
    except SystemExit as ended:
        status.value = ended.code or 0


def _watch(folder, fault, places):
    import recprune.files

    def passed(event, handle=None):
        places.value += 1
        if fault is None or fault.bytes or places.value < fault.at:
            return
        if fault.kind == "torn" and handle is not None:
            os.ftruncate(handle, os.fstat(handle).st_size // 2)
        if fault.kind in ("kill", "torn"):
            os.kill(os.getpid(), signal.SIGKILL)
        if fault.kind == "read-only" or event in _ADDS:
            code = errno.EROFS if fault.kind == "read-only" else errno.ENOSPC
            raise OSError(code, os.strerror(code), folder)

    def hook(event, given):
        if event == "open":
            if not isinstance(given[0], str | bytes | os.PathLike) or not _writes(given[2]):
                return
        elif event not in _CHANGES:
            return
        if isinstance(given[0], int) or os.path.abspath(os.fsdecode(given[0])).startswith(folder):
            passed(event)

    sync, exchange = os.fsync, recprune.files._exchange

    def counted_sync(handle):
        passed("os.fsync", handle if _writable(handle) else None)
        sync(handle)

    def counted_exchange(one, other):
        passed("os.rename")
        exchange(one, other)

    os.fsync, recprune.files._exchange = counted_sync, counted_exchange
    sys.addaudithook(hook)


def _writes(flags):
    return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))


def _writable(handle):
    import fcntl

    return bool(fcntl.fcntl(handle, fcntl.F_GETFL) & (os.O_WRONLY | os.O_RDWR))


# What a command leaves


_SKIPPED = (".html", ".held", ".log")  # pages are only written, and a journal holds times
_TIMES = {"seconds", "scoring", "us", "sha256", "stages", "notes", "report.html"}


def facts(folder):
    """What is in a folder, but for times and journals: JSON, arrays, the SHA-256 of other files. Nothing hidden counts."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_dir() or any(part.startswith(".") for part in Path(name).parts) or path.suffix in _SKIPPED:
            continue
        if path.suffix == ".json" and path.parent.name not in ("original", "artifact"):
            found[name] = _timeless(json.loads(path.read_text(encoding="utf-8")))
        elif path.suffix == ".npz":
            with np.load(path) as stored:
                found[name] = {key: hashlib.sha256(stored[key].tobytes()).hexdigest() for key in stored.files}
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _timeless(value):
    if isinstance(value, dict):
        return {key: _timeless(inner) for key, inner in value.items() if key not in _TIMES}
    return [_timeless(inner) for inner in value] if isinstance(value, list) else value


def differs(found, expected):
    """Names of what is not as expected: empty where all is."""
    return sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
