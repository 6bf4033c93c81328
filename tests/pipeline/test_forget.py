"""Forgetting users of a run: nothing of them is left, nobody tells them apart, and a kill at any moment does no harm."""

import hashlib
import json
import shutil
from contextlib import suppress

import numpy as np
import pytest
from typer.testing import CliRunner

from recprune.artifact import read
from recprune.cli.main import app
from recprune.errors import RecpruneError
from recprune.evaluation import read_summary
from recprune.pipeline import forget as module
from recprune.pipeline.config import read_config
from recprune.pipeline.forget import forget, stored_evidence
from recprune.pipeline.like import LikeTask
from recprune.pipeline.run import Run
from recprune.pipeline.shared import REPAIRED
from tests.pipeline.toy import write_log

NEXT = """
name: toy
data: log.yaml
tasks:
  next:
    kind: next_item
    min_reads: 3
    l2: 5
    gate: "ndcg@10:50%"
    ship: few
    recipes:
      few: {steps: [keep_top: {target: item_weights, per_column: 8}]}
"""
BOTH = (
    NEXT
    + """
  like:
    kind: like
    statistics: false
    min_readings: 1
    gate: "auc:0.2"
    ship: codes
    recipes:
      codes: {fingerprint: 16, steps: [quantize: {target: "*", bits: 8, granularity: per_column}]}
      exact: {steps: [quantize: {target: "*", bits: 4, granularity: per_column}]}
"""
)
GONE = "u007"


def write(folder, config, **sizes):
    write_log(folder, **sizes)
    (folder / "toy.yaml").write_text(config, encoding="utf-8")
    return Run(read_config(folder / "toy.yaml"), folder / "runs")


def call(folder, *users):
    given = [part for user in users for part in ("--user", user)]
    return CliRunner().invoke(app, ["forget", str(folder / "toy.yaml"), *given, "--runs", str(folder / "runs")])


def digest_of(run):
    return hashlib.sha256((run.folder / "next/artifact/manifest.json").read_bytes()).hexdigest()


def names_of(folder, name):
    return [path for path in folder.rglob("*") if path.is_file() and name.encode() in path.read_bytes()]


def row_of(path, user):
    return int(read(path).vocabularies["user"].lookup(np.array([user], dtype=object))[0])


