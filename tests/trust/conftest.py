"""Keys and a signed artifact, made once."""

import shutil

import pytest

from recprune.artifact import Artifact, lay_out, write
from recprune.trust import generate, sign_artifact

from ..artifact.test_layout import all_encodings


@pytest.fixture(scope="session")
def keys(tmp_path_factory):
    """A folder with `release` and `other` for artifacts, `serving` and `second` for answers, and their public halves."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("release", "other"):
        generate(folder / name)
    for name in ("serving", "second"):
        generate(folder / name, "answers")
    return folder


@pytest.fixture(scope="session")
def _signed(tmp_path_factory, keys):
    path = tmp_path_factory.mktemp("signed") / "artifact"
    laid, vocabularies = lay_out(all_encodings())
    write(Artifact(laid.weights, laid.graph, vocabularies, {"steps": []}, {"note": "ü"}), path)
    sign_artifact(path, keys / "release")
    return path


@pytest.fixture
def signed(_signed, tmp_path):
    """A signed artifact that a test may damage."""
    return shutil.copytree(_signed, tmp_path / "artifact")
