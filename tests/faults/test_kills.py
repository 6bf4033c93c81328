"""Killed at any moment, a command leaves what was there or what it made, and when it is run again gives the same result."""

import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from recprune.artifact import read
from tests.faults.conftest import AUDIT, RANKER, SEARCH, TABLES
from tests.faults.harness import Fault, command, differs, facts

BEFORE = {
    "train": (),
    "compress": ("train",),
    "run": ("train", "compress"),
    "audit": ("train", "compress"),
    "search": ("train",),
}


def places(toy, name, folder, count):
    """Numbers of `count` places of a command, spread over all of them, and all where it passes no more."""
    toy.facts(*BEFORE[name], name)  # made before threads ask for it
    ended = command(toy.copy(folder / "counted", *BEFORE[name]), *toy.commands[name])
    assert ended.status == 0
    assert ended.places > 5
    return sorted(set(np.linspace(1, ended.places, min(count, ended.places)).round().astype(int).tolist()))


def whole(folder):
    """Every artifact that lies in a folder under its name can be read, to the last byte."""
    for manifest in folder.rglob("manifest.json"):
        if not any(part.startswith(".") for part in manifest.relative_to(folder).parts):
            read(manifest.parent)


def killed(toy, name, at, folder):
    """One kill, and the command run again."""
    kind = "kill" if at % 2 else "torn"
    broken = toy.copy(folder / f"{name}-{at}", *BEFORE[name])
    ended = command(broken, *toy.commands[name], fault=Fault(kind, at))
    assert ended.status == -9, (name, at, ended)
    whole(broken)
    assert not any(line.startswith("error") for line in ended.said.splitlines())
    again = command(broken, *toy.commands[name])
    assert again.status == 0, (name, at, again)
    if name == "search":
        same_search(broken, toy, at)
    else:
        assert differs(facts(broken), toy.facts(*BEFORE[name], name)) == [], (name, at)
    shutil.rmtree(broken)


def same_search(folder, toy, at):
    """A trial that the kill cut off is tried again under another number: what was found is the same, but for numbers."""
    place = folder / "runs/toy" / toy.task / "search"
    whole(place)
    found = facts(place)["search.json"]
    expected = facts(toy.after("train", "search") / "runs/toy" / toy.task / "search")["search.json"]
    for part in ("metric", "original_bytes", "how"):
        assert found[part] == expected[part]
    size = sum(file.stat().st_size for file in (place / "artifact").iterdir())
    assert found["chosen"]["disk_bytes"] == size, at
    assert found["chosen"]["disk_bytes"] <= expected["chosen"]["disk_bytes"] * 1.5
    recipes = [point["disk_bytes"] for point in found["tried"]]
    assert len(recipes) >= 3


