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
from recprune.weights import Quantized
from tests.pipeline.toy import write_circle, write_log

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
CIRCLE = """
name: toy
data: log.yaml
tasks:
  next:
    kind: next_item
    model: sasrec
    min_reads: 3
    l2: 5
    gate: ndcg@10:50%
    ship: codes
    recipes: {codes: {steps: [{quantize: {target: "*", bits: 8}}]}}
"""
FROM_SCRATCH = ["hashed ids, from scratch", "quotient and remainder, from scratch", "PEP, from scratch"]


@pytest.fixture(scope="module")
def peers():
    """Two modules: the peers after training, and those from scratch."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import frontier_peers
        import frontier_scratch

        yield frontier_peers, frontier_scratch
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
    made = [make for name, _, make in peers[0].after_training(task, snapshot) if name == method]
    assert made
    try:
        mildest, hardest = made[0](), made[-1]()
    except ImportError as error:
        pytest.skip(f"installed by `make evidence` alone: {error}")
    large, small = (write(stored[-1], tmp_path / "it")["disk_bytes"] for stored in (mildest, hardest))
    assert small <= large  # equal for trains: the tables of a toy have no higher rank
    assert judged(task, task.judge("test").predict(mildest[0])) > 0.5


@pytest.mark.parametrize("method", FROM_SCRATCH)
def test_peers_from_scratch_learn(peers, trained, method):
    task, _, original = trained
    made = [make for name, _, make in peers[1].from_scratch(task, 0) if name == method]
    if task.config.statistics:
        assert not made
        return
    found = made[0]()
    assert 0 < found["bytes"] < original
    assert np.isfinite(found["valid"]).all()
    assert judged(task, found["test"]) > 0.6


@pytest.fixture(scope="module")
def circle(tmp_path_factory):
    """A task whose items follow one another."""
    folder = tmp_path_factory.mktemp("circle")
    write_circle(folder)
    (folder / "toy.yaml").write_text(CIRCLE, encoding="utf-8")
    return Run(read_config(folder / "toy.yaml"), folder / "runs", lambda name, line: None).task("next")


@pytest.mark.parametrize("method", FROM_SCRATCH)
def test_peers_from_scratch_learn_what_comes_next(peers, circle, method):
    made = {setting: make for name, setting, make in peers[1].from_scratch(circle, 0) if name == method}
    found = next(iter(made.values()))()
    truth = circle.judge("test").truth
    # Chance gives .16: the discounts of ten places add up to 4.5, over 28 items that one has not taken.
    assert estimate(truth, found["test"], ("ndcg@10",), resamples=100)["ndcg@10"].value > 0.3


def test_the_rows_that_items_share_are_counted_and_nothing_else_of_them(peers, circle):
    model = peers[1].fresh(circle, 8)
    items = model.items.detach()
    few, many = (
        peers[1].answers(circle, model, Quantized.encode(items.numpy()[:rows], 8), items)["bytes"] for rows in (10, 30)
    )
    # Twenty rows of eight codes and a scale of two bytes; numbers in the header may take a digit more.
    assert 200 <= many - few <= 208
