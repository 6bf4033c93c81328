<<<<<<< HEAD
"""Examples in docstrings are true, and `__all__` names what there is."""

import ast
import doctest
import importlib
import pkgutil
=======
"""What the documentation shows runs, and the links in it lead somewhere."""

import re
import runpy
>>>>>>> main
from pathlib import Path

import pytest

<<<<<<< HEAD
import recprune

# The core: what `import recprune` may load. Modules that need a framework run their examples in their own tests.
CORE = (
    "bits",
    "context",
    "errors",
    "graph",
    "snapshot",
    "testing",
    "text",
    "vocabulary",
    "weights",
    "artifact",
    "runtime",
    "pruning",
)
MODULES = [
    found.name for found in pkgutil.walk_packages(recprune.__path__, "recprune.") if found.name.split(".")[1] in CORE
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_true(name):
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0


def test_there_are_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    examples = [e for name in MODULES for test in finder.find(importlib.import_module(name)) for e in test.examples]
    assert len(examples) > 25


@pytest.mark.parametrize("name", ["recprune", *MODULES])
def test_all_names_what_is_there(name):
    module = importlib.import_module(name)
    assert sorted(module.__all__) == sorted(set(module.__all__))
    assert all(hasattr(module, exported) for exported in module.__all__)
    if Path(module.__file__).name == "__init__.py":
        return
    # A module exports every public name that it defines, and nothing that it imports.
    defined, public = set(), set()
    for node in ast.parse(Path(module.__file__).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            defined.add(node.name)
            public |= set() if node.name.startswith("_") else {node.name}
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            defined |= {target.id for target in targets if isinstance(target, ast.Name)}
    assert public <= set(module.__all__) <= defined
=======
from recprune.pipeline.config import read_config

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_first_example_of_the_readme_runs_and_is_short(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.S)
    assert len(code.strip().splitlines()) <= 10
    exec(compile(code, "README.md", "exec"), {})
    out = capsys.readouterr().out
    # A table of 10,000 x 16 floats: at least 16 / 0.2 bytes a row become a fifth of 10 bytes (codes, scale) and marks.
    assert re.search(r"(\d+) times smaller torch\.Size\(\[3, 1\]\)", out), out
    assert int(re.search(r"(\d+) times", out)[1]) >= 20


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
>>>>>>> main
