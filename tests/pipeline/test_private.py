"""A private task: what its manifests say, what its recipes may not do, and what is refused."""

import json

import pytest
from typer.testing import CliRunner

from recprune.artifact import read
from recprune.cli.main import app
from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.pipeline.config import read_config
from recprune.pipeline.private import Watch, at_most
from recprune.pruning.recipe import Recipe
from tests.pipeline.toy import write_log

CONFIG = """
name: toy
data: log.yaml
tasks:
  like:
    kind: like
    statistics: false
    min_readings: 1
    width: 4
    private: {epsilon: 50, unit: interaction}
    gate: auc:0.5
    ship: codes
    recipes:
      codes:
        fingerprint: 8
        steps: [{quantize: {target: "*", bits: 8, granularity: per_column}}]
      fitted:
        steps: [{fit_bytes: {bytes: 16000}}]
      rare:
        steps:
          - drop_rows: {target: "tables.item.*", budget: {uniform: 0.5}, importance: popularity}
          - min_users: {target: "tables.author.*", k: 2}
"""
SPENT = {"unit", "epsilon", "delta", "noise", "clip", "rate", "steps", "not_covered"}


def write_config(folder, text=CONFIG):
    write_log(folder, users=60, items=240)
    (folder / "toy.yaml").write_text(text, encoding="utf-8")
    return folder / "toy.yaml"


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    folder = tmp_path_factory.mktemp("private")
    path = write_config(folder)
    result = CliRunner().invoke(app, ["compress", str(path), "--runs", str(folder / "runs")])
    assert result.exit_code == 0, (result.output, result.exception)
    return folder / "runs/toy/like"


def test_the_manifest_of_the_original_says_what_was_spent(task):
    found = read(task / "original").metadata["private"]
    assert set(found) == SPENT
    assert found["unit"] == "interaction"
    assert 0 < found["epsilon"] <= 50
    assert found["clip"] == 1.0
    assert [line.split(":")[0] for line in found["not_covered"]] == ["ids", "epochs"]
    assert json.loads((task / "train.json").read_text(encoding="utf-8"))["result"]["private"] == found


def test_what_was_spent_goes_with_the_compressed_model(task):
    original, compressed = (read(task / part).metadata["private"] for part in ("original", "artifact"))
    # Codes read nothing of the log.
    lines = [*original["not_covered"], "metrics: measured on validation rows"]
    assert compressed == {**original, "not_covered": lines}


def test_steps_that_read_the_log_are_named_with_what_they_read(task):
    lines = read(task / "tried/fitted").metadata["private"]["not_covered"][3:]
    assert sorted(lines) == [
        "fit_bytes: how often rows are read", "fit_bytes: what the model says to validation rows",
    ]  # fmt: skip
    files = list((task / "tried/fitted").iterdir())
    assert sum(file.stat().st_size for file in files) <= 16000
    lines = read(task / "tried/rare").metadata["private"]["not_covered"][3:]
    assert lines == ["drop_rows: how often rows are read", "min_users: how many users read a row"]


def test_room_is_kept_for_all_that_a_recipe_could_read():
    recipe = Recipe.from_json({"steps": [{"fit_bytes": {"bytes": 9000}}]})
    assert len(at_most(recipe)) == 4
    assert set(at_most(recipe)) >= {"fit_bytes: how often rows are read", "fit_bytes: gradients of training rows"}


def test_a_step_that_trains_in_passing_is_refused():
    recipe = Recipe.from_json({"steps": [{"sparsify": {"target": "*", "keep": 0.5}}]})

    class Asks(type(recipe.steps[0])):
        def __call__(self, weights, context):
            return context.trainer(weights, {}, print)

    with pytest.raises(RecpruneError, match="sparsify trains on the log without noise; leave it out"):
        Watch()(Asks("*", keep=0.5), None, Context(trainer=lambda weights, settings, say: weights))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("statistics: false", "statistics: true", "private needs statistics: false"),
        (
            "[{quantize: {target",
            "[{retrain: {epochs: 1}}, {quantize: {target",
            "recipe codes: retrain trains on the log",
        ),
        ("epsilon: 50", "epsilon: -1", "epsilon of private training must be a number above 0, got -1"),
        ("epsilon: 50", "epsilonn: 50", "did you mean 'epsilon'"),
        ("{epsilon: 50, unit: interaction}", "8", "private must be a mapping, got 8"),
    ],
)
def test_a_private_task_that_cannot_be_is_refused_before_any_work(tmp_path, old, new, message):
    path = write_config(tmp_path, CONFIG.replace(old, new, 1))
    with pytest.raises(RecpruneError, match=message):
        read_config(path)


def test_a_search_of_a_private_task_is_refused(tmp_path):
    path, runs = str(write_config(tmp_path)), str(tmp_path / "runs")
    result = CliRunner().invoke(app, ["search", path, "--task", "like", "--max-drop", "auc:0.1", "--runs", runs])
    assert result.exit_code != 0
    assert "search retrains and chooses by the log without noise" in str(result.exception)
    assert not (tmp_path / "runs/toy/like/original").exists()


@pytest.mark.slow
def test_a_task_private_by_user_is_evaluated_and_audited(tmp_path):
    path = write_config(tmp_path, CONFIG.replace(", unit: interaction", ""))
    for command in (["run"], ["audit", "--task", "like", "--shadows", "4", "--rows", "200", "--users", "20"]):
        result = CliRunner().invoke(app, [command[0], str(path), "--runs", str(tmp_path / "runs"), *command[1:]])
        assert result.exit_code == 0, (result.output, result.exception)
    task = tmp_path / "runs/toy/like"
    assert read(task / "artifact").metadata["private"]["unit"] == "user"
    assert "user" not in read(task / "original").vocabularies
    found = json.loads((task / "audit/audit.json").read_text(encoding="utf-8"))
    assert set(found["membership"]) == {"interactions", "users"}
