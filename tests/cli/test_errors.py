"""What goes wrong is one line that names the input, and a status that is not zero."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from recprune.cli.main import main
from recprune.errors import RecpruneError


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (RecpruneError("no [such] thing"), 2, "error: no [such] thing"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/x"), 2, "error: runs/x: No space left on device"),
        (MemoryError(), 2, "error: not enough memory"),
        (KeyboardInterrupt(), 130, "interrupted: finished stages are kept"),
    ],
)
def test_every_failure_is_one_line_and_a_status(monkeypatch, capsys, error, status, said):
    def fail(**_):
        raise error

    monkeypatch.setattr("recprune.cli.main.app", fail)
    with pytest.raises(SystemExit) as caught:
        main()
    out, err = capsys.readouterr()
    assert (caught.value.code, out) == (status, "")
    assert err.startswith(said)
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["data", "nothing"], "data 'nothing' is none of book_crossing"),
        (["report", "none.json"], "no such summary: none.json"),
        (["run", "none.yaml"], "cannot read none.yaml"),
        (["run", "bad.yaml"], "bad.yaml is not valid YAML"),
        (["report", "bad.yaml"], "bad.yaml"),
        (["forget", "none.yaml", "--user", "ann"], "cannot read none.yaml"),
        (["forget", "run.yaml", "--user", "ann"], "is none of book_crossing"),
        (["forget", "run.yaml", "--user", "ann", "--models", "2"], "needs 4 models or more, got 2"),
    ],
)
def test_bad_input_names_the_input(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_text("a: [", encoding="utf-8")
    task = "{kind: next_item, recipes: {a: {steps: []}}, ship: a, gate: 'ndcg@10:1%'}"
    (tmp_path / "run.yaml").write_text(f"{{name: r, data: none.yaml, tasks: {{t: {task}}}}}", encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["recprune", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    out, err = capsys.readouterr()
    assert (caught.value.code, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1


def test_ctrl_c_says_how_to_go_on(tmp_path):
    """Of a real process, that waits for a configuration from a pipe."""
    pipe = tmp_path / "run.yaml"
    os.mkfifo(pipe)
    command = [sys.executable, "-m", "recprune.cli.main", "run", str(pipe)]
    # A shell starts what is to run behind it without SIGINT, and that is handed down.
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    with process:
        with pipe.open(
            "wb"
        ):  # from here on it reads; not every system ends a read for a signal, the end of the pipe does
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.strip() == "interrupted: finished stages are kept, the same command goes on from there"


def test_a_wrong_option_is_said_as_ever(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["recprune", "run", "a.yaml", "--x[/y]"])
    with pytest.raises(SystemExit) as caught:
        main()
    out, err = capsys.readouterr()
    assert (caught.value.code, out) == (2, "")
    assert "No such option: --x[/y]" in err
    assert "interrupted" not in err


def test_each_command_says_what_it_does(monkeypatch, capsys):
    from recprune.cli.main import app

    for command in app.registered_commands:
        monkeypatch.setattr("sys.argv", ["recprune", command.callback.__name__, "--help"])
        with pytest.raises(SystemExit) as caught:
            main()
        assert caught.value.code == 0
        assert command.callback.__doc__.split(".")[0].split()[0] in capsys.readouterr().out
