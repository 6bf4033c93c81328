"""The journal of a search: torn, damaged and full."""

import hashlib
import resource
import signal

import pytest

pytest.importorskip("optuna")

from recprune.errors import RecpruneError
from recprune.pruning.journal import Journal


def test_what_is_logged_comes_back_to_every_reader(tmp_path):
    journal, other = Journal(tmp_path / "a.log"), Journal(tmp_path / "a.log")
    assert list(journal.read_logs(0)) == []
    journal.append_logs([{"a": 1}, {"b": "two\nlines"}])
    other.append_logs([{"c": 3}])
    assert list(journal.read_logs(0)) == [{"a": 1}, {"b": "two\nlines"}, {"c": 3}]
    assert list(journal.read_logs(2)) == [{"c": 3}]


def test_a_line_that_a_kill_cut_short_does_not_count(tmp_path):
    path = tmp_path / "a.log"
    Journal(path).append_logs([{"a": 1}, {"b": 2}])
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        lines = whole[:length].count(b"\n")
        assert len(list(Journal(path).read_logs(0))) == lines
        Journal(path).append_logs([{"c": 3}])
        assert list(Journal(path).read_logs(0)) == [*[{"a": 1}, {"b": 2}][:lines], {"c": 3}]


def test_every_flipped_bit_is_seen(tmp_path):
    path = tmp_path / "a.log"
    Journal(path).append_logs([{"a": 1}, {"b": 2}])
    whole = path.read_bytes()
    last = len(whole) - 1
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 2]) + whole[at + 1 :])
        if at == last:  # without its end the last line is one that was cut short
            assert list(Journal(path).read_logs(0)) == [{"a": 1}]
            continue
        with pytest.raises(RecpruneError, match=r"a\.log is damaged at line [12], .*; nothing was changed"):
            list(Journal(path).read_logs(0))


def test_what_a_full_disk_refused_is_not_written_after_all(tmp_path):
    path = tmp_path / "a.log"
    Journal(path).append_logs([{"a": 1}])
    before = path.read_bytes()
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 5, limits[1]))
        with pytest.raises(RecpruneError, match=r"^cannot write .*a\.log: File too large$"):
            Journal(path).append_logs([{"b": "x" * 100}])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before


LOGS = [{"n": n} for n in range(5)]


def five(path):
    Journal(path).append_logs(LOGS[:2])
    for log in LOGS[2:]:
        Journal(path).append_logs([log])
    return path.read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (lambda lines: lines[1:], 1),
        (lambda lines: [*lines[:3], *lines[4:]], 4),
        (lambda lines: [*lines[:3], lines[2], *lines[3:]], 4),
        (lambda lines: [*lines[:2], lines[3], lines[2], lines[4]], 3),
        (lambda lines: [*lines, b"garbage\n"], 6),
        (lambda lines: [*lines, lines[4]], 6),
        (lambda lines: [b"\n", *lines], 1),
    ],
    ids=["first missing", "missing", "doubled", "exchanged", "garbage", "last doubled", "empty line"],
)
def test_what_stands_before_damage_is_kept_and_the_file_beside(tmp_path, damage, line):
    path = tmp_path / "a.log"
    damaged = b"".join(damage(five(path)))
    path.write_bytes(damaged)
    with pytest.raises(RecpruneError, match=rf"a\.log is damaged at line {line}, or a line is missing"):
        list(Journal(path).read_logs(0))
    assert path.read_bytes() == damaged
    said = []
    Journal(path).mend(said.append)
    (aside,) = tmp_path.glob("a.damaged-*.log")
    assert aside.read_bytes() == damaged
    assert len(said) == 1
    assert f"{path} is damaged at line {line}, " in said[0]
    assert said[0].endswith(aside.name)
    assert list(Journal(path).read_logs(0)) == LOGS[: line - 1]
    Journal(path).append_logs([{"n": 9}])
    Journal(path).mend(said.append)
    assert list(Journal(path).read_logs(0)) == [*LOGS[: line - 1], {"n": 9}]
    assert len(said) == 1


def test_a_kill_while_it_is_mended_changes_nothing_and_leaves_one_copy(tmp_path, monkeypatch):
    path = tmp_path / "a.log"
    damaged = b"".join(five(path)[1:])
    path.write_bytes(damaged)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("os.ftruncate", killed)
        with pytest.raises(KeyboardInterrupt):
            Journal(path).mend(print)
    assert path.read_bytes() == damaged
    Journal(path).mend(print)
    assert path.read_bytes() == b""
    assert [file.read_bytes() for file in tmp_path.glob("a.damaged-*.log")] == [damaged]


def test_a_torn_last_line_is_no_damage_and_a_file_of_an_older_version_is_said_to_be_one(tmp_path):
    path = tmp_path / "a.log"
    lines = five(path)
    torn = b"".join([*lines[:4], lines[4][:-1]])
    path.write_bytes(torn)
    Journal(path).mend(pytest.fail)
    assert path.read_bytes() == torn
    Journal(tmp_path / "none.log").mend(pytest.fail)
    assert not (tmp_path / "none.log").exists()
    old = b'{"a":1}'
    path.write_bytes(hashlib.sha256(old).hexdigest()[:8].encode() + old + b"\n")
    with pytest.raises(RecpruneError, match=r"a\.log is of an older version of recprune; move it away to search anew"):
        Journal(path).mend(pytest.fail)
