"""Read an artifact's directory, trusting nothing in it."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load

from recprune.artifact.artifact import FORMAT, Artifact
from recprune.errors import RecpruneError
from recprune.graph import Graph
from recprune.vocabulary import vocabulary_from
from recprune.weights import Param, Weights, encoding_from

__all__ = ["read"]

_MANIFEST_LIMIT = 64 << 20
_REQUIRED = ("weights.safetensors", "vocabularies.safetensors", "recipe.json")
_KNOWN = (*_REQUIRED, "graph.json")


def read(path: str | Path) -> Artifact:
    """Read and validate: every file against its digest, every array against its shape, every number finite.

    Raises RecpruneError naming the file for a directory that is no artifact, a newer format, a file that is missing, cut
    short or changed, an array that does not fit, and NaN.
    """
    path = Path(path)
    if not (path / "manifest.json").is_file():
        raise RecpruneError(f"{path} is no artifact: it has no manifest.json")
    if (path / "manifest.json").stat().st_size > _MANIFEST_LIMIT:
        raise RecpruneError(f"{path}/manifest.json is larger than {_MANIFEST_LIMIT} bytes")
    manifest = _json((path / "manifest.json").read_bytes(), path / "manifest.json")
    if not isinstance(manifest, dict) or not isinstance(manifest.get("format"), int):
        raise RecpruneError(f"{path}/manifest.json has no format number")
    if manifest["format"] > FORMAT:
        raise RecpruneError(f"{path} has format {manifest['format']}; this recprune reads up to {FORMAT}: upgrade it")
    try:
        files = {name: _checked(path / name, entry) for name, entry in manifest["files"].items() if _named(name, path)}
        for name in _REQUIRED:
            if name not in files:
                raise RecpruneError(f"{path}/manifest.json does not list {name}")
        arrays = _tensors(files["weights.safetensors"], path / "weights.safetensors")
        weights = Weights(
            {n: _param(n, spec, arrays, path) for n, spec in manifest["params"].items()}, manifest["sizes"]
        )
        stored = _tensors(files["vocabularies.safetensors"], path / "vocabularies.safetensors")
        vocabularies = {
            name: vocabulary_from(spec, _under(stored, name)) for name, spec in manifest["vocabularies"].items()
        }
        graph = Graph.from_json(_json(files["graph.json"], path / "graph.json")) if "graph.json" in files else None
        recipe = _json(files["recipe.json"], path / "recipe.json")
        return Artifact(weights, graph, vocabularies, recipe, manifest.get("metadata", {}))
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise RecpruneError(f"{path}/manifest.json is malformed: {error!r}") from error


def _named(name: str, path: Path) -> bool:
    if name not in _KNOWN:
        raise RecpruneError(f"{path}/manifest.json names {name!r}; an artifact's files are: {', '.join(_KNOWN)}")
    return True


def _checked(file: Path, entry: Mapping[str, Any]) -> bytes:
    if not file.is_file() or file.is_symlink():
        raise RecpruneError(f"{file} is missing")
    if file.stat().st_size != entry["bytes"]:
        raise RecpruneError(
            f"{file} has {file.stat().st_size} bytes where the manifest says {entry['bytes']}: cut short?"
        )
    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise RecpruneError(f"{file} is not the file that was written: its SHA-256 differs from the manifest's")
    return content


def _json(content: bytes, file: Path) -> Any:
    try:
        return json.loads(content, object_pairs_hook=lambda pairs: _unique(pairs, file))
    except (ValueError, RecursionError) as error:
        if isinstance(error, RecpruneError):
            raise
        raise RecpruneError(f"{file} is not valid JSON: {error}") from error


def _unique(pairs: list[tuple[str, Any]], file: Path) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(key for i, (key, _) in enumerate(pairs) if key in [k for k, _ in pairs[:i]])
        raise RecpruneError(f"{file} has the key {twice!r} twice")
    return found


def _tensors(content: bytes, file: Path) -> dict[str, npt.NDArray[Any]]:
    if len(content) < 8:
        raise RecpruneError(f"{file} is cut short: {len(content)} bytes")
    (length,) = struct.unpack("<Q", content[:8])
    if length > len(content) - 8:
        raise RecpruneError(f"{file} is cut short: its header of {length} bytes does not fit")
    _json(content[8 : 8 + length], file)
    try:
        return load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise RecpruneError(f"{file} is malformed: {error}") from error


def _under(arrays: Mapping[str, npt.NDArray[Any]], name: str) -> dict[str, npt.NDArray[Any]]:
    return {key[len(name) + 1 :]: array for key, array in arrays.items() if key.startswith(name + "/")}


def _param(name: str, spec: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]], path: Path) -> Param:
    try:
        value = encoding_from(spec, _under(arrays, name))
        return Param(tuple(spec["axes"]), value, tuple(spec["protected"]), bool(spec["trained"]))
    except RecpruneError as error:
        raise RecpruneError(f"{path}/weights.safetensors: parameter {name!r}: {error}") from error
    except (ValueError, MemoryError) as error:
        raise RecpruneError(f"{path}/weights.safetensors: parameter {name!r} is malformed: {error}") from error
