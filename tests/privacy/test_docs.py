"""The example of docs/privacy.md does what the page says."""

import re
from pathlib import Path

from recprune.cli.main import app

PAGE = Path(__file__).parents[2] / "docs" / "privacy.md"


def test_the_example_runs_and_prints_what_the_page_says(capsys):
    text = PAGE.read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.S)
    exec(compile(code, PAGE.name, "exec"), {})
    said = capsys.readouterr().out.splitlines()
    assert said == list(re.search(r"It prints `(.*?)`, .*? and then `(.*?)`\.", text).groups())


def test_the_command_of_the_page_exists():
    known = {command.callback.__name__ for command in app.registered_commands}
    shown = re.findall(r"^\$ recprune ([a-z]+)", PAGE.read_text(encoding="utf-8"), flags=re.M)
    assert set(shown) == {"audit", "forget"} <= known
