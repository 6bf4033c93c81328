"""Through the command line: whatever a file holds, one line and a status."""

import json
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recprune.artifact import Artifact, lay_out, write
from recprune.cli.main import main
from recprune.evaluation import write_summary
from recprune.trust import AnswerSigner, generate, sign_artifact
from tests.artifact.test_read_write import FILES
from tests.evaluation.test_summary import minimal
from tests.fuzz.harness import anything, as_yaml, broken, changed, few, many
from tests.pipeline.toy import write_log
from tests.small import next_item

USERS = b"user,item\nu,a\nu,b\nv,d\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One of everything that commands read."""
    folder = tmp_path_factory.mktemp("commands")
    laid, vocabularies = lay_out(next_item())
    artifact = Artifact(laid.weights, laid.graph, vocabularies, {"steps": []}, {})
    write(artifact, folder / "artifact")
    generate(folder / "release")
    generate(folder / "serving", "answers")
    sign_artifact(folder / "artifact", folder / "release")
    (folder / "users.csv").write_bytes(USERS)
    (folder / "a.jws").write_text(AnswerSigner(folder / "serving", "0" * 64).jws({"a": 1}), encoding="utf-8")
    write_summary(minimal(), folder / "summary.json")
    write_log(folder, 6, 6)
    (folder / "run.yaml").write_text(
        "name: a\ndata: log.yaml\ntasks: {t: {kind: like, gate: 'auc:1', ship: r, recipes: {r: {steps: []}}}}\n"
    )
    return folder


COMMANDS = {
    "users.csv": ("recommend", "artifact", "--users", "users.csv", "--out", "out.csv", "--k", "2"),
    "a.jws": ("verify", "a.jws", "--key", "serving.jwks"),
    "serving.jwks": ("verify", "a.jws", "--key", "serving.jwks"),
    "serving": ("recommend", "artifact", "--users", "users.csv", "--out", "out.csv", "--sign", "serving"),
    "release": ("sign", "artifact", "--key", "release"),
    "release.pub": ("verify", "artifact", "--key", "release.pub"),
    "summary.json": ("report", "summary.json", "--out", "page.html"),
    "log.csv": ("data", "log.yaml"),
    "log.yaml": ("data", "log.yaml"),
    "run.yaml": ("train", "run.yaml", "--task", "no such task"),
    **{f"artifact/{name}": ("bom", "artifact") for name in FILES},
    "artifact/signature.json": ("verify", "artifact", "--key", "release.pub"),
}


def ran(folder, arguments, monkeypatch, capsys):
    """The status of a command; an exception or more than one line that names an error fails."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.argv", ["recprune", *arguments])
    capsys.readouterr()
    status = 0
    try:
        main()
    except SystemExit as ended:
        status = ended.code or 0
    said = capsys.readouterr().err
    assert status in (0, 1, 2)
    if status == 2:
        assert said.splitlines()[-1].startswith("error: "), said
        assert said.count("error: ") == 1 or "error: " in said.splitlines()[-1]
    return status


def mutate(folder, seed, monkeypatch, capsys):
    rng = np.random.default_rng(seed)
    name = sorted(COMMANDS)[seed % len(COMMANDS)]
    whole = (folder / name).read_bytes()
    try:
        content = broken(whole, rng)
        if name.endswith((".json", ".jwks")) and rng.integers(2):
            found = json.loads(whole)
            found.pop("sha256", None) if name == "summary.json" else None
            content = json.dumps(changed(found, rng, 2)).encode()
        (folder / name).write_bytes(content)
        return ran(folder, COMMANDS[name], monkeypatch, capsys)
    finally:
        (folder / name).write_bytes(whole)


@settings(few, max_examples=40)
@given(seed=st.integers(0, 2**31))
def test_mutated_files(folder, seed, monkeypatch, capsys):
    mutate(folder, seed, monkeypatch, capsys)


@pytest.mark.slow
@settings(many, max_examples=1000)
@given(seed=st.integers(0, 2**31))
def test_many_mutated_files(folder, seed, monkeypatch, capsys):
    mutate(folder, seed, monkeypatch, capsys)


@settings(few, max_examples=5)
@given(content=st.binary(max_size=200), value=anything)
def test_made_up_files(folder, content, value, monkeypatch, capsys):
    for name in ("run.yaml", "log.yaml", "summary.json", "users.csv", "a.jws"):
        whole = (folder / name).read_bytes()
        try:
            for made in (content, as_yaml(str(value)), repr(value).encode(errors="replace")):
                (folder / name).write_bytes(made)
                status = ran(folder, COMMANDS[name], monkeypatch, capsys)
                assert status == 2 or name == "users.csv"
        finally:
            (folder / name).write_bytes(whole)


def test_a_directory_in_the_place_of_every_file(folder, tmp_path, monkeypatch, capsys):
    for name in COMMANDS:
        place = shutil.copytree(folder, tmp_path / name.replace("/", "-"))
        (place / name).unlink()
        (place / name).mkdir()
        assert ran(place, COMMANDS[name], monkeypatch, capsys) == 2
        (place / name).rmdir()
        (place / name).symlink_to(name.rpartition("/")[2])
        assert ran(place, COMMANDS[name], monkeypatch, capsys) == 2
