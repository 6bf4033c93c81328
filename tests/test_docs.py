"""What the documentation shows runs, and the links in it lead somewhere."""

import re
import runpy
from pathlib import Path

import pytest

from recprune.pipeline.config import read_config

ROOT = Path(__file__).parent.parent
CHINESE = ROOT / "README.zh-CN.md"
PAGES = [ROOT / "README.md", CHINESE, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md"))]
FAMILIES = [*sorted((ROOT / "docs" / "families").glob("*.md")), CHINESE]


def test_the_first_example_of_the_readme_runs_and_is_short(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.S)
    assert len(code.strip().splitlines()) <= 10
    exec(compile(code, "README.md", "exec"), {})
    out = capsys.readouterr().out
    # A table of 10,000 x 16 floats: at least 16 / 0.2 bytes a row become a fifth of 10 bytes (codes, scale) and marks.
    assert re.search(r"(\d+) times smaller torch\.Size\(\[3, 1\]\)", out), out
    assert int(re.search(r"(\d+) times", out)[1]) >= 20


@pytest.mark.parametrize("page", FAMILIES, ids=lambda page: page.name)
def test_the_examples_of_a_family_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    known = {}
    for code in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.S):
        exec(compile(code, page.name, "exec"), known)
    assert known


def test_the_chinese_readme_keeps_step():
    english, chinese = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", CHINESE.name))
    for what in (
        r"\]\(([^)#]+)\)",
        r"^ {4}(make \w+|recprune [^#]+?)(?: +#|$)",
        r"^(recprune[ .][^#]+?) +#",
        r"^(\w+: \w+)",
    ):
        found = set(re.findall(what, english, flags=re.M))
        assert found <= set(re.findall(what, chinese, flags=re.M)) | {CHINESE.name}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("http") or (page.parent / target).exists(), target


@pytest.mark.parametrize("config", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.name)
def test_the_example_configurations_are_valid(config):
    assert read_config(config).tasks


def test_own_model_is_short():
    path = ROOT / "examples" / "own_model.py"
    assert len(path.read_text(encoding="utf-8").strip().splitlines()) <= 25
    assert runpy.run_path(str(path))


def test_the_figures_are_those_of_the_results():
    written = runpy.run_path(str(ROOT / "benchmarks" / "write_docs.py"))["pages"]()
    assert {path.name for path in written} >= {"benchmarks.md", "README.md", "frontier-like.svg"}
    for path, text in written.items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run `make docs`"
