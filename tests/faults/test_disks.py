"""A full disk and a read-only folder: one line, nothing that was there is lost, and with space again the work is done."""

import os
import shutil
import subprocess
from contextlib import contextmanager

import numpy as np
import pytest

from tests.faults.harness import Fault, command, differs, facts
from tests.faults.test_kills import BEFORE, places, whole

OTHER = ("per_column: 8", "per_column: 6")  # another recipe, so that what lies there is written again


def refused(toy, name, fault, folder):
    """A command that is refused by the disk; then, with space again, the same command."""
    folder = toy.copy(folder / f"{name}-{fault.kind}-{fault.at}-{fault.bytes}", *BEFORE[name])
    before = facts(folder)
    ended = command(folder, *toy.commands[name], fault=fault)
    if ended.status == 0:  # what was refused was no more than a cache, or all had fitted
        assert differs(facts(folder), toy.facts(*BEFORE[name], name)) == []
        return 0
    assert ended.one_line, (name, fault, ended)
    whole(folder)
    after = facts(folder)
    assert [key for key in before if after.get(key) != before[key]] == []
    again = command(folder, *toy.commands[name])
    assert again.status == 0, (name, fault, again)
    if name != "search":
        assert differs(facts(folder), toy.facts(*BEFORE[name], name)) == [], (name, fault)
    shutil.rmtree(folder)
    return 1


@pytest.mark.parametrize(("name", "kind"), [("train", "full"), ("compress", "read-only")])
def test_a_few_refusals(ranker, tmp_path, name, kind):
    assert sum(refused(ranker, name, Fault(kind, at), tmp_path) for at in places(ranker, name, tmp_path, 2)) >= 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["full", "read-only"])
@pytest.mark.parametrize(("name", "count"), [("train", 8), ("compress", 10), ("run", 6), ("audit", 4), ("search", 6)])
def test_refusals_of_a_model_in_closed_form(ranker, tmp_path, name, kind, count):
    listed = places(ranker, name, tmp_path, count)
    assert sum(refused(ranker, name, Fault(kind, at), tmp_path) for at in listed) > len(listed) / 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["full", "read-only"])
def test_refusals_of_a_model_that_is_trained(tables, tmp_path, kind):
    listed = places(tables, "train", tmp_path, 4)
    assert sum(refused(tables, "train", Fault(kind, at), tmp_path) for at in listed) > len(listed) / 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["train", "compress", "run", "search"])
def test_files_that_the_kernel_stops_in_mid_write(ranker, tmp_path, name):
    """RLIMIT_FSIZE: real writes, cut short by the kernel wherever they are made."""
    ended = [refused(ranker, name, Fault("full", bytes=int(n)), tmp_path) for n in np.geomspace(64, 65_536, 6)]
    assert sum(ended) >= 2


@contextmanager
def disk(folder, kilobytes):
    """A file system of its own with so much room."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def used(folder):
    """Kilobytes in use."""
    about = os.statvfs(folder)
    return (about.f_blocks - about.f_bfree) * about.f_frsize // 1024


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a file system; the same is tested by RLIMIT_FSIZE")
@pytest.mark.parametrize(
    "name", ["compress", pytest.param("train", marks=pytest.mark.slow), pytest.param("run", marks=pytest.mark.slow)]
)
def test_a_disk_that_is_really_full(ranker, tmp_path, name):
    place = tmp_path / "disk"
    with disk(place, 4096):
        folder = ranker.copy(place / "toy", *BEFORE[name])
        shutil.copytree(folder, tmp_path / "before")
        least = used(place)
        assert command(folder, *ranker.commands[name]).status == 0
        most = used(place)
    assert most > least
    for share in (0.0, 0.4, 0.8):
        place = tmp_path / f"disk-{share}"
        with disk(place, least + int((most - least) * share)):
            folder = shutil.copytree(tmp_path / "before", place / "toy")
            ended = command(folder, *ranker.commands[name])
            assert ended.one_line, ended
            whole(folder)
            subprocess.run(["mount", "-o", "remount,size=8192k", place], check=True)
            assert command(folder, *ranker.commands[name]).status == 0
            assert differs(facts(folder), ranker.facts(*BEFORE[name], name)) == []


@pytest.mark.skipif(
    os.geteuid() != 0, reason="only root mounts a file system; the same is tested by refusing each place"
)
@pytest.mark.slow
def test_a_run_on_a_disk_that_may_only_be_read(ranker, tmp_path):
    place = tmp_path / "disk"
    with disk(place, 4096):
        folder = ranker.copy(place / "toy", "train", "compress", "run")
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        # What is done already is told; what is to be written is one line.
        assert command(folder, "evaluate", "toy.yaml").status == 0
        artifact = "runs/toy/next/artifact"
        asked = ("recommend", artifact, "--users", "users.csv")
        assert command(folder, *asked, "--out", tmp_path / "lists.csv").status == 0
        assert command(tmp_path, "keygen", "release").status == 0
        for arguments in (
            ranker.commands["run"],
            ranker.commands["audit"],
            ranker.commands["search"],
            (*asked, "--out", "lists.csv"),
            ("sign", artifact, "--key", tmp_path / "release"),
            ("keygen", "release"),
            ("report", "runs/toy/summary.json"),
        ):
            ended = command(folder, *arguments)
            assert ended.one_line, (arguments, ended)
            assert "Read-only file system" in ended.said
