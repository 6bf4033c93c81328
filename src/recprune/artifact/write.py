"""Write an artifact's directory."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from recprune.artifact.artifact import FORMAT, Artifact
from recprune.artifact.files import new_directory

__all__ = ["write"]


def write(artifact: Artifact, path: str | Path) -> dict[str, int]:
    """Write atomically; give the sizes in bytes, which the manifest holds too.

    Files: `weights.safetensors`, `vocabularies.safetensors`, `graph.json`, `recipe.json`, and `manifest.json` with the
    SHA-256 and size of each of the others. Disk bytes are the sum of all files.
    """
    weights = {
        f"{name}/{part}": array
        for name, param in artifact.weights.items()
        for part, array in param.value.arrays().items()
    }
    ids = {f"{name}/{part}": array for name, v in artifact.vocabularies.items() for part, array in v.arrays().items()}
    files = {
        "weights.safetensors": save({name: np.ascontiguousarray(array) for name, array in weights.items()}),
        "vocabularies.safetensors": save({name: np.ascontiguousarray(array) for name, array in ids.items()}),
        "recipe.json": _json(artifact.recipe),
    }
    if artifact.graph is not None:
        files["graph.json"] = _json(artifact.graph.to_json())
    manifest = {
        "format": FORMAT,
        "files": {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in files.items()
        },
        "params": {
            name: {"axes": param.axes, "protected": param.protected, "trained": param.trained, **param.value.spec()}
            for name, param in artifact.weights.items()
        },
        "sizes": artifact.weights.sizes,
        "vocabularies": {name: vocabulary.spec() for name, vocabulary in artifact.vocabularies.items()},
        "metadata": artifact.metadata,
    }
    files["manifest.json"] = _json(manifest)
    with new_directory(Path(path)) as directory:
        for name, content in files.items():
            (directory / name).write_bytes(content)
    return {
        "disk_bytes": sum(len(content) for content in files.values()),
        "weights_bytes": sum(array.nbytes for array in weights.values()),
        "vocabulary_bytes": sum(array.nbytes for array in ids.values()),
        "resident_bytes": artifact.resident_bytes,
    }


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