def all_killed(toy, name, folder, count):
    """Kill a command at `count` places, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda at: killed(toy, name, at, folder), places(toy, name, folder, count)))


@pytest.mark.parametrize("name", ["train", "compress"])
def test_a_few_kills(ranker, tmp_path, name):
    all_killed(ranker, name, tmp_path, 4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "count"), [("train", 27), ("compress", 84), ("run", 22), ("audit", 12), ("search", 24)]
)
def test_kills_of_a_model_in_closed_form(ranker, tmp_path, name, count):
    all_killed(ranker, name, tmp_path, count)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "count"), [("train", 12), ("compress", 8), ("run", 2), ("search", 2)])
def test_kills_of_a_model_that_is_trained(tables, tmp_path, name, count):
    all_killed(tables, name, tmp_path, count)


@pytest.mark.parametrize("at", [0.3, *(pytest.param(at, marks=pytest.mark.slow) for at in (0.6, 0.9))])
def test_what_another_recipe_wrote_before_a_kill_is_not_taken_for_this_one(ranker, tmp_path, at):
    """A kill of the compression by other recipes, and back to the first: their stage is there, its artifacts are not."""
    folder = ranker.copy(tmp_path / "toy", "train", "compress")
    first = (folder / "toy.yaml").read_text(encoding="utf-8")
    other = first.replace("per_column: 8", "per_column: 6").replace("bits: 8", "bits: 4")
    (folder / "toy.yaml").write_text(other, encoding="utf-8")
    count = command(shutil.copytree(folder, tmp_path / "counted"), *ranker.commands["compress"]).places
    assert command(folder, *ranker.commands["compress"], fault=Fault("kill", int(at * count))).status == -9
    (folder / "toy.yaml").write_text(first, encoding="utf-8")
    assert command(folder, *ranker.commands["compress"]).status == 0
    assert differs(facts(folder), ranker.facts("train", "compress")) == []


# Keys, signatures and lists


ARTIFACT = "runs/toy/next/artifact"
SIGNING = {
    "keygen": ("keygen", "new"),
    "keygen for answers": ("keygen", "new", "--for", "answers"),
    "sign": ("sign", ARTIFACT, "--key", "release"),
    "recommend": ("recommend", ARTIFACT, "--users", "users.csv", "--out", "lists.csv", "--k", "2", "--sign", "serving"),
}
CHECKS = {
    "keygen": (("sign", ARTIFACT, "--key", "new"), ("verify", ARTIFACT, "--key", "new.pub")),
    "keygen for answers": (
        (*SIGNING["recommend"][:-1], "new"),
        ("verify", "lists.csv", "--key", "new.jwks"),
    ),
    "sign": (("verify", ARTIFACT, "--key", "release.pub"),),
    "recommend": (("verify", "lists.csv", "--key", "serving.jwks"),),
}


@pytest.fixture(scope="module")
def signing(ranker, tmp_path_factory):
    """The folder of a run, with keys, and with what was signed before."""
    folder = ranker.copy(tmp_path_factory.mktemp("signing") / "toy", "train", "compress")
    for arguments in (
        ("keygen", "release"),
        ("keygen", "serving", "--for", "answers"),
        SIGNING["recommend"],
        SIGNING["sign"],
    ):
        assert command(folder, *arguments).status == 0
    return folder


def signed_again(signing, name, at, folder):
    """Whether a command was killed at a place; if so, what was signed before still is, and the command goes through."""
    broken = shutil.copytree(signing, folder / f"{name}-{at}")
    ended = command(broken, *SIGNING[name], fault=Fault("kill" if at % 2 else "torn", at))
    if ended.status == 0:
        return False
    assert ended.status == -9
    whole(broken)
    if name == "sign":
        assert command(broken, *CHECKS[name][0]).status == 0
    again = command(broken, *SIGNING[name])
    assert again.status == 0 or (
        again.one_line and "new.* is there already" in again.said.replace("pub", "*").replace("jwks", "*")
    )
    for arguments in CHECKS[name]:
        assert command(broken, *arguments).status == 0, (name, at, arguments)
    shutil.rmtree(broken)
    return True


@pytest.mark.parametrize("name", ["keygen", "sign"])
def test_a_few_kills_of_what_signs(signing, tmp_path, name):
    assert signed_again(signing, name, 3, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(SIGNING))
def test_kills_of_what_signs(signing, tmp_path, name):
    at = 1
    while signed_again(signing, name, at, tmp_path):
        at += 1
    assert at > 5


# The whole tree of processes


BOTH = TABLES.rstrip() + RANKER[RANKER.index("  next:") - 1 :]


def running(marker):
    """Ids of the processes that carry a mark in their environment."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if marker.encode() in (place / "environ").read_bytes():
                found.append(int(place.name))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "both.yaml"),
        ("search", "both.yaml", "--task", "next", "--workers", "2", *SEARCH, "ndcg@10:90%"),
        ("audit", "both.yaml", "--task", "next", "--workers", "2", *AUDIT),
    ],
    ids=["run", "search", "audit"],
)
def test_a_kill_leaves_no_worker_behind(ranker, tmp_path, arguments):
    """At times that nobody chose: of a real process, with its workers."""
    folder = ranker.copy(tmp_path / "toy")
    (folder / "both.yaml").write_text(BOTH, encoding="utf-8")
    rng, marker = np.random.default_rng(), f"RECPRUNE_TEST={tmp_path.name}-{os.getpid()}"
    whole_command = [sys.executable, "-m", "recprune.cli.main", *arguments]
    environment = os.environ | dict([marker.split("=")])
    for _ in range(2):
        process = subprocess.Popen(whole_command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
        with suppress(subprocess.TimeoutExpired):
            process.wait(float(rng.uniform(4, 25)))
        process.kill()
        process.wait()
        stop = time.monotonic() + 30
        while running(marker) and time.monotonic() < stop:
            time.sleep(0.1)
        assert not running(marker)
        whole(folder)
    ended = subprocess.run(whole_command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)
    assert ended.returncode == 0, ended
    assert "Traceback" not in ended.stdout + ended.stderr
    whole(folder)
