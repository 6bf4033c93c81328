"""Searching a task of a run through the command line, as a user would."""

import json

import pytest
import yaml
from typer.testing import CliRunner

import recprune
from recprune.cli.main import app
from recprune.errors import RecpruneError
from recprune.pruning.recipe import Recipe
from tests.pipeline.toy import write_log

pytest.importorskip("optuna")

CONFIG = """
name: toy
data: log.yaml
tasks:
  like: {kind: like, min_readings: 1, gate: "auc:0.2", ship: none, recipes: {none: {steps: []}}}
  next: {kind: next_item, min_reads: 3, l2: 5, gate: "ndcg@10:50%", ship: none, recipes: {none: {steps: []}}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    write_log(folder)
    (folder / "toy.yaml").write_text(CONFIG, encoding="utf-8")
    return folder


def call(folder, *given):
    return CliRunner().invoke(app, ["search", str(folder / "toy.yaml"), "--runs", str(folder / "runs"), *given])


@pytest.mark.parametrize("task", ["like", "next"])
def test_a_search_leaves_an_artifact_a_recipe_and_a_page(folder, task):
    drop = {"like": "auc:0.1", "next": "ndcg@10:60%"}[task]
    result = call(folder, "--task", task, "--max-drop", drop, "--trials", "8", "--retrain", "1")
    assert result.exit_code in (0, 1), (result.output, result.exception)
    place = folder / "runs/toy" / task / "search"
    found = json.loads((place / "search.json").read_text(encoding="utf-8"))
    assert result.exit_code == (0 if found["gate"]["passed"] else 1)
    files = list((place / "artifact").iterdir())
    assert found["chosen"]["disk_bytes"] == sum(file.stat().st_size for file in files)
    assert found["chosen"]["ratio"] == found["original_bytes"] / found["chosen"]["disk_bytes"] > 1
    recprune.load(place / "artifact")
    assert len(found["tried"]) >= 3
    # Only a model that is trained by steps can be retrained.
    assert any(trial["retrained"] for trial in found["tried"]) == (task == "like")
    (recipe,) = yaml.safe_load((place / "recipe.yaml").read_text(encoding="utf-8")).values()
    assert Recipe.from_json(recipe).to_json() == found["chosen"]["recipe"]
    for ratio, point in found["family"].items():
        assert point["ratio"] >= int(ratio)
        recprune.load(place / "family" / f"{ratio}x")
    page = (place / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 1
    assert "one standard error" in page
    assert "one standard error" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((), "a search needs a constraint"),
        (("--size", "5 parsecs"), "size '5 parsecs' is no number with a unit, such as 500kB"),
        (("--size", "0kB"), "size '0kB' must be above zero, such as 500kB"),
        (("--ratio", "-5"), "must be a number from 1 on, got -5"),
        (("--ratio", "0"), "must be a number from 1 on, got 0"),
        (("--ratio", "nan"), "must be a number from 1 on, got nan"),
        (("--max-drop", "auc:-1"), "rule 'auc:-1' is not metric:drop"),
        (("--size", "10b", "--trials", "8"), "nothing that was tried fits into 10 bytes; the smallest has"),
        (("--max-drop", "ndcg@10:1%"), r"the search judges auc, gauc, logloss, calibration_error, not 'ndcg@10'"),
        (("--ratio", "2", "--time-limit", "0s"), "time limit '0s' must be above zero, such as 30m"),
        (("--ratio", "2", "--time-limit", "soon"), "time limit 'soon' is no number with a unit, such as 30m"),
    ],
)
def test_what_cannot_be_had_is_one_line(folder, given, message):
    result = call(folder, "--task", "like", *given)
    assert isinstance(result.exception, RecpruneError)
    assert "\n" not in str(result.exception)
    with pytest.raises(RecpruneError, match=message):
        raise result.exception
