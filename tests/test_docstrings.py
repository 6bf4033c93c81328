"""Examples in docstrings are true, and `__all__` names what there is."""

import ast
import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

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
