"""A run whose YAML signs and requires signatures, and where its artifacts say that they come from."""

import hashlib
import json

import pytest

import recprune
from recprune.errors import RecpruneError
from recprune.pipeline.config import read_config
from recprune.pipeline.run import Run
from recprune.trust import verify_artifact
from tests.pipeline.toy import write_log

CONFIG = """
name: toy
data: log.yaml
sign: keys/release
require_signature: keys/release.pub
tasks:
  next:
    kind: next_item
    min_reads: 3
    l2: 5
    gate: ndcg@10:50%
    ship: few
    recipes:
      few: {steps: [{keep_top: {target: item_weights, per_column: 8}}]}
      less: {steps: [{keep_top: {target: item_weights, per_column: 4}}]}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory, keys):
    folder = tmp_path_factory.mktemp("signed run")
    write_log(folder, users=60, items=30)
    (folder / "keys").symlink_to(keys)
    (folder / "toy.yaml").write_text(CONFIG, encoding="utf-8")
    found = Run(read_config(folder / "toy.yaml"), folder / "runs")
    found.stage("next", "compress")
    return found


def test_every_artifact_of_the_run_is_signed(run, keys):
    for name in ("original", "artifact", "tried/less"):
        path = run.folder / "next" / name
        digest = verify_artifact(path, keys / "release.pub")
        assert recprune.load(path, require_signature=keys / "release.pub").artifact.digest == digest


def test_the_manifest_says_where_it_comes_from(run):
    folder = run.folder / "next"
    found = recprune.load(folder / "artifact").artifact
    original = hashlib.sha256((folder / "original" / "manifest.json").read_bytes()).hexdigest()
    stored = json.loads((folder / "compress.json").read_text())["result"]["few"]
    assert found.metadata["lineage"] == {
        "original": original,
        "data": run.log().digest,
        "metrics": {metric: round(value, 6) for metric, value in stored["valid"].items()},
    }
    # The recipe is a file of the artifact, so the manifest holds its digest beside those of the others.
    manifest = json.loads((folder / "artifact" / "manifest.json").read_text())
    assert (
        manifest["files"]["recipe.json"]["sha256"]
        == hashlib.sha256((folder / "artifact" / "recipe.json").read_bytes()).hexdigest()
    )
    disk = sum(file.stat().st_size for file in (folder / "artifact").iterdir() if file.name != "signature.json")
    assert stored["size"]["disk_bytes"] == disk


def test_a_stage_refuses_what_was_changed_since(run):
    path = run.folder / "next" / "tried" / "less" / "graph.json"
    before = path.read_bytes()
    path.write_bytes(before + b" ")
    with pytest.raises(RecpruneError, match=r"tried/less: 'graph\.json' is not the file that was signed"):
        run.stage("next", "evaluate")
    path.write_bytes(before)
    (path.parent / "signature.json").rename(path.parent.parent / "kept")
    with pytest.raises(RecpruneError, match=r"tried/less is not signed"):
        run.stage("next", "evaluate")
    (path.parent.parent / "kept").rename(path.parent / "signature.json")
    assert run.stage("next", "evaluate")["metrics"]
