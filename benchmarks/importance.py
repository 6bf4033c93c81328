"""Which rows to keep: magnitude against popularity against expected loss, one shot, nothing retrained.

    python benchmarks/importance.py

A DeepFM with 16-wide rows over ids and attributes of Book-Crossing, every id with a row of its own. AUC on test with 95 %
intervals by resampling readers; differences are paired. Writes `benchmarks/results/importance.json`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from recprune.adapters import adapter_for
from recprune.data import book_crossing
from recprune.evaluation import RowTruth, differences, estimate
from recprune.pipeline.run import machine, versions
from recprune.pruning.budgets import Uniform
from recprune.pruning.methods import DropRows
from recprune.recommenders.like import LIKE_IDS, like_data, train_like
from recprune.recommenders.training import predict
from recprune.weights import Dense, Rows

KEEPS = (0.2, 0.1, 0.05)
OUT = Path(__file__).parent / "results" / "importance.json"


def main() -> None:
    torch.set_num_threads(1)
    data = like_data(book_crossing())
    sizes = replace(LIKE_IDS.sizes, width=16, min_readings=1)
    model = train_like(data, replace(LIKE_IDS, model="deepfm", sizes=sizes), progress=print).model
    adapter = adapter_for(model)
    snapshot, context = adapter.read(model), adapter.context(model, None, 0, print)
    test = model.features.encode(data.test)
    truth = RowTruth(data.labels["test"], data.test["user"].to_numpy())
    scores = {}
    for keep in KEEPS:
        for importance in ("magnitude", "popularity", "expected_loss"):
            weights = DropRows("tables.*", Uniform(keep), importance)(snapshot.weights, context)
            scores[f"{keep} {importance}"] = predict(adapter.rebuild(model, weights), test)
        scores[f"{keep} single weights"] = predict(adapter.rebuild(model, single_weights(snapshot.weights, keep)), test)
    whole = predict(model, test)
    values = {name: estimate(truth, s, ["auc"])["auc"] for name, s in {"all": whole, **scores}.items()}
    rows = []
    for keep in KEEPS:
        for way in ("popularity", "expected_loss", "single weights"):
            other = f"{keep} magnitude"
            gain = differences(truth, scores[other], {"x": scores[f"{keep} {way}"]}, ["auc"])["x"]["auc"]
            rows.append(
                {"work": f"keep {keep:.0%} by {way.replace('_', ' ')}", "ours": way, "peer": "magnitude of the row",
                 "value": values[f"{keep} {way}"].value, "peer_value": values[other].value, "unit": "AUC",
                 "ratio": values[f"{keep} {way}"].value / values[other].value, "low": gain.low, "high": gain.high}
            )  # fmt: skip
    table = {name: interval.to_json() for name, interval in values.items()}
    result = {"machine": machine(), "versions": versions(), "rows": rows, "table": table}
    OUT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for name, interval in values.items():
        print(f"{name:24s} {interval.value:.4f} ({interval.low:.4f} to {interval.high:.4f})")


def single_weights(weights, keep):  # type: ignore[no-untyped-def]
    """The generic pruner: the largest single values of each table, whatever row they are in."""
    for name in weights.match("tables.*"):
        value = weights[name].value
        table = value.decode().copy()
        stored = value.mask() if isinstance(value, Rows) else np.ones(len(table), bool)
        bound = np.quantile(np.abs(table[stored]), 1 - keep)
        table[np.abs(table) < bound] = 0
        weights = weights.replace(name, Dense(table))
    return weights


if __name__ == "__main__":
    main()
