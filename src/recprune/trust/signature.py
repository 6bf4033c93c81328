"""What an artifact's signature names, and what lies in its directory: looked at before any file is opened."""

from __future__ import annotations

import base64
import re
from pathlib import Path

from recprune.artifact.read import parse_json
from recprune.artifact.write import MANIFEST, SIGNATURE
from recprune.errors import RecpruneError

__all__ = ["plain_files", "read_limited", "same_names", "signed_files"]

_LIMIT = 1 << 20  # bytes of a signature
_NAME = re.compile(r"[^/\\:\x00-\x1f\x7f]{1,255}")


def signed_files(content: bytes, file: Path) -> dict[str, str]:
    """Names and SHA-256 that a signature covers; refused where it names anything but plain files of one directory."""
    try:
        envelope = parse_json(content, file)["dsseEnvelope"]
        statement = parse_json(base64.b64decode(envelope["payload"], validate=True), file)
        predicate = statement["predicate"]
        how, entries = predicate["serialization"], predicate["resources"]
        names = [str(entry["name"]) for entry in entries]
        for name in names:
            if _NAME.fullmatch(name) is None or name in (".", "..", SIGNATURE):
                raise RecpruneError(f"{file} names {name!r}, which is no file of an artifact; nothing was read")
        if len(set(names)) < len(names):
            raise RecpruneError(f"{file} names a file twice")
        if statement["predicateType"] != "https://model_signing/signature/v1.0":
            raise RecpruneError(f"{file} states something else: {statement['predicateType']!r}")
        # Signed exceptions would be files that anyone may add or change.
        ignored = set(how.get("ignore_paths", [])) - {SIGNATURE}
        if ignored or (how["method"], how["hash_type"], how["allow_symlinks"]) != ("files", "sha256", False):
            raise RecpruneError(f"{file} does not cover every file by its SHA-256")
        signed = {name: str(entry["digest"]) for name, entry in zip(names, entries, strict=True)}
    except RecpruneError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise RecpruneError(f"{file} is no signature of an artifact: {error!r}") from error
    if MANIFEST not in signed:
        raise RecpruneError(f"{file} does not cover {MANIFEST}")
    return signed


def plain_files(path: Path) -> set[str]:
    """Names in a directory of plain files; what is anything else is refused, unopened."""
    if not path.is_dir():
        raise RecpruneError(f"{path} is no artifact: it is no directory")
    try:
        found = list(path.iterdir())
    except OSError as error:
        raise RecpruneError(f"cannot read {path}: {error.strerror or error}") from error
    for file in found:
        if file.is_symlink():
            raise RecpruneError(f"{path}: {file.name!r} is a symbolic link; an artifact has plain files only")
        if not file.is_file():
            raise RecpruneError(f"{path}: {file.name!r} is no plain file; an artifact has plain files only")
    return {file.name for file in found}


def read_limited(file: Path, limit: int = _LIMIT) -> bytes:
    """A file of at most so many bytes. Raises RecpruneError for a larger one."""
    try:
        with file.open("rb") as opened:
            content = opened.read(limit + 1)
    except OSError as error:
        raise RecpruneError(f"cannot read {file}: {error.strerror or error}") from error
    if len(content) > limit:
        raise RecpruneError(f"{file} is larger than {limit} bytes")
    return content


def same_names(path: Path, there: set[str], signed: set[str]) -> None:
    """Raise RecpruneError naming a file that was added, removed or renamed since it was signed."""
    added, removed = sorted(there - signed), sorted(signed - there)
    if added and removed:
        raise RecpruneError(f"{path}: {removed[0]!r} is missing and {added[0]!r} is there instead: renamed?")
    if added:
        raise RecpruneError(f"{path}: {added[0]!r} was added: the signature does not cover it")
    if removed:
        raise RecpruneError(f"{path}: {removed[0]!r} is missing: the signature covers it")
