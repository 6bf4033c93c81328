"""Write an artifact's directory."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from recprune.artifact.artifact import FORMAT, Artifact
from recprune.errors import RecpruneError
from recprune.files import new_directory
from recprune.weights import Param

__all__ = ["FILES", "JSON_LIMIT", "MANIFEST", "SIGNATURE", "contents", "described_bytes", "to_json", "write"]

MANIFEST = "manifest.json"
SIGNATURE = "signature.json"  # beside the files that a manifest lists: it covers them all
FILES = {MANIFEST, "weights.safetensors", "vocabularies.safetensors", "graph.json", "recipe.json"}
JSON_LIMIT = 16 << 20  # bytes: what is parsed takes some thirty times as many


def write(artifact: Artifact, path: str | Path) -> dict[str, int]:
    """Write atomically; give the sizes in bytes, which the manifest holds too.

    Files: `weights.safetensors`, `vocabularies.safetensors`, `graph.json`, `recipe.json`, and `manifest.json` with the
    SHA-256 and size of each of the others, and its own. Disk bytes are the sum of all files.

    Raises RecpruneError for a path that holds something else than an artifact, and for a recipe or metadata that are not
    JSON; what was there before stays.
    """
    path = Path(path)
    if path.is_symlink() or (
        path.exists() and not (path.is_dir() and {f.name for f in path.iterdir()} <= FILES | {SIGNATURE})
    ):
        raise RecpruneError(f"{path} holds something else than an artifact; it is not overwritten")
    files = contents(artifact)
    with new_directory(path) as directory:
        for name, content in files.items():
            (directory / name).write_bytes(content)
    weights, ids = _arrays(artifact)
    return {
        "disk_bytes": sum(len(content) for content in files.values()),
        "weights_bytes": sum(array.nbytes for array in weights.values()),
        "vocabulary_bytes": sum(array.nbytes for array in ids.values()),
        "resident_bytes": artifact.resident_bytes,
    }


def contents(artifact: Artifact) -> dict[str, bytes]:
    """The files of an artifact by name. Raises RecpruneError for a recipe or metadata that are not JSON."""
    weights, ids = _arrays(artifact)
    files = {
        "weights.safetensors": save({name: np.ascontiguousarray(array) for name, array in weights.items()}),
        "vocabularies.safetensors": save({name: np.ascontiguousarray(array) for name, array in ids.items()}),
        "recipe.json": to_json(dict(artifact.recipe), "the recipe"),
    }
    if artifact.graph is not None:
        files["graph.json"] = to_json(artifact.graph.to_json(), "the graph")
    manifest = {
        "format": FORMAT,
        "files": {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in files.items()
        },
        "params": {name: _described(param) for name, param in artifact.weights.items()},
        "sizes": artifact.weights.sizes,
        "vocabularies": {name: vocabulary.spec() for name, vocabulary in artifact.vocabularies.items()},
        "metadata": dict(artifact.metadata),
    }
    # Specs stand in the manifest and decide what the arrays mean, so it holds its own digest too.
    digest = hashlib.sha256(to_json(manifest, "metadata")).hexdigest()
    files["manifest.json"] = to_json(manifest | {"sha256": digest}, "metadata")
    return files


def described_bytes(name: str, param: Param) -> int:
    """About the bytes that say what a parameter is: in the manifest, and in the header of the file of weights."""
    arrays = {f"{name}/{part}": np.ascontiguousarray(array) for part, array in param.value.arrays().items()}
    return len(save(arrays)) - param.nbytes + len(to_json(_described(param), f"parameter {name!r}"))


def _described(param: Param) -> dict[str, Any]:
    """What most parameters are is not written: descriptions are much of a small artifact."""
    protected = {"protected": param.protected} if param.protected else {}
    flags = {"trained": True, "has_unknown": True, "unknown_is_zero": False}
    other = {name: getattr(param, name) for name, usual in flags.items() if getattr(param, name) != usual}
    return {"axes": param.axes, **protected, **other, **param.value.spec()}


def _arrays(artifact: Artifact) -> tuple[dict[str, npt.NDArray[Any]], dict[str, npt.NDArray[Any]]]:
    weights = {
        f"{name}/{part}": array
        for name, param in artifact.weights.items()
        for part, array in param.value.arrays().items()
    }
    ids = {f"{name}/{part}": array for name, v in artifact.vocabularies.items() for part, array in v.arrays().items()}
    return weights, ids


def to_json(value: Any, what: str) -> bytes:
    """Compact JSON; the same value gives the same bytes. Raises RecpruneError for what is none, NaN too, and too much."""
    try:
        content = json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise RecpruneError(f"{what} of an artifact must be JSON: {error}") from error
    if len(content) > JSON_LIMIT:
        raise RecpruneError(f"{what} of an artifact must be at most {JSON_LIMIT} bytes of JSON, got {len(content)}")
    return content
