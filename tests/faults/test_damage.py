"""Bytes flipped, cut off and exchanged in everything that a run keeps: the right answer, or one line; never a wrong one."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.faults.harness import command, differs, facts
from tests.faults.test_kills import same_search

WAYS = ("flipped", "cut", "emptied", "exchanged")
KEPT = ("runs", "toy")


def damage(content, way, rng):
    """The bytes of a file, damaged."""
    if way == "emptied":
        return b""
    if way == "cut":
        return content[: int(rng.integers(len(content)))]
    if way == "exchanged":
        return rng.bytes(len(content))
    found = bytearray(content)
    found[int(rng.integers(len(found)))] ^= 1 << int(rng.integers(8))
    return bytes(found)


def listed(toy, *names):
    """Files that the last of the commands keeps, and reads again; pages are only written."""
    folder, before = toy.after(*names), toy.after(*names[:-1])
    files = [path.relative_to(folder) for path in sorted((folder / "runs").rglob("*")) if path.is_file()]
    return [
        file
        for file in files
        if file.suffix not in (".html", ".held")
        and not any(part.startswith(".") for part in file.parts)
        and not (before / file).exists()
    ]


def damaged(toy, names, file, way, seed, folder):
    """One damage, and the last of the commands again; gives whether the result is the right one."""
    folder = toy.copy(folder / f"{way}-{seed}", *names)
    (folder / file).write_bytes(damage((folder / file).read_bytes(), way, np.random.default_rng(seed)))
    ended = command(folder, *toy.commands[names[-1]])
    if ended.status == 0:
        if names[-1] == "search":
            same_search(folder, toy, (file, way))
        else:
            assert differs(facts(folder), toy.facts(*names)) == [], (file, way, seed)
    else:
        assert ended.one_line, (file, way, seed, ended)
        assert str(file) in ended.said or str(file.parent) in ended.said, (file, way, seed, ended)
    shutil.rmtree(folder)
    return ended.status == 0


def campaign(toy, names, folder, ways, every=1):
    """Every file in every way, two at a time: how many there were, and how many gave the right result."""
    toy.facts(*names)
    cases = [(file, way) for file in listed(toy, *names) for way in ways]
    numbered = list(enumerate(cases))[::every]
    with ThreadPoolExecutor(2) as pool:
        right = list(pool.map(lambda case: damaged(toy, names, *case[1], case[0], folder), numbered))
    return len(right), sum(right)


def test_a_few_damages_of_a_run(ranker, tmp_path):
    count, right = campaign(ranker, ("train", "compress", "run"), tmp_path, WAYS, every=12)
    assert count >= 2
    assert right == count  # all of it is done again


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "least", "mended"),
    [
        (("train",), 24, 1.0),
        (("train", "compress"), 44, 1.0),
        (("train", "compress", "run"), 24, 1.0),
        (("train", "compress", "audit"), 36, 1.0),
        (("train", "search"), 48, 0.8),  # a journal that is damaged is named, and left alone
    ],
)
def test_every_file_of_a_model_in_closed_form(ranker, tmp_path, names, least, mended):
    count, right = campaign(ranker, names, tmp_path, WAYS)
    assert count >= least
    assert right >= mended * count


@pytest.mark.slow
def test_files_of_a_model_that_is_trained(tables, tmp_path):
    count, right = campaign(tables, ("train", "compress", "run"), tmp_path, ("flipped",))
    assert count >= 5
    assert right == count


def test_a_report_of_a_damaged_summary_is_refused(ranker, tmp_path):
    folder = ranker.copy(tmp_path / "toy", "train", "compress", "run")
    summary = folder / "runs/toy/summary.json"
    text = summary.read_text(encoding="utf-8")
    at = text.index('"value": 0.') + len('"value": 0.')
    summary.write_text(text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :], encoding="utf-8")
    ended = command(folder, "report", "runs/toy/summary.json")
    assert ended.one_line
    assert "summary.json is damaged" in ended.said
