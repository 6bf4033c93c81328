"""The classical recommenders: text, naive Bayes, linear models, trees, factors, item-item models.

    python benchmarks/classical.py [part ...]      writes benchmarks/results/classical.json

Each part of `families/` gives points: a model made smaller, and the library's own means at other sizes, on the same test.
Differences are from the original of the part, paired, and averaged over the seeds. Resumable: each part and seed is kept
under runs/classical/.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from families import factors, text, trees

from recprune.files import write_bytes
from recprune.pipeline.run import machine, versions
from recprune.processes import spawned

ROOT = Path(__file__).parent
KEPT = ROOT.parent / "runs" / "classical"
PARTS = trees.PARTS | text.PARTS | factors.PARTS
ONE = (*trees.PARTS, "whole")  # up to a quarter of an hour each: one split
SEEDS = {part: (0,) if part in ONE else (0, 1, 2, 3, 4) if part == "items" else (0, 1, 2) for part in PARTS}
Point = dict[str, Any]


def made(part: str, seed: int) -> list[Point]:
    """The points of a part and seed, from runs/classical/ where they are known."""
    path = KEPT / f"{part}-{seed}.json"
    if not path.exists():
        print(part, seed, flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, json.dumps(list(PARTS[part](seed)), allow_nan=False).encode())
    found: list[Point] = json.loads(path.read_text(encoding="utf-8"))
    return found


def over_seeds(points: Sequence[Point]) -> Point:
    """One point of several seeds: means; splits are apart, so the error of their mean is that of one over their root."""
    first = points[0]

    def mean(field: str, metric: str) -> dict[str, float]:
        given = [point[field][metric] for point in points]
        value = float(np.mean([one["value"] for one in given]))
        half = float(np.sqrt(np.sum([((one["high"] - one["low"]) / 2) ** 2 for one in given]))) / len(given)
        return {"value": value, "low": value - half, "high": value + half}

    merged = {field: {m: mean(field, m) for m in first[field]} for field in ("metrics", "differences")}
    size = round(float(np.mean([point["disk_bytes"] for point in points])))
    return {**first, "disk_bytes": size, "seeds": len(points), **merged}


def main() -> None:
    parts = sys.argv[1:] or list(PARTS)
    jobs = [(part, seed) for part in parts for seed in SEEDS[part]]
    with spawned(os.cpu_count() or 1) as pool:
        for job in [pool.submit(made, *job) for job in jobs]:
            job.result()
    rows = []
    for part in PARTS:
        seeds = [seed for seed in SEEDS[part] if (KEPT / f"{part}-{seed}.json").exists()]
        points: dict[int, list[Point]] = {}
        for seed in seeds:
            # By place: names may hold a count that differs from seed to seed.
            for place, point in enumerate(made(part, seed)):
                points.setdefault(place, []).append(point)
        rows += [over_seeds(found) for found in points.values()]
    result = {"format": 1, "machine": machine(), "versions": versions(), "rows": rows}
    (ROOT / "results" / "classical.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
