"""How fast the artifacts of `make books` answer, side by side in one run: `benchmarks/results/speed.json`.

    python benchmarks/speed.py

For each task: one request, a batch of requests, many books for one reader, and loading, of the compressed artifact against
the original one, both by the numpy runtime (the reference that native kernels will be held to). Each request is another one
of the test set, so that the 95th percentile is over requests and not over one request's noise. Answers alternate, so that
both see the same machine; `low` and `high` are the 5th and 95th percentile of the ratio over the repeats. And compressing
`like-ids`: one shot, against three epochs of retraining before.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import recprune
from recprune import compress
from recprune.pipeline.config import read_config
from recprune.pipeline.next_item import NextItemTask
from recprune.pipeline.run import Run, machine, versions
from recprune.pruning.methods import Retrain
from recprune.runtime import Scorer

ROOT = Path(__file__).parent
READER = ("user", "country", "region", "city", "age")
ONES, MANY, REPEATS = 300, 256, 20
Ask = Callable[[Scorer, int], Any]


def main() -> None:
    config = read_config(ROOT.parent / "examples" / "books.yaml")
    run = Run(config, ROOT.parent / "runs")
    rows: list[dict[str, Any]] = []
    for name in config.tasks:
        folder = run.folder / name
        paths = folder / "artifact", folder / "original"
        if not all(path.exists() for path in paths):
            raise SystemExit(f"{folder} has no artifacts yet: run `make books` first")
        rows.append(ratio(f"{name}: load", *(lambda _, path=path: recprune.load(path) for path in paths), repeats=5))
        ours, original = (recprune.load(path) for path in paths)
        for work, repeats, ask in asked(run.task(name), original.columns):
            rows.append(ratio(f"{name}: {work}", partial(ask, ours), partial(ask, original), repeats=repeats))
    rows.append(one_shot(run, "like-ids", "medium"))
    out = ROOT / "results" / "speed.json"
    out.parent.mkdir(exist_ok=True)
    result = {"machine": machine(), "versions": versions(), "rows": rows}
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for row in rows:
        print(f"{row['work']:30s} {row['value']:12.0f} {row['peer_value']:12.0f} us   {row['ratio']:.2f} times as fast")


def asked(task: Any, columns: tuple[str, ...]) -> list[tuple[str, int, Ask]]:
    """What is asked of a task's artifacts: its name, how often, and how, by a scorer and the number of the repeat."""
    if isinstance(task, NextItemTask):
        histories = task.histories("test", MANY * REPEATS)
        return [
            ("1 request", ONES, lambda scorer, i: scorer.top_k(histories[i : i + 1], 10)),
            (f"{MANY} requests", REPEATS, lambda scorer, i: scorer.top_k(histories[i * MANY :][:MANY], 10)),
        ]
    test = {column: task.data.test[column].to_numpy() for column in columns}

    def one(scorer: Scorer, i: int) -> Any:
        return scorer.score({column: values[i : i + 1] for column, values in test.items()})

    def many(scorer: Scorer, i: int) -> Any:
        return scorer.score({column: values[i * MANY :][:MANY] for column, values in test.items()})

    def one_reader(scorer: Scorer, i: int) -> Any:
        request = {column: values[i * MANY :][:MANY] for column, values in test.items()}
        return scorer.score(request | {column: request[column][:1].repeat(MANY) for column in READER})

    return [
        ("1 request", ONES, one),
        (f"{MANY} requests", REPEATS, many),
        (f"{MANY} books for one reader", REPEATS, one_reader),
    ]


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
