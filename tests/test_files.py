"""Atomic writes, and what a kill left."""

import json
import os
import shutil
import time

import numpy as np
import pytest

from recprune import files
from recprune.errors import RecpruneError, one_line
from recprune.files import new_directory, read_sealed, remove_directory, write_arrays, write_bytes, write_sealed


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    write_bytes(tmp_path / "new" / "file", b"one")
    with pytest.raises(TypeError):
        write_bytes(tmp_path / "new" / "file", "no bytes")
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["file"]
    assert (tmp_path / "new" / "file").read_bytes() == b"one"


@pytest.mark.parametrize("atomic", [True, False])
def test_a_directory_is_exchanged_whole(tmp_path, monkeypatch, atomic):
    if not atomic:  # a system without such a call
        monkeypatch.setattr(files.sys, "platform", "other")
    for content in (b"old", b"new"):
        with new_directory(tmp_path / "a") as made:
            (made / content.decode()).write_bytes(content)
    assert [file.name for file in tmp_path.iterdir()] == ["a"]
    assert [file.name for file in (tmp_path / "a").iterdir()] == ["new"]
    with pytest.raises(TypeError), new_directory(tmp_path / "a") as made:
        (made / "half").write_bytes("no bytes")
    assert [file.name for file in (tmp_path / "a").iterdir()] == ["new"]
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_what_a_kill_left_is_removed_once_it_is_old(tmp_path):
    old, fresh, other = (tmp_path / name for name in (".a.x1.partial", ".a.x2.partial", ".a.csv.swp"))
    for file in (old, fresh, other):
        file.write_bytes(b"")
    hour = time.time() - 4000
    os.utime(old, (hour, hour))
    os.utime(other, (hour, hour))
    write_bytes(tmp_path / "a", b"")
    assert sorted(file.name for file in tmp_path.iterdir()) == [".a.csv.swp", ".a.x2.partial", "a"]


def test_damage_of_a_sealed_file_is_seen(tmp_path):
    path = tmp_path / "a.json"
    write_sealed(path, {"value": 0.125, "n": {1: [2]}})
    whole = path.read_bytes()
    assert {key: value for key, value in read_sealed(path).items() if key != "sha256"} == {
        "value": 0.125,
        "n": {"1": [2]},
    }
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert read_sealed(path) is None
        path.write_bytes(whole[:at])
        assert read_sealed(path) is None
    path.write_text(json.dumps({"value": 0.125}), encoding="utf-8")
    assert read_sealed(path) is None  # nothing says that it is whole


def test_arrays_come_back(tmp_path):
    write_arrays(tmp_path / "a.npz", {"x": np.arange(3)})
    with np.load(tmp_path / "a.npz") as stored:
        assert stored["x"].tolist() == [0, 1, 2]


def test_an_error_is_one_line_whatever_it_names():
    assert str(RecpruneError("no file 'a\nb\x1b[31m\udcff'")) == "no file 'a b [31m '"
    assert len(one_line("x" * 10_000)) == 2000
    assert one_line("µs, 书") == "µs, 书"


def test_a_directory_loses_its_name_before_its_files(tmp_path, monkeypatch):
    place = tmp_path / "artifact"
    place.mkdir()
    (place / "one").write_text("1")

    def killed(path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            remove_directory(place)
    assert not place.exists()
    assert len(list(tmp_path.rglob("one"))) == 1
    place.mkdir()
    remove_directory(place)
    remove_directory(place)  # there is none
    assert not place.exists()
