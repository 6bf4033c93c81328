"""The bill of materials says what the manifest says, and the same each time."""

import hashlib
import json

from typer.testing import CliRunner

from recprune.artifact import write
from recprune.cli.main import app
from recprune.trust import bom

from ..artifact.test_read_write import FILES, artifact
from ..small import like, next_item

LINEAGE = {"original": "a" * 64, "data": "b" * 64, "metrics": {"auc": 0.75, "ndcg@10": 0.5}}


def digests(entry):
    (found,) = entry["hashes"]
    assert found["alg"] == "SHA-256"
    return found["content"]


def test_a_bill_of_materials(tmp_path):
    write(artifact(like(), lineage=LINEAGE), tmp_path / "ranker")
    found = bom(tmp_path / "ranker")
    assert (found["bomFormat"], found["specVersion"], found["version"]) == ("CycloneDX", "1.6", 1)
    model = found["metadata"]["component"]
    digest = hashlib.sha256((tmp_path / "ranker" / "manifest.json").read_bytes()).hexdigest()
    assert (model["type"], model["name"], digests(model)) == ("machine-learning-model", "ranker", digest)
    files = {entry["name"]: digests(entry) for entry in found["components"] if entry["type"] == "file"}
    assert files == {name: hashlib.sha256((tmp_path / "ranker" / name).read_bytes()).hexdigest() for name in FILES}
    (data,) = [entry for entry in found["components"] if entry["type"] == "data"]
    card = model["modelCard"]
    assert card["modelParameters"]["datasets"] == [{"ref": data["bom-ref"]}]
    assert digests(data) == "b" * 64
    assert digests(model["pedigree"]["ancestors"][0]) == "a" * 64
    assert card["modelParameters"]["task"] == "scoring pairs"
    assert [entry["format"] for entry in card["modelParameters"]["inputs"]] == ["user", "book", "title", "age"]
    assert card["quantitativeAnalysis"]["performanceMetrics"] == [
        {"type": "auc", "value": "0.75", "slice": "validation"},
        {"type": "ndcg@10", "value": "0.5", "slice": "validation"},
    ]
    assert bom(tmp_path / "ranker") == found
    printed = CliRunner().invoke(app, ["bom", str(tmp_path / "ranker")])
    assert json.loads(printed.output) == found


def test_what_the_manifest_does_not_say_is_left_out(tmp_path):
    for i, lineage in enumerate(({}, 5, {"original": 5, "data": "x" * 64, "metrics": []})):
        write(artifact(next_item(), lineage=lineage), tmp_path / str(i))
        found = bom(tmp_path / str(i))
        assert "pedigree" not in found["metadata"]["component"]
        assert "datasets" not in found["metadata"]["component"]["modelCard"]["modelParameters"]
        assert "quantitativeAnalysis" not in found["metadata"]["component"]["modelCard"]
        assert {entry["type"] for entry in found["components"]} == {"file"}
