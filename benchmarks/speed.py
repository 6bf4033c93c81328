"""How fast the artifacts of `make books` answer, side by side in one run: `benchmarks/results/speed.json`.

    python benchmarks/speed.py

For each task: one request and a batch of requests, and loading, of the compressed artifact against the original one, both by
the numpy runtime (the reference that native kernels will be held to). Each request is another one of the test set, so that
the 95th percentile is over requests and not over one request's noise. Answers alternate, so that both see the same machine;
`low` and `high` are the 5th and 95th percentile of the ratio over the repeats. And compressing `like-ids`: one shot, against
three epochs of retraining before.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import recprune
from recprune import compress
from recprune.pipeline.config import LikeConfig, read_config
from recprune.pipeline.like import LikeTask
from recprune.pipeline.next_item import NextItemTask
from recprune.pipeline.run import Run, machine, versions
from recprune.pruning.methods import Retrain

ROOT = Path(__file__).parent


def main() -> None:
    config = read_config(ROOT.parent / "examples" / "books.yaml")
    run = Run(config, ROOT.parent / "runs")
    rows: list[dict[str, Any]] = []
    for name, settings in config.tasks.items():
        folder = run.folder / name
        paths = folder / "artifact", folder / "original"
        if not all(path.exists() for path in paths):
            raise SystemExit(f"{folder} has no artifacts yet: run `make books` first")
        rows.append(ratio(f"{name}: load", *(lambda _, path=path: recprune.load(path) for path in paths), repeats=5))
        ours, original = (recprune.load(path) for path in paths)
        task = run.task(name)
        for count, repeats in ((1, 300), (256, 20)):
            if isinstance(settings, LikeConfig):
                assert isinstance(task, LikeTask)
                frames = [
                    {column: task.data.test[column].to_numpy()[start : start + count] for column in original.columns}
                    for start in range(0, repeats * count, count)
                ]
                calls = [lambda i, s=s, frames=frames: s.score(frames[i]) for s in (ours, original)]
            else:
                assert isinstance(task, NextItemTask)
                histories = task.histories("test", repeats * count)
                calls = [
                    lambda i, s=s, histories=histories, count=count: s.top_k(histories[i * count :][:count], 10)
                    for s in (ours, original)
                ]
            rows.append(ratio(f"{name}: {count} request{'s' if count > 1 else ''}", *calls, repeats=repeats))
    rows.append(one_shot(run, "like-ids", "medium"))
    out = ROOT / "results" / "speed.json"
    out.parent.mkdir(exist_ok=True)
    result = {"machine": machine(), "versions": versions(), "rows": rows}
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for row in rows:
        print(f"{row['work']:30s} {row['value']:12.0f} {row['peer_value']:12.0f} us   {row['ratio']:.2f} times as fast")


def one_shot(run: Run, name: str, recipe: str) -> dict[str, Any]:
    """Compressing without training, against the same recipe after retraining."""
    task, given = run.task(name), run.config.tasks[name].recipes[recipe]
    model, data = task.model(run.folder / name), task.data
    longer = replace(given, steps=(Retrain(epochs=3), *given.steps))
    row = ratio(
        f"{name}: compress by {recipe!r}",
        *(lambda _, r=r: compress(model, r, data) for r in (given, longer)),
        repeats=2,
    )
    return row | {"ours": "one shot", "peer": "retrained for three epochs before"}


def ratio(work: str, ours: Callable[[int], Any], peer: Callable[[int], Any], repeats: int) -> dict[str, Any]:
    """Microseconds of both, taken in turns, and how many times as fast ours is. Each is given the number of its repeat."""
    took = np.zeros((2, repeats))
    ours(0), peer(0)
    for i in range(repeats):
        for side, call in enumerate((ours, peer)):
            start = time.perf_counter_ns()
            call(i)
            took[side, i] = (time.perf_counter_ns() - start) / 1000
    ours_us, peer_us = np.median(took, axis=1)
    low, high = np.percentile(took[1] / took[0], (5, 95))
    ours_p95, peer_p95 = np.percentile(took, 95, axis=1)
    return {
        "work": work, "ours": "compressed artifact", "peer": "original artifact", "value": float(ours_us),
        "peer_value": float(peer_us), "unit": "us, median", "ratio": float(peer_us / ours_us), "low": float(low),
        "high": float(high), "p95": float(ours_p95), "peer_p95": float(peer_p95),
    }  # fmt: skip


if __name__ == "__main__":
    main()
