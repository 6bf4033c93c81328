"""The peers of the benchmark run on what the package is today: they read its insides, and no type checker sees them."""

import sys
from pathlib import Path

import numpy as np
import pytest

from recprune.adapters import adapter_for
from recprune.artifact import write
from recprune.evaluation import estimate
from recprune.pipeline.config import read_config
from recprune.pipeline.run import Run
from tests.pipeline.toy import write_log

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
CONFIG = """
name: toy
data: log.yaml
tasks:
  like:
    kind: like
    statistics: {statistics}
    min_readings: 1
    gate: auc:0.9
    ship: codes
    recipes: {{codes: {{steps: [{{codebook: {{target: "tables.*.factor", bits: 4}}}}]}}}}
"""


@pytest.fixture(scope="module")
def peers():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import frontier_peers

        yield frontier_peers
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module", params=["true", "false"], ids=["statistics", "ids"])
def trained(request, tmp_path_factory):
    """A task, its snapshot and what its original takes."""
    folder = tmp_path_factory.mktemp("toy")
    write_log(folder, 60, 30)
    (folder / "toy.yaml").write_text(CONFIG.format(statistics=request.param), encoding="utf-8")
    run = Run(read_config(folder / "toy.yaml"), folder / "runs", lambda name, line: None)
    size = run.stage("like", "train")["size"]["disk_bytes"]
    task = run.task("like")
    model = task.model(run.folder / "like")
    return task, adapter_for(model).read(model), size


def judged(task, predictions):
    """AUC on test."""
    truth = task.judge("test").truth
    return estimate(truth, predictions, ("auc",), resamples=100)["auc"].value


@pytest.mark.parametrize("method", ["torch.nn.utils.prune", "torchao", "faiss PQ", "tensor train"])
def test_peers_after_training_get_smaller_and_know_something(peers, trained, tmp_path, method):
    task, snapshot, _ = trained
    made = [make for name, _, make in peers.after_training(task, snapshot) if name == method]
    assert made
    try:
        mildest, hardest = made[0](), made[-1]()
    except ImportError as error:
        pytest.skip(f"installed by `make evidence` alone: {error}")
    large, small = (write(stored[-1], tmp_path / "it")["disk_bytes"] for stored in (mildest, hardest))
    assert small <= large  # equal for trains: the tables of a toy have no higher rank
    assert judged(task, task.judge("test").predict(mildest[0])) > 0.5


@pytest.mark.parametrize(
    "method", ["hashed ids, from scratch", "quotient and remainder, from scratch", "PEP, from scratch"]
)
def test_peers_from_scratch_learn(peers, trained, method):
    task, _, original = trained
    made = [make for name, _, make in peers.from_scratch(task, 0) if name == method]
    if task.config.statistics:
        assert not made
        return
    found = made[0]()
    assert 0 < found["bytes"] < original
    assert np.isfinite(found["valid"]).all()
    assert judged(task, found["test"]) > 0.6
