"""The example of docs/trust.md does what the page says."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "trust.md"


def test_the_example_runs_and_prints_what_the_page_says(capsys):
    text = PAGE.read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.S)
    exec(compile(code, PAGE.name, "exec"), {})
    said = capsys.readouterr().out.splitlines()
    (first, second) = re.search(r"It prints `(.*?)`, and then `(.*?)`\.", text).groups()
    assert said == [first, second]


def test_the_commands_of_the_page_exist():
    from recprune.cli.main import app

    known = {command.callback.__name__ for command in app.registered_commands}
    used = set(re.findall(r"recprune ([a-z]+)", PAGE.read_text(encoding="utf-8")))
    assert used & known >= {"keygen", "sign", "verify", "recommend", "bom"}
