"""A bill of materials of an artifact, as CycloneDX 1.6 has it for models."""

from __future__ import annotations

import uuid
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from recprune.artifact import read
from recprune.artifact.read import parse_json
from recprune.artifact.write import JSON_LIMIT, MANIFEST
from recprune.trust.signature import read_limited

__all__ = ["bom"]


def bom(path: str | Path) -> dict[str, Any]:
    """What an artifact is made of, as JSON: its files, the original and the data that it comes from, and its metrics.

    The artifact is read and checked first; the same artifact gives the same bill. What its manifest does not say is left out
    (an artifact that no run wrote has no lineage). Raises RecpruneError as `recprune.artifact.read`.
    Source: CycloneDX 1.6, ECMA-424 (machine learning bill of materials).
    """
    path = Path(path).resolve()
    artifact = read(path)
    manifest = parse_json(read_limited(path / MANIFEST, JSON_LIMIT), path / MANIFEST)
    lineage = artifact.metadata.get("lineage")
    lineage = lineage if isinstance(lineage, dict) else {}
    graph = artifact.graph
    parameters: dict[str, Any] = {}
    if graph is not None:
        parameters["task"] = "scoring pairs" if graph.items is None else "ranking items"
        parameters["inputs"] = [{"format": column} for column in graph.columns]
        parameters["outputs"] = [{"format": "score" if graph.items is None else f"ids of {graph.items}"}]
    files = [{"name": MANIFEST, "sha256": artifact.digest}]
    files += [{"name": name, "sha256": entry["sha256"]} for name, entry in manifest["files"].items()]
    components = [{"type": "file", "name": f["name"], "hashes": _hashes(f["sha256"])} for f in files]
    if _is_digest(lineage.get("data")):
        components.append({"type": "data", "bom-ref": "data", "name": "log", "hashes": _hashes(lineage["data"])})
        parameters["datasets"] = [{"ref": "data"}]
    card: dict[str, Any] = {"modelParameters": parameters} if parameters else {}
    metrics = lineage.get("metrics")
    if isinstance(metrics, dict) and metrics:
        measured = [{"type": name, "value": str(value), "slice": "validation"} for name, value in metrics.items()]
        card["quantitativeAnalysis"] = {"performanceMetrics": measured}
    model: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": path.name,
        "version": artifact.digest[:12],
        "hashes": _hashes(artifact.digest),
        "modelCard": card,
    }
    if _is_digest(lineage.get("original")):
        original = {"type": "machine-learning-model", "name": "original", "hashes": _hashes(lineage["original"])}
        model["pedigree"] = {"ancestors": [original]}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, artifact.digest)}",
        "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": "recprune", "version": _version()}]},
            "component": model,
        },
        "components": components,
    }


def _hashes(sha256: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": sha256}]


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")


def _version() -> str:
    try:
        return version("recprune")
    except PackageNotFoundError:
        return "unknown"
