"""What private training and rounded scores do to quality and to an attacker: `benchmarks/results/private.json`.

    python benchmarks/private.py                                   # all of it; what was done is kept under runs/private-*
    python benchmarks/private.py --only books --shadows 0          # quality alone
    python benchmarks/private.py --only films --models original,interaction-8

`books` is like-ids of examples/books.yaml, `films` the same on MovieLens-100k (will this viewer rate this film 4 or more);
both in 8 bits a row, a recipe that reads nothing of the log. `original` is trained without noise, `interaction-8` with
`private: {epsilon: 8, unit: interaction}`, `user-8` with `private: {epsilon: 8}`. Each is judged on test, and audited with
`--shadows` shadow models (likelihood ratio). Decimals: the attack on interactions again, by the same shadow models of
`original`, with all scores rounded, and the AUC on test of rounded scores.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from recprune.artifact import read
from recprune.evaluation import auc
from recprune.pipeline.audit import audit_task
from recprune.pipeline.config import LikeConfig, RunConfig, read_config
from recprune.pipeline.run import Run, machine, versions
from recprune.pipeline.subjects import subject_of
from recprune.privacy import Private, leakage, play
from recprune.pruning.recipe import Recipe
from recprune.runtime import Scorer

ROOT = Path(__file__).parent
EIGHT_BITS = {"steps": [{"quantize": {"target": "*", "bits": 8, "granularity": "per_row"}}]}
MODELS = {
    "original": None,
    "interaction-8": Private(8, unit="interaction"),
    "interaction-3": Private(3, unit="interaction"),
    "user-8": Private(8),
    "user-3": Private(3),
}
ROWS, USERS = 10_000, 500  # interactions and users that are audited, at most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("films", "books"))
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--shadows", type=int, default=16, help="0: quality alone")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    given = parser.parse_args()
    out = ROOT / "results" / "private.json"
    for data in ("films", "books"):
        for name in given.models.split(",") if given.only in (None, data) else ():
            run = Run(config(data), given.runs, lambda task, line: print(task, line, flush=True))
            rows = quality(run, name) + (attacked(run, name, given.shadows, given.workers) if given.shadows else [])
            kept = json.loads(out.read_text(encoding="utf-8"))["rows"] if out.exists() else []
            kept = [row for row in kept if (row["data"], row["model"]) != (data, name)]
            kept += [{"data": data, "model": name, **row} for row in rows]
            result = {"machine": machine(), "versions": versions(), "rows": kept}
            out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for row in json.loads(out.read_text(encoding="utf-8"))["rows"]:
        print(f"{row['data']} {row['model']:14s} {row['what']:40s} {row['ours']:12s} {row['value']:.4f}")


def config(data: str) -> RunConfig:
    """One task for each model, with one recipe that reads nothing of the log."""
    books = read_config(ROOT.parent / "examples" / "books.yaml")
    task = books.tasks["like-ids"]
    assert isinstance(task, LikeConfig)
    task = replace(task, recipes={"eight bits": Recipe.from_json(EIGHT_BITS)}, ship="eight bits", trained_small=())
    if data == "films":
        task, books = replace(task, liked=4.0), replace(books, data="movielens_100k")
    return replace(
        books, name=f"private-{data}", tasks={name: replace(task, private=of) for name, of in MODELS.items()}
    )


def quality(run: Run, name: str) -> list[dict[str, Any]]:
    trained = run.stage(name, "train")
    run.stage(name, "compress")
    task, rows = run.task(name), []
    spent = {key: value for key, value in trained.get("private", {}).items() if key != "not_covered"}
    test, labels = task.data.test, task.data.labels["test"]
    for side, part in (("original", "original"), ("8 bits", "artifact")):
        artifact = read(run.folder / name / part)
        for decimals in (None, 1, 2, 3) if name == "original" and side == "original" else (None,):
            value = auc(labels, Scorer(artifact, decimals=decimals).score(test))
            ours = side if decimals is None else f"{decimals} decimals"
            rows.append({"what": "AUC on test", "ours": ours, "value": value, **spent})
    return rows


def attacked(run: Run, name: str, shadows: int, workers: int) -> list[dict[str, Any]]:
    found = audit_task(run, name, shadows=shadows, rows=ROWS, users=USERS, workers=workers)
    rows = []
    for kind, of in found["membership"].items():
        for model, values in of["attacks"]["ratio"]["values"].items():
            rows.append(_row(kind, model, values, shadows))
    return rows + (rounded(run, name, shadows) if name == "original" else [])


def rounded(run: Run, name: str, shadows: int) -> list[dict[str, Any]]:
    """The attack on interactions, on scores with few decimals: the log odds of what was said, from a rounded probability."""
    units = subject_of(run.task(name), ROWS, USERS, run.config.seed).units
    of, stored = ~units.of_users, []
    for i in range(shadows):
        with np.load(run.folder / name / "audit" / f"shadow-{i:02}.npz") as shadow:
            stored.append((shadow["original"][of], shadow["inside"][of]))
    signals, inside = (np.stack(part) for part in zip(*stored, strict=True))
    scores = {}
    for decimals in (1, 2, 3):
        # Half a unit of the last place from 0 and 1: what is rounded to 0 is not impossible.
        edge = 0.5 * 10.0**-decimals
        said = np.clip(np.round(1 / (1 + np.exp(-signals)), decimals), edge, 1 - edge)
        scores[f"{decimals} decimals"] = play((np.log(said) - np.log1p(-said))[..., None], inside, "ratio")
    values = leakage(inside, np.tile(units.user[of], shadows), scores)["values"]
    return [_row("interactions", model, _plain(of_model), shadows) for model, of_model in values.items()]


def _plain(given: Any) -> dict[str, Any]:
    return {measure: interval.to_json() for measure, interval in given.items()}


def _row(kind: str, model: str, values: Any, shadows: int) -> dict[str, Any]:
    of = {"what": f"was this {kind[:-1]} in training? AUC", "ours": model, "shadows": shadows}
    return of | values["auc"] | {"tpr@0.1%": values["tpr@0.1%"]["value"]}


if __name__ == "__main__":
    main()
