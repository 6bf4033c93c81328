"""The journal of a search: torn, damaged and full."""

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
        with pytest.raises(RecpruneError, match=r"a\.log is damaged at line [12]; nothing was changed"):
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