@pytest.fixture(scope="module")
def forgotten(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forget")
    run = write(folder, BOTH, users=100, items=40)
    for task in run.config.tasks:
        run.stage(task, "compress")
    assert row_of(run.folder / "like/original", GONE) < 100
    (run.folder / "next/search").mkdir()
    (run.folder / "next/search/search.json").write_text(GONE, encoding="utf-8")
    (run.folder / "old task").mkdir()
    (run.folder / "old task/train.json").write_text(GONE, encoding="utf-8")
    (run.folder / "notes.txt").write_text("mine", encoding="utf-8")
    log = (folder / "log.csv").read_bytes()
    result = call(folder, GONE)
    assert result.exit_code == 0, (result.output, result.exception)
    return folder, log, " ".join(result.output.split())


def test_nothing_of_the_run_names_the_user(forgotten):
    folder, log, said = forgotten
    assert names_of(folder / "runs", GONE) == []
    assert not (folder / "runs/toy/.forgetting").exists()
    assert (folder / "runs/toy/notes.txt").read_text(encoding="utf-8") == "mine"
    assert not (folder / "runs/toy/old task").exists()
    assert "removed, and not made again:" in said
    assert (folder / "log.csv").read_bytes() == log
    assert f"still in {folder / 'log.csv'}, which is not recprune's to change" in said
    assert said.endswith("forgotten: 1 user; next: trained again; like: one epoch more without forgotten users")


def test_every_artifact_takes_the_user_for_one_unknown(forgotten):
    folder = forgotten[0] / "runs/toy/like"
    for name in ("original", "artifact", "tried/exact"):
        assert row_of(folder / name, GONE) == len(read(folder / name).vocabularies["user"]) == 99
        assert row_of(folder / name, "u006") < 99


def test_who_was_told_apart_is_so_no_longer(forgotten):
    folder, *_, said = forgotten
    for task in ("next", "like"):
        shown = stored_evidence(folder / "runs/toy" / task)
        (entry,) = shown["users"]
        assert entry["beside"] == 10
        for side in ("original", "compressed"):
            assert entry[side]["after"]["further"] >= 0.01
            assert abs(entry[side]["after"]["deviations"]) < 3
    (entry,) = stored_evidence(folder / "runs/toy/next")["users"]
    assert entry["original"]["before"]["deviations"] > 3
    assert entry["original"]["before"]["further"] == 0
    assert "told 1 apart from users never seen, and tells 0 now" in said


PRIVATE = """
name: toy
data: log.yaml
tasks:
  like:
    kind: like
    statistics: false
    min_readings: 1
    width: 4
    private: {epsilon: 50, unit: interaction}
    gate: "auc:0.5"
    ship: codes
    recipes:
      codes: {steps: [quantize: {target: "*", bits: 8, granularity: per_column}]}
"""


def test_a_private_model_is_trained_again_with_its_noise(tmp_path):
    run = write(tmp_path, PRIVATE, users=60, items=30)
    run.stage("like", "compress")
    before = read(run.folder / "like/original").metadata["private"]
    assert row_of(run.folder / "like/original", GONE) < 60
    assert forget(run, [GONE], models=0)["tasks"] == {"like": {"how": "trained again"}}
    assert names_of(run.folder, GONE) == []
    for name in ("original", "artifact"):
        after = read(run.folder / "like" / name)
        assert row_of(run.folder / "like" / name, GONE) == len(after.vocabularies["user"]) == 59
        # A training of its own, so its epsilon is whole, and not added to that of the model that is gone.
        assert 0 < after.metadata["private"]["epsilon"] <= 50
        assert after.metadata["private"]["noise"] == pytest.approx(before["noise"], rel=0.1)


def test_evidence_is_of_the_artifacts_that_are_there(forgotten, tmp_path):
    task = shutil.copytree(forgotten[0] / "runs/toy/next", tmp_path / "next")
    assert stored_evidence(task) is not None
    manifest = task / "artifact/manifest.json"
    manifest.write_bytes(manifest.read_bytes() + b" ")
    assert stored_evidence(task) is None
    assert stored_evidence(tmp_path) is None


def test_stages_are_as_before_and_a_second_call_says_so(forgotten):
    folder = forgotten[0]
    lines = []
    run = Run(read_config(folder / "toy.yaml"), folder / "runs", lambda task, line: lines.append(line))
    for task in run.config.tasks:
        run.stage(task, "compress")
    assert lines == ["train: as before", "compress: as before"] * 2
    assert GONE not in set(run.log().interactions["user"]) | set(run.log().users["user"])
    assert run.log().repairs["users forgotten"] == 1
    again = call(folder, GONE)
    assert again.exit_code == 0
    assert again.output.splitlines()[-1] == "already forgotten: nothing to do"
    refused = call(folder, GONE, "nobody")
    assert isinstance(refused.exception, RecpruneError)
    assert str(refused.exception) == "user 'nobody' is not in the log toy; forget users before they are deleted there"


def test_the_repaired_model_is_as_good(forgotten):
    folder = forgotten[0] / "runs/toy/like"
    train = json.loads((folder / "train.json").read_text(encoding="utf-8"))["result"]
    assert train["original"].endswith("one epoch more without forgotten users")
    assert len(train["history"]) == 1
    assert train["history"][0]["auc"] > 0.6


@pytest.mark.parametrize("killed_at", [None, "undo", "train"])
def test_where_a_repair_is_not_enough_the_model_is_trained_from_scratch(tmp_path, monkeypatch, killed_at):
    """Witnesses of so small a log tell nothing, so the verdict is given."""
    like = "{kind: like, statistics: false, gate: 'auc:0.5', ship: a, recipes: {a: {steps: []}}}"
    run = write(tmp_path, f"name: toy\ndata: log.yaml\ntasks: {{one: {like}}}", users=60, items=30)
    run.stage("one", "compress")
    monkeypatch.setattr(module, "told_apart", lambda users: True)
    if killed_at:
        with monkeypatch.context() as patched:
            owner = Run if killed_at == "undo" else LikeTask
            patched.setattr(owner, killed_at, lambda *_: (_ for _ in ()).throw(Killed))
            # The witnesses are trained too, so the second kill comes at the first of them, before any verdict.
            with pytest.raises(Killed):
                forget(Run(run.config, tmp_path / "runs"), ["u003"])
    found = forget(Run(run.config, tmp_path / "runs"), ["u003"])["tasks"]["one"]
    assert found["how"] == "trained from scratch, a repair being not enough"
    new = Run(run.config, tmp_path / "runs")
    assert new.done("one", "compress")
    assert "repaired" not in new.stage("one", "train")
    shown = stored_evidence(new.folder / "one")
    assert [entry["asked"] for entry in shown["repair"]] == [entry["asked"] for entry in shown["users"]]
    assert shown["repair"][0]["original"]["before"] == shown["users"][0]["original"]["before"]
    assert shown["repair"][0]["original"]["after"] != shown["users"][0]["original"]["after"]


def test_a_whole_run_is_made_again_and_its_page_tells(tmp_path):
    run = write(tmp_path, NEXT, users=60, items=30)
    named = run.summary()["tasks"]["next"]["readers"][0]["user"]
    assert names_of(run.folder, named)
    assert call(tmp_path, named).exit_code == 0
    summary = read_summary(tmp_path / "runs/toy/summary.json")
    assert summary["data"]["users"] == 59
    assert summary["tasks"]["next"]["forgetting"]["models"] == 4
    page = (tmp_path / "runs/toy/report.html").read_text(encoding="utf-8")
    assert "Users who were forgotten" in page
    assert names_of(tmp_path / "runs", named) == []
    lines = []
    Run(read_config(tmp_path / "toy.yaml"), tmp_path / "runs", lambda task, line: lines.append(line)).summary()
    assert all(line.endswith("as before") for line in lines)


class Killed(BaseException):
    pass


def killing(monkeypatch, after):
    """Stop at the call number `after` of what changes files, before it is done; gives the count of calls."""
    count = [0]

    def counting(do):
        def counted(*given, **more):
            count[0] += 1
            if count[0] == after:
                raise Killed
            return do(*given, **more)

        return counted

    places = ((module, "write_bytes"), (module.os, "replace"), (module.shutil, "rmtree"), (module, "drop_cached"))
    for owner, name in places:
        monkeypatch.setattr(owner, name, counting(getattr(owner, name)))
    return count


def test_a_kill_at_any_moment_leaves_the_old_state_or_one_that_is_gone_on_from(tmp_path, monkeypatch):
    run = write(tmp_path, NEXT, users=40, items=20)
    run.stage("next", "compress")
    old = digest_of(run)
    (run.folder / "report.html").write_text("u003", encoding="utf-8")
    start = shutil.copytree(tmp_path / "runs", tmp_path / "start")
    after, committed = 0, []
    while True:
        after += 1
        shutil.rmtree(tmp_path / "runs")
        shutil.copytree(start, tmp_path / "runs")
        with monkeypatch.context() as patched:
            count = killing(patched, after)
            with suppress(Killed):
                forget(Run(run.config, tmp_path / "runs"), ["u003"], models=0)
        reopened = Run(run.config, tmp_path / "runs")
        if "u003" in reopened.forgotten:
            committed.append(after)
            # Nothing that was made with the user counts as done any more.
            assert not reopened.done("next", "compress") or digest_of(reopened) != old
        else:
            assert digest_of(reopened) == old
            assert reopened.done("next", "compress")
        forget(reopened, ["u003"], models=0)
        final = Run(run.config, tmp_path / "runs")
        assert final.done("next", "compress")
        assert digest_of(final) != old
        assert sorted(path.name for path in final.folder.iterdir()) == ["forgotten.json", "next"]
        assert names_of(tmp_path / "runs", "u003") == []
        if count[0] < after:
            break
    assert after > 10
    assert committed
    assert min(committed) > 5


@pytest.mark.parametrize(
    ("task", "how"),
    [
        ("kind: next_item, min_reads: 3, model: als, width: 4", "trained again"),
        ("kind: next_item, min_reads: 3, model: two_tower, width: 4", REPAIRED),
        ("kind: like, model: forest", "trained again"),
        ("kind: like, model: deepfm, width: 2", REPAIRED),
    ],
)
def test_every_kind_of_model_is_trained_without_the_user(tmp_path, task, how):
    one = f"name: toy\ndata: log.yaml\ntasks: {{one: {{{task}, gate: 'x:1', ship: a, recipes: {{a: {{steps: []}}}}}}}}"
    run = write(tmp_path, one.replace("x:1", "auc:0.5" if "like" in task else "ndcg@10:50%"), users=60, items=30)
    run.stage("one", "train")
    before = Run(run.config, tmp_path / "runs").task("one").model(run.folder / "one")
    assert forget(run, ["u003"], models=0)["tasks"] == {"one": {"how": how}}
    new = Run(run.config, tmp_path / "runs")
    assert new.done("one", "train")
    assert not new.done("one", "compress")
    assert type(new.task("one").model(new.folder / "one")) is type(before)


def test_what_was_begun_for_others_is_dropped(tmp_path, monkeypatch):
    run = write(tmp_path, NEXT, users=40, items=20)
    run.stage("next", "compress")
    with monkeypatch.context() as patched:
        patched.setattr(module, "_commit", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            forget(Run(run.config, tmp_path / "runs"), ["u003", "u004"], models=0)
    found = forget(Run(run.config, tmp_path / "runs"), ["u004"], models=0)
    assert found["forgotten"] == 1
    last = Run(run.config, tmp_path / "runs")
    assert "u004" in last.forgotten
    assert "u003" not in last.forgotten
    found = forget(last, ["u003", "u004"], models=0)
    assert found["forgotten"] == 1  # the other one was already
    assert len(Run(run.config, tmp_path / "runs").forgotten) == 2


def test_a_user_is_left_out_of_what_was_not_trained_yet(tmp_path):
    run = write(tmp_path, NEXT, users=40, items=20)
    assert forget(run, ["u003"])["tasks"] == {}
    assert "u003" not in set(Run(run.config, tmp_path / "runs").log().interactions["user"])


def test_a_damaged_list_is_not_taken_for_nobody(tmp_path):
    run = write(tmp_path, NEXT, users=40, items=20)
    forget(run, ["u003"])
    (run.folder / "forgotten.json").write_text("{", encoding="utf-8")
    with pytest.raises(RecpruneError, match=r"forgotten\.json is no list of forgotten users"):
        Run(run.config, tmp_path / "runs")


def test_too_few_models_are_refused(tmp_path):
    run = write(tmp_path, NEXT, users=40, items=20)
    with pytest.raises(RecpruneError, match="needs 4 models or more, got 3"):
        forget(run, ["u003"], models=3)


def test_a_key_is_asked_for_where_artifacts_are_signed(tmp_path):
    from recprune.trust import generate, sign_artifact, verify_artifact

    run = write(tmp_path, NEXT, users=40, items=20)
    run.stage("next", "compress")
    public = generate(tmp_path / "release")
    sign_artifact(run.folder / "next/artifact", tmp_path / "release")
    with pytest.raises(RecpruneError, match="artifact is signed, and the configuration names no key"):
        forget(run, ["u003"], models=0)
    forget(run, ["u003"], models=0, key=tmp_path / "release")
    for name in ("original", "artifact"):
        assert verify_artifact(run.folder / "next" / name, public)


def test_users_of_whom_nothing_was_trained_on_are_not_asked_for(tmp_path):
    run = write(tmp_path, NEXT, users=40, items=20)
    lines = (tmp_path / "log.csv").read_text(encoding="utf-8").splitlines()
    (tmp_path / "log.csv").write_text(
        "\n".join([*lines, "guest,b01,8,author 1,peru,30", "visitor,b02,8,author 2,peru,30"]), encoding="utf-8"
    )
    run.stage("next", "compress")
    found = forget(run, ["guest", "u003"])["tasks"]["next"]["evidence"]["users"]
    assert found[0] == {"asked": 0}
    assert found[1]["asked"] > 0
    found = forget(Run(run.config, tmp_path / "runs"), ["visitor"])["tasks"]["next"]["evidence"]["users"]
    assert found == [{"asked": 0}]
