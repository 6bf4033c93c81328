"""What docs/families/text.md shows runs and prints what it says."""

import re
from pathlib import Path

from recprune.pruning.recipe import Recipe

PAGE = (Path(__file__).parent.parent / "docs" / "families" / "text.md").read_text(encoding="utf-8")


def test_the_example_prints_what_the_page_says(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.S)
    (printed,) = re.findall(r"```text\n(.*?)```", PAGE, flags=re.S)
    exec(compile(code, "text.md", "exec"), {})
    assert capsys.readouterr().out == printed


def test_the_task_is_a_valid_one(tmp_path):
    from recprune.pipeline.config import read_config

    (task,) = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.S)
    (tmp_path / "run.yaml").write_text("name: page\ndata: book_crossing\n" + task, encoding="utf-8")
    task = read_config(tmp_path / "run.yaml").tasks["next book by title"]
    assert isinstance(task.recipes["small"], Recipe)
