"""A whole run on a small log: through the command line, as a user would."""

import errno
import json
import os

import numpy as np
import pytest
from typer.testing import CliRunner

import recprune
from recprune.cli.main import app
from recprune.errors import RecpruneError
from recprune.evaluation import read_summary
from recprune.pipeline.config import read_config
from recprune.pipeline.run import Run
from tests.pipeline.toy import write_log

CONFIG = """
name: toy
data: log.yaml
tasks:
  like:
    kind: like
    min_readings: 1
    gate: auc:0.2
    ship: small
    recipes:
      small:
        fingerprint: 8
        steps:
          - drop_rows: {target: "tables.*.factor", budget: {uniform: 0.5}}
          - retrain: {epochs: 1}
          - quantize: {target: "*", bits: 8, granularity: per_column}
      codes:
        steps: [{codebook: {target: "tables.*.factor", bits: 4}}]
  next:
    kind: next_item
    min_reads: 3
    l2: 5
    gate: ndcg@10:50%
    ship: few
    recipes:
      few: {steps: [{keep_top: {target: item_weights, per_column: 8}}]}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    write_log(folder)
    (folder / "toy.yaml").write_text(CONFIG, encoding="utf-8")
    result = CliRunner().invoke(app, ["run", str(folder / "toy.yaml"), "--runs", str(folder / "runs")])
    assert result.exit_code == 0, (result.output, result.exception)
    return folder, result.output


def test_a_run_leaves_artifacts_a_summary_and_a_page(run):
    folder, output = run
    summary = read_summary(folder / "runs/toy/summary.json")
    assert set(summary["tasks"]) == {"like", "next"}
    for name, task in summary["tasks"].items():
        files = list((folder / "runs/toy" / name / "artifact").iterdir())
        assert task["size"]["compressed"]["disk_bytes"] == sum(file.stat().st_size for file in files)
        assert task["size"]["ratio"]["disk"] > 1
        assert task["gate"]["passed"]
    assert summary["tasks"]["like"]["metrics"]["auc"]["original"]["value"] > 0.7
    page = (folder / "runs/toy/report.html").read_text(encoding="utf-8")
    assert "<html" in page
    assert "report.html" in output


def test_the_artifacts_answer_from_raw_ids(run):
    folder, _ = run
    like = recprune.load(folder / "runs/toy/like/artifact")
    row = {"user": ["u000", "nobody"], "item": ["b00", "b01"], "author": ["author 0", None], "country": ["peru", None],
           "age": [None, 20]}  # fmt: skip
    scores = like.score(row)
    assert scores.shape == (2,)
    assert ((scores >= 0) & (scores <= 1)).all()
    assert scores[0] > 0.5  # every third book is liked by nine readers of ten
    nxt = recprune.load(folder / "runs/toy/next/artifact")
    answer = nxt.top_k([["b00", "b02", "b04"], []], 5)
    # Readers of even books read even books; nobody's history is answered by popularity, and said to be.
    assert sum(int(book[1:]) % 2 == 0 for book in answer.ids[0]) >= 4
    assert answer.fallback.tolist() == [False, True]
    assert not set(answer.ids[0]) & {"b00", "b02", "b04"}


def test_a_second_run_does_nothing_and_a_change_only_what_it_touches(run):
    folder, _ = run
    again = CliRunner().invoke(app, ["run", str(folder / "toy.yaml"), "--runs", str(folder / "runs")])
    assert again.exit_code == 0
    assert "done in" not in again.output
    assert again.output.count("as before") >= 10
    (folder / "gate.yaml").write_text(CONFIG.replace("auc:0.2", "auc:0"), encoding="utf-8")
    changed = CliRunner().invoke(
        app, ["evaluate", str(folder / "gate.yaml"), "--runs", str(folder / "runs"), "--task", "like"]
    )
    assert "done in" not in changed.output
    small = CONFIG.replace("per_column: 8", "per_column: 6")
    (folder / "recipe.yaml").write_text(small, encoding="utf-8")
    other = CliRunner().invoke(
        app, ["evaluate", str(folder / "recipe.yaml"), "--runs", str(folder / "runs"), "--task", "next"]
    )
    lines = [" ".join(line.split()) for line in other.output.splitlines()]
    assert any("train: as before" in line for line in lines)
    assert any("compress: done in" in line for line in lines)


def test_what_was_killed_is_done_again(run):
    folder, _ = run
    stage = folder / "runs/toy/like/evaluate.json"
    before = json.loads(stage.read_text(encoding="utf-8"))
    stage.write_text(stage.read_text(encoding="utf-8")[:100], encoding="utf-8")
    result = CliRunner().invoke(
        app, ["evaluate", str(folder / "toy.yaml"), "--runs", str(folder / "runs"), "--task", "like"]
    )
    assert "evaluate: done in" in " ".join(result.output.split())
    after = json.loads(stage.read_text(encoding="utf-8"))
    assert after["result"]["metrics"] == before["result"]["metrics"]


def test_max_drop_makes_the_exit_status_say_so(run):
    folder, _ = run
    base = ["evaluate", str(folder / "toy.yaml"), "--runs", str(folder / "runs"), "--task", "like"]
    assert CliRunner().invoke(app, [*base, "--max-drop", "auc:0.5"]).exit_code == 0
    # No model is better than itself by half: a rule of the impossible kind fails.
    summary = read_summary(folder / "runs/toy/summary.json")
    drop = -summary["tasks"]["like"]["metrics"]["logloss"]["difference"]["value"]
    expected = 1 if drop < 0 else 0
    assert CliRunner().invoke(app, [*base, "--max-drop", "logloss:0"]).exit_code == expected


def test_analyze_prints_json(run):
    folder, _ = run
    result = CliRunner().invoke(app, ["analyze", str(folder / "toy.yaml"), "--runs", str(folder / "runs"), "--json"])
    found = json.loads(result.output[result.output.index("{") :])
    blocks = {block["name"]: block["bytes"] for block in found["like"]["blocks"]}
    assert {"user id", "item id", "user ratings", "user history", "user x author"} <= set(blocks)
    assert np.all(np.array(list(blocks.values())) > 0)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("gate: auc:0.2", "gaet: auc:0.2", r"unknown key in .*task like: 'gaet'; did you mean 'gate'\?"),
        ("kind: like", "kind: liek", r"'liek'; did you mean 'like'\?"),
        ("ship: small", "ship: smal", r"unknown recipe to ship 'smal'; did you mean 'small'\?"),
        ("drop_rows", "drop_row", r"unknown step 'drop_row'; did you mean 'drop_rows'\?"),
        ("min_readings: 1", "min_readings: many", r"min_readings must be int, got 'many'"),
        ("min_readings: 1", "min_readings: -1", "ids are read 1 time or more, got 8 and -1"),
        ("min_readings: 1", "width: 1000000000", "a width is 0 to 65,536.*got 1000000000"),
        (
            "min_readings: 1",
            "statistics: false\n    width: 0",
            "width 0 leaves a model without statistics nothing to read",
        ),
        ("min_readings: 1", "trained_small: [[0, -3]]", "got 0 and -3"),
        ("min_readings: 1", "trained_small: [3]", r"trained_small is a list of \[width, min_readings\].*got \[3\]"),
        ("min_readings: 1", "trained_small:", "trained_small is a list of .*got None"),
        ("data: log.yaml", "", "lacks 'data'"),
        ("tasks:", "tasks: [", "not valid YAML"),
    ],
)
def test_a_wrong_configuration_is_one_line_before_any_work(tmp_path, old, new, message):
    path = tmp_path / "bad.yaml"
    path.write_text(CONFIG.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(RecpruneError, match=message) as caught:
        read_config(path)
    assert "\n" not in str(caught.value)


def test_the_command_prints_one_line_and_status_2(tmp_path, capsys, monkeypatch):
    from recprune.cli.main import main

    monkeypatch.setattr("sys.argv", ["recprune", "run", str(tmp_path / "none.yaml")])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "cannot read" in err
    assert "Traceback" not in err


def test_a_budget_that_cannot_be_met_says_what_the_smallest_is(run, tmp_path):
    folder, _ = run
    text = CONFIG.replace("{uniform: 0.5}", "{total_bytes: 10}")
    (folder / "tight.yaml").write_text(text, encoding="utf-8")
    result = CliRunner().invoke(
        app, ["compress", str(folder / "tight.yaml"), "--runs", str(folder / "runs"), "--task", "like"]
    )
    assert isinstance(result.exception, RecpruneError)
    assert "the smallest for" in str(result.exception)


def test_a_full_disk_is_one_line_and_the_stage_is_not_there(run, tmp_path, monkeypatch):
    folder, _ = run
    config = read_config(folder / "toy.yaml")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("numpy.savez", full)
    with pytest.raises(RecpruneError, match=r"^peers stopped: .*like: No space left on device$"):
        Run(config, tmp_path).stage("like", "peers")
    assert not (tmp_path / "toy/like/peers.json").exists()


def test_a_dry_run_says_what_each_part_would_become_and_trains_nothing(run, monkeypatch):
    folder, _ = run
    monkeypatch.setattr("recprune.adapters.tables.finetune", None)
    arguments = [str(folder / "toy.yaml"), "--runs", str(folder / "runs")]
    result = CliRunner().invoke(app, ["compress", *arguments, "--dry-run"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, (result.output, result.exception)
    assert "not now: retrain for up to 1 epochs" in result.output
    assert "tables.user.bias" in result.output
    planned = json.loads((folder / "runs/toy/like/plan.json").read_text())["result"]
    done = json.loads((folder / "runs/toy/like/compress.json").read_text())["result"]
    for name in ("small", "codes"):
        assert planned[name]["plan"] == done[name]["plan"]


def test_importances_are_compared_where_they_are_asked_for(run):
    folder, _ = run
    arguments = [str(folder / "toy.yaml"), "--runs", str(folder / "runs"), "--task", "like"]
    result = CliRunner().invoke(app, ["analyze", *arguments, "--importance", "--json"])
    assert result.exit_code == 0, (result.output, result.exception)
    assert "importance: done in" in result.stderr
    found = json.loads(result.stdout)["like"]  # and nothing else is there
    assert isinstance(found["importance"], list)
    assert all("shuffled" in block for block in found["blocks"] if "difference" in block)


def test_a_log_that_changed_is_worked_on_anew_and_one_that_was_touched_is_not(tmp_path):
    write_log(tmp_path)
    head, _, rest = CONFIG.partition("  like:\n")
    (tmp_path / "toy.yaml").write_text(head + rest[rest.index("  next:\n") :], encoding="utf-8")
    runs, config = tmp_path / "runs", read_config(tmp_path / "toy.yaml")
    log = tmp_path / "log.csv"
    Run(config, runs).stage("next", "train")
    os.utime(log)
    assert Run(config, runs).done("next", "train")
    lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
    log.write_text("".join(lines[:-1]), encoding="utf-8")
    assert not Run(config, runs).done("next", "train")
