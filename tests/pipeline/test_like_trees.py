"""A run whose models are trees: from the log to an artifact that scores raw ids."""

import numpy as np
import pytest

import recprune
from recprune.adapters import adapter_for
from recprune.errors import RecpruneError
from recprune.pipeline.config import read_config
from recprune.pipeline.run import Run
from tests.pipeline.toy import write_log

TASK = """
  {model}:
    kind: like
    model: {model}
    gate: auc:0.1
    ship: small
    recipes:
      small:
        fingerprint: 8
        steps:
          - merge_leaves: {{keep: 0.5}}
          - round_thresholds: {{bits: 4}}
          - refit_leaves: {{sweeps: 2}}
          - codebook: {{target: leaves, bits: 4}}
          - quantize: {{target: "statistics.*", bits: 8, granularity: per_column}}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trees")
    write_log(folder)
    tasks = "".join(TASK.format(model=model) for model in ("lightgbm", "forest"))
    (folder / "toy.yaml").write_text(f"name: toy\ndata: log.yaml\ntasks:\n{tasks}", encoding="utf-8")
    return Run(read_config(folder / "toy.yaml"), folder / "runs")


@pytest.mark.parametrize("name", ["lightgbm", "forest"])
def test_a_run_of_trees(run, name):
    for stage in ("train", "analyze", "plan", "peers", "compress", "evaluate"):
        run.stage(name, stage)
    task, folder = run.task(name), run.folder / name
    test, model = task.data.test, task.model(folder)
    original = recprune.load(folder / "original").score(test)
    # The trees read the same statistics through look-ups from raw ids as side by side.
    features = model.features
    rows = features.encode(test).rows
    x = np.column_stack([table[rows[key]] for key, table in features.tables.items()])
    trees, leaves = (model.trees[part].value for part in ("trees", "leaves"))
    given = leaves.decode()[trees.reach(x)][..., 0].astype(float)
    want = given.mean(axis=1) if trees.mode == "mean" else 1 / (1 + np.exp(-given.sum(axis=1)))
    np.testing.assert_allclose(original, want, atol=1e-6)
    summary = run._summary(name)
    assert summary["gate"]["passed"]
    assert summary["size"]["ratio"]["disk"] > 1.5  # most of a toy is its manifest
    assert summary["metrics"]["auc"]["original"]["value"] > 0.7
    assert "trees" in summary["original"]
    small = recprune.load(folder / "artifact").score(test)
    assert np.corrcoef(small, original)[0, 1] > 0.9
    adapter = adapter_for(model)
    again = adapter.read(adapter.rebuild(model, adapter.read(model).weights))
    assert again.weights["leaves"].value.decode().tolist() == leaves.decode().tolist()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("statistics: false", "lightgbm reads statistics only"),
        ("trained_small: [[4, 2]]", "lightgbm has none"),
        ("model: lightgmb", "lightgbm"),
    ],
)
def test_what_is_no_task_of_trees(tmp_path, line, message):
    task = TASK.format(model="lightgbm").replace("    gate:", f"    {line}\n    gate:")
    task = task.replace("    model: lightgbm\n", "", 1) if line.startswith("model") else task
    (tmp_path / "toy.yaml").write_text(f"name: toy\ndata: log.yaml\ntasks:\n{task}", encoding="utf-8")
    with pytest.raises(RecpruneError, match=message):
        read_config(tmp_path / "toy.yaml")
