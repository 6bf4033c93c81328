"""The core needs numpy (and safetensors), nothing else, and says so when it is imported."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from recprune.artifact import Artifact, lay_out, write
from recprune.runtime import load

from .small import like, next_item, request

HEAVY = (
    *("torch", "polars", "pandas", "sklearn", "lightgbm", "xgboost", "yaml", "rich", "scipy", "pyarrow"),
    *("typer", "plotly", "implicit", "narwhals", "jsonschema", "platformdirs", "optuna"),
    *("cryptography", "model_signing", "joserfc", "OpenSSL", "sigstore"),
)

BLOCK = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY}:
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Refuse())
"""


def run(code, *arguments):
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        capture_output=True, text=True, timeout=60, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    return found.stdout


@pytest.mark.parametrize("module", ["recprune", "recprune.runtime", "recprune.artifact", "recprune.testing"])
def test_importing_loads_no_framework(module):
    loaded = json.loads(run(f"import sys, json, {module}; print(json.dumps(sorted(sys.modules)))"))
    assert "numpy" in loaded
    assert {name.partition(".")[0] for name in loaded}.isdisjoint(HEAVY)


def test_importing_leaves_logging_and_warnings_alone():
    code = "import logging, warnings, numpy; n = list(warnings.filters); import recprune; "
    assert run(code + "print(logging.root.handlers, n == warnings.filters)").strip() == "[] True"


def test_an_artifact_scores_where_no_framework_is(tmp_path):
    frame = request(20)
    for name, make in (("pairs", like), ("items", next_item)):
        laid, vocabularies = lay_out(make())
        write(Artifact(laid.weights, laid.graph, vocabularies), tmp_path / name)
    expected = load(tmp_path / "pairs").score(frame)
    (tmp_path / "request.json").write_text(json.dumps({name: values.tolist() for name, values in frame.items()}))
    code = (
        BLOCK
        + """
import json, recprune
from pathlib import Path
folder = Path(sys.argv[1])
scores = recprune.load(folder / "pairs").score(json.loads((folder / "request.json").read_text()))
best = recprune.load(folder / "items").top_k([["d"], []], 2)
print(json.dumps([scores.tolist(), [ids.tolist() for ids in best.ids], best.fallback.tolist()]))
"""
    )
    scores, ids, fallback = json.loads(run(code, str(tmp_path)))
    np.testing.assert_allclose(scores, expected, atol=1e-7)
    assert ids == [["c", "b"], ["b", "c"]]
    assert fallback == [False, True]


def test_the_block_blocks():
    assert run(BLOCK + "try:\n import yaml\nexcept ImportError as e: print(e)").strip() == "yaml is blocked"
