"""Auditing a task of a run through the command line, as a user would."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from recprune.cli.main import app
from recprune.errors import RecpruneError
from recprune.evaluation import read_summary
from recprune.pipeline.audit import audit_task
from recprune.pipeline.config import read_config
from recprune.pipeline.run import Run
from recprune.pipeline.subjects import subject_of
from tests.pipeline.toy import write_log

CONFIG = """
name: toy
data: log.yaml
tasks:
  like:
    kind: like
    statistics: false
    min_readings: 1
    gate: "auc:0.2"
    ship: merged
    recipes:
      merged: {steps: [min_users: {target: "tables.*", k: 3}, quantize: {target: "*", bits: 4}]}
  next:
    kind: next_item
    min_reads: 3
    l2: 5
    gate: "ndcg@10:50%"
    ship: small
    recipes:
      small: {steps: [keep_top: {target: item_weights, per_column: 4}]}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    write_log(folder, users=80, items=40)
    (folder / "toy.yaml").write_text(CONFIG, encoding="utf-8")
    return folder


def call(folder, task, *given):
    options = ["--task", task, "--shadows", "4", "--rows", "200", "--users", "20", "--runs", str(folder / "runs")]
    return CliRunner().invoke(app, ["audit", str(folder / "toy.yaml"), *options, *given])


@pytest.mark.parametrize("task", ["like", "next"])
def test_an_audit_attacks_both_models_and_is_not_done_twice(folder, task):
    result = call(folder, task)
    assert result.exit_code == 0, (result.output, result.exception)
    place = folder / "runs/toy" / task / "audit"
    found = json.loads((place / "audit.json").read_text(encoding="utf-8"))
    assert set(found["membership"]) == {"interactions", "users"}
    for of in found["membership"].values():
        assert set(of["attacks"]) == {"loss", "offline", "ratio"}
        for values in of["attacks"]["ratio"]["values"].values():
            assert values["auc"]["low"] <= values["auc"]["value"] <= values["auc"]["high"]
        assert set(of["attacks"]["ratio"]["differences"]) == {
            "compressed - original",
            "both - original",
            "both - compressed",
        }
    assert "shipped" in found["membership"]["interactions"]
    assert "shipped" not in found["membership"]["users"]
    assert "an attacker with 4 shadow models" in " ".join(result.output.split())
    assert sorted(path.name for path in place.iterdir()) == sorted(
        ["audit.json", *(f"shadow-{i:02}.{kind}" for i in range(4) for kind in ("json", "npz"))]
    )
    stamps = {path: path.stat().st_mtime_ns for path in place.glob("shadow-*")}
    (place / "shadow-02.npz").unlink()
    assert call(folder, task).exit_code == 0
    again = {path: path.stat().st_mtime_ns for path in place.glob("shadow-*")}
    assert {path.name for path in again if again[path] != stamps[path]} == {"shadow-02.npz", "shadow-02.json"}
    # The same seed, so the same model: nothing of the result has changed.
    assert json.loads((place / "audit.json").read_text(encoding="utf-8")) == found


def test_rows_that_rest_on_few_users_are_counted_before_and_after(folder):
    assert call(folder, "like").exit_code == 0
    found = json.loads((folder / "runs/toy/like/audit/audit.json").read_text(encoding="utf-8"))
    tables = {line["table"]: line for line in found["rare_rows"]["tables"]}
    # A user's own row rests on one user: 80 of 80 before, none is left by min_users.
    assert tables["tables.user.factor"]["original"] == {"rows": 80, "rare": 80}
    assert tables["tables.user.factor"]["compressed"] == {"rows": 0, "rare": 0}
    assert tables["tables.item.bias"]["original"]["rows"] == 40
    assert tables["tables.author.factor"]["original"] == {"rows": 7, "rare": 0}
    assert set(found["attributes"]) == {"age", "country"}
    # All users read one row now, and nothing can be guessed from that.
    assert all(of["gain"]["compressed"]["value"] <= 0 for of in found["attributes"].values())


@pytest.mark.parametrize("task", ["like", "next"])
def test_what_is_absent_is_nowhere_and_what_is_present_is_in_training(folder, task):
    run = Run(read_config(folder / "toy.yaml"), folder / "other")
    whole = run.task(task)
    subject = subject_of(whole, 200, 20, 0)
    units = subject.units
    assert units.of_users.sum() == 8  # a tenth of 80
    assert units.trained[~units.of_users].mean() == 0.5
    present = np.random.default_rng(0).random(len(units.user)) < 0.5
    data = subject.without(present, 7).data
    gone = units.user[units.of_users & ~present]
    kept = units.user[units.of_users & present]
    if task == "like":
        for part in ("train", "valid", "implicit"):
            assert not set(getattr(data, part)["user"]) & set(gone)
        assert len(data.labels["train"]) == len(data.train)
        assert ((data.train["rating"] >= 8).to_numpy() == data.labels["train"]).all()
        pairs = set(data.train.select("user", "item").iter_rows())
        asked = subject.frame[units.rows].select("user", "item").rows()
        before = set(whole.data.train.select("user", "item").iter_rows())
        free = set(whole.data.train.filter(~whole.data.train["user"].is_in(list(kept) + list(gone)))["user"])
        assert {p for p in before if p[0] in free} - pairs <= set(asked)
    else:
        assert all(not len(data.histories[u]) and not len(data.relevant["valid"][u]) for u in gone)
        pairs = {(u, i) for u, items in enumerate(data.histories) for i in items.tolist()}
        asked = list(zip(subject.user[units.rows].tolist(), subject.item[units.rows].tolist(), strict=True))
        assert data.user_items.nnz == len(pairs) == data.counts[: data.catalogue].sum()
    for pair, unit in zip(asked, units.unit, strict=True):
        assert (pair in pairs) == present[unit]


def test_the_page_of_a_run_gets_a_section(folder):
    runs = ["--runs", str(folder / "runs")]
    assert CliRunner().invoke(app, ["run", str(folder / "toy.yaml"), *runs]).exit_code in (0, 1)
    assert call(folder, "next").exit_code == 0
    summary = read_summary(folder / "runs/toy/summary.json")
    assert summary["tasks"]["next"]["privacy"]["shadows"] == 4
    page = (folder / "runs/toy/report.html").read_text(encoding="utf-8")
    assert "What an attacker learns" in page
    assert "Guessing is right in 50 %." in page
    # A run whose artifacts are the same keeps it.
    assert CliRunner().invoke(app, ["run", str(folder / "toy.yaml"), *runs]).exit_code in (0, 1)
    assert "privacy" in read_summary(folder / "runs/toy/summary.json")["tasks"]["next"]


def test_what_cannot_be_audited_is_said(folder):
    run = Run(read_config(folder / "toy.yaml"), Path(folder / "runs"))
    with pytest.raises(RecpruneError, match="4 shadow models or more, got 3"):
        audit_task(run, "like", shadows=3)
