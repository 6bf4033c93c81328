"""Read an artifact's directory, trusting nothing in it."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load

from recprune.artifact.artifact import FORMAT, Artifact
from recprune.artifact.write import FILES, JSON_LIMIT, MANIFEST, to_json
from recprune.errors import RecpruneError
from recprune.graph import Graph
from recprune.vocabulary import vocabulary_from
from recprune.weights import Param, Weights, encoding_from

__all__ = ["parse_json", "read"]

_REQUIRED = ("weights.safetensors", "vocabularies.safetensors", "recipe.json")


def read(path: str | Path, digest: str | None = None) -> Artifact:
    """Read and validate: every file against its digest, every array against its shape, every number finite.

    `digest`: the SHA-256 that `manifest.json` must have, and through it every file: that of a verified signature.

    Raises RecpruneError naming the file for a directory that is no artifact, a newer format, a file that is missing, cut
    short, changed or larger than the machine's memory, an array that does not fit, and NaN.
    """
    path = Path(path)
    file = path / MANIFEST
    try:
        return _read(path, *_manifest(file, digest))
    except RecpruneError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, MemoryError, RecursionError) as error:
        raise RecpruneError(f"{file} is malformed: {error!r}") from error
    except OSError as error:
        raise RecpruneError(f"cannot read {path}: {error.strerror or error}") from error


def _manifest(file: Path, expected: str | None) -> tuple[dict[str, Any], str]:
    if not file.is_file() or file.is_symlink():
        raise RecpruneError(f"{file.parent} is no artifact: it has no manifest.json")
    _small_enough(file, file.stat().st_size)
    content = file.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if expected is not None and found != expected:
        raise RecpruneError(f"{file} is not the file that was signed: its SHA-256 differs")
    manifest = parse_json(content, file)
    if not isinstance(manifest, dict) or type(manifest.get("format")) is not int or manifest["format"] < 1:
        raise RecpruneError(f"{file} has no format number")
    if manifest["format"] > FORMAT:
        raise RecpruneError(
            f"{file.parent} has format {manifest['format']}; this recprune reads up to {FORMAT}: upgrade it"
        )
    digest = manifest.pop("sha256", None)
    if hashlib.sha256(to_json(manifest, "the manifest")).hexdigest() != digest:
        raise RecpruneError(f"{file} is not the file that was written: its SHA-256 differs from the one it holds")
    return manifest, found


def _read(path: Path, manifest: dict[str, Any], digest: str) -> Artifact:
    files = {name: _checked(path / name, entry) for name, entry in manifest["files"].items() if _named(name, path)}
    for name in _REQUIRED:
        if name not in files:
            raise RecpruneError(f"{path}/manifest.json does not list {name}")
    arrays = _tensors(files["weights.safetensors"], path / "weights.safetensors")
    params = {name: _param(name, spec, arrays, path) for name, spec in manifest["params"].items()}
    stored = _tensors(files["vocabularies.safetensors"], path / "vocabularies.safetensors")
    vocabularies = {}
    for name, spec in manifest["vocabularies"].items():
        try:
            vocabularies[name] = vocabulary_from(spec, _under(stored, name))
        except RecpruneError as error:
            raise RecpruneError(f"{path}/vocabularies.safetensors: vocabulary {name!r}: {error}") from error
    graph = Graph.from_json(parse_json(files["graph.json"], path / "graph.json")) if "graph.json" in files else None
    recipe, metadata = parse_json(files["recipe.json"], path / "recipe.json"), manifest["metadata"]
    if not isinstance(recipe, dict) or not isinstance(metadata, dict):
        raise RecpruneError(f"{path}: the recipe and the metadata must be JSON objects")
    return Artifact(Weights(params, manifest["sizes"]), graph, vocabularies, recipe, metadata, digest)


def _named(name: str, path: Path) -> bool:
    if name not in FILES - {MANIFEST}:
        raise RecpruneError(f"{path}/manifest.json names {name!r}; an artifact's files are: {', '.join(sorted(FILES))}")
    return True


def _checked(file: Path, entry: Mapping[str, Any]) -> bytes:
    if not file.is_file() or file.is_symlink():
        raise RecpruneError(f"{file} is missing")
    _small_enough(file, file.stat().st_size)
    if file.stat().st_size != entry["bytes"]:
        raise RecpruneError(
            f"{file} has {file.stat().st_size} bytes where the manifest says {entry['bytes']}: cut short?"
        )
    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise RecpruneError(f"{file} is not the file that was written: its SHA-256 differs from the manifest's")
    return content


def _small_enough(file: Path, size: int) -> None:
    """Before anything is allocated: a file may claim any size at no cost (a hole), and JSON grows when it is parsed."""
    limit = JSON_LIMIT if file.suffix == ".json" else _memory()
    if size > limit:
        raise RecpruneError(f"{file} is larger than {limit} bytes")


def _memory() -> int:
    """Bytes of the machine's memory; no limit where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 1 << 62


def parse_json(content: bytes, file: Path) -> Any:
    """Strict JSON: no key twice, no NaN; what is too deep or not valid is a RecpruneError that names the file."""
    try:
        return json.loads(content, object_pairs_hook=lambda pairs: _unique(pairs, file), parse_constant=_no_constant)
    except RecpruneError:
        raise
    except (ValueError, RecursionError) as error:
        raise RecpruneError(f"{file} is not valid JSON: {error}") from error


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _unique(pairs: list[tuple[str, Any]], file: Path) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise RecpruneError(f"{file} has the key {twice!r} twice")
    return found


def _tensors(content: bytes, file: Path) -> dict[str, npt.NDArray[Any]]:
    if len(content) < 8:
        raise RecpruneError(f"{file} is cut short: {len(content)} bytes")
    (length,) = struct.unpack("<Q", content[:8])
    if length > len(content) - 8:
        raise RecpruneError(f"{file} is cut short: its header of {length} bytes does not fit")
    if length > JSON_LIMIT:
        raise RecpruneError(f"{file} has a header larger than {JSON_LIMIT} bytes")
    parse_json(content[8 : 8 + length], file)
    try:
        return load(content)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecpruneError(f"{file} is malformed: {error}") from error


def _under(arrays: Mapping[str, npt.NDArray[Any]], name: str) -> dict[str, npt.NDArray[Any]]:
    return {key[len(name) + 1 :]: array for key, array in arrays.items() if key.startswith(name + "/")}


def _param(name: str, spec: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]], path: Path) -> Param:
    try:
        value = encoding_from(spec, _under(arrays, name))
        axes, protected = tuple(spec["axes"]), tuple(spec.get("protected", ()))
        flags = [("trained", True), ("has_unknown", True), ("unknown_is_zero", False)]
        return Param(axes, value, protected, *(bool(spec.get(name, usual)) for name, usual in flags))
    except RecpruneError as error:
        raise RecpruneError(f"{path}/weights.safetensors: parameter {name!r}: {error}") from error
