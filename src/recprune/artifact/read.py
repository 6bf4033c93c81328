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
from recprune.artifact.write import FILES, to_json
from recprune.errors import RecpruneError
from recprune.graph import Graph
from recprune.vocabulary import vocabulary_from
from recprune.weights import Param, Weights, encoding_from

__all__ = ["read"]

_MANIFEST_LIMIT = 64 << 20
_REQUIRED = ("weights.safetensors", "vocabularies.safetensors", "recipe.json")


def read(path: str | Path) -> Artifact:
    """Read and validate: every file against its digest, every array against its shape, every number finite.

    Raises RecpruneError naming the file for a directory that is no artifact, a newer format, a file that is missing, cut
    short or changed, an array that does not fit, and NaN.
    """
    path = Path(path)
    file = path / "manifest.json"
    try:
        return _read(path, _manifest(file))
    except RecpruneError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, MemoryError, RecursionError) as error:
        raise RecpruneError(f"{file} is malformed: {error!r}") from error
    except OSError as error:
        raise RecpruneError(f"cannot read {path}: {error.strerror or error}") from error


def _manifest(file: Path) -> dict[str, Any]:
    if not file.is_file() or file.is_symlink():
        raise RecpruneError(f"{file.parent} is no artifact: it has no manifest.json")
    if file.stat().st_size > _MANIFEST_LIMIT:
        raise RecpruneError(f"{file} is larger than {_MANIFEST_LIMIT} bytes")
    manifest = _json(file.read_bytes(), file)
    if not isinstance(manifest, dict) or type(manifest.get("format")) is not int or manifest["format"] < 1:
        raise RecpruneError(f"{file} has no format number")
    if manifest["format"] > FORMAT:
        raise RecpruneError(
            f"{file.parent} has format {manifest['format']}; this recprune reads up to {FORMAT}: upgrade it"
        )
    digest = manifest.pop("sha256", None)
    if hashlib.sha256(to_json(manifest, "the manifest")).hexdigest() != digest:
        raise RecpruneError(f"{file} is not the file that was written: its SHA-256 differs from the one it holds")
    return manifest


def _read(path: Path, manifest: dict[str, Any]) -> Artifact:
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
    graph = Graph.from_json(_json(files["graph.json"], path / "graph.json")) if "graph.json" in files else None
    recipe, metadata = _json(files["recipe.json"], path / "recipe.json"), manifest["metadata"]
    if not isinstance(recipe, dict) or not isinstance(metadata, dict):
        raise RecpruneError(f"{path}: the recipe and the metadata must be JSON objects")
    return Artifact(Weights(params, manifest["sizes"]), graph, vocabularies, recipe, metadata)


def _named(name: str, path: Path) -> bool:
    if name not in FILES - {"manifest.json"}:
        raise RecpruneError(f"{path}/manifest.json names {name!r}; an artifact's files are: {', '.join(sorted(FILES))}")
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
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecpruneError(f"{file} is malformed: {error}") from error


def _under(arrays: Mapping[str, npt.NDArray[Any]], name: str) -> dict[str, npt.NDArray[Any]]:
    return {key[len(name) + 1 :]: array for key, array in arrays.items() if key.startswith(name + "/")}


def _param(name: str, spec: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]], path: Path) -> Param:
    try:
        value = encoding_from(spec, _under(arrays, name))
        axes, protected = tuple(spec["axes"]), tuple(spec["protected"])
        return Param(axes, value, protected, bool(spec["trained"]), bool(spec["has_unknown"]))
    except RecpruneError as error:
        raise RecpruneError(f"{path}/weights.safetensors: parameter {name!r}: {error}") from error
