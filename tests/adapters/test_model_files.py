"""Models from files: what each library wrote comes back, and what is no model is refused in one line."""

import collections
import json
import os
import pickle
import re
import zipfile
from pathlib import Path

import joblib
import lightgbm
import numpy as np
import pytest
import torch
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csc_array, csr_array, save_npz
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from skops.io import dump
from typer.testing import CliRunner

import recprune
from recprune import Recipe, RecpruneError, compress, read_model
from recprune.adapters.pickles import load_pickle, named_in
from recprune.cli.main import app, main

X = np.random.default_rng(0).normal(size=(200, 3))
Y = (X[:, 0] + X[:, 1] ** 2 > 0.5).astype(int)
MATRIX = np.array([[0, 3, 1], [3, 0, 0], [1, 2, 0]], np.float32)
IDS = np.array(["a", "b", "c"])


def boosted():
    fitted = lightgbm.Dataset(X, Y)
    return lightgbm.train({"objective": "binary", "verbose": -1, "num_threads": 1, "num_leaves": 4}, fitted, 40)


def grown():
    return xgboost.train({"objective": "binary:logistic", "nthread": 1, "max_depth": 2}, xgboost.DMatrix(X, Y), 5)


def bayes():
    return make_pipeline(CountVectorizer(), MultinomialNB()).fit(
        ["red book", "book sea", "sea sky", "sky red"], [0, 0, 1, 1]
    )


def forest():
    return RandomForestClassifier(5, max_depth=3, random_state=0).fit(X, Y)


def write(folder, kind):
    """The file, and the model that was written to it."""
    path = folder / f"model.{kind}"
    if kind == "txt":
        model = boosted()
        model.save_model(path)
    elif kind in ("json", "ubj"):
        model = grown()
        model.save_model(path)
    elif kind == "skops":
        dump(model := forest(), path)
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(model := bayes()))
    elif kind == "joblib":
        joblib.dump(model := forest(), path)
    else:
        model = MATRIX
        np.savez(path, item_weights=MATRIX, ids=IDS)
    return path, model


@pytest.mark.parametrize("kind", ["txt", "json", "ubj", "skops", "pickle", "joblib"])
def test_what_was_written_comes_back(tmp_path, kind):
    path, model = write(tmp_path, kind)
    found = read_model(path, trust_pickle=kind in ("pickle", "joblib"))
    if kind in ("json", "ubj"):
        np.testing.assert_array_equal(found.predict(xgboost.DMatrix(X)), model.predict(xgboost.DMatrix(X)))
    elif kind == "pickle":
        np.testing.assert_array_equal(found.predict_proba(["red sea"]), model.predict_proba(["red sea"]))
    else:
        predict = "predict_proba" if kind in ("skops", "joblib") else "predict"
        np.testing.assert_array_equal(getattr(found, predict)(X), getattr(model, predict)(X))
    assert compress(found, Recipe()).size_bytes > 0


@pytest.mark.parametrize("form", ["dense", "csr", "csc"])
def test_item_weights_are_read_dense_and_sparse(tmp_path, form):
    path = tmp_path / "weights.npz"
    if form == "dense":
        np.savez_compressed(path, item_weights=MATRIX, shares=[0.5, 0, 0])
    else:
        save_npz(path, {"csr": csr_array, "csc": csc_array}[form](MATRIX))
    model = read_model(path)
    added = np.array([0.5, 0, 0] if form == "dense" else [0, 0, 0])
    assert model.ids.tolist() == ["0", "1", "2"]
    history = csr_array(np.array([[1.0, 0, 1]]))
    # Rows 0 and 2 of the matrix: (0, 3, 1) + (1, 2, 0).
    assert model.scores(history).tolist() == [(np.array([1, 5, 1]) + added).tolist()]


def test_factors_fold_users_in(tmp_path):
    path = tmp_path / "factors.npz"
    np.savez(path, item_factors=np.eye(3, dtype=np.float32), ids=IDS, alpha=10.0, l2=1.0)
    # All weigh 1, a read one 10: x = 10 / (10 + 1) for what was read, 0 for the others.
    assert read_model(path).scores(csr_array(np.array([[0, 1.0, 0]])))[0] == pytest.approx([0, 10 / 11, 0], abs=1e-6)
    np.savez(path, item_factors=np.eye(3, dtype=np.float32))
    assert read_model(path).scores(csr_array(np.array([[0, 1.0, 0]])))[0] == pytest.approx([0, 1, 0], abs=1e-5)


def refused(path, match, **how):
    with pytest.raises(RecpruneError, match=match) as caught:
        read_model(path, **how)
    assert "\n" not in str(caught.value)


@pytest.fixture
def here(monkeypatch):
    """Loads in this process at once: the other one would refuse in the same words."""
    monkeypatch.setattr("recprune.adapters.model_files._try", lambda *given: None)


@pytest.mark.usefixtures("here")
def test_what_is_no_model_is_refused(tmp_path):
    path = tmp_path / "model"
    refused(path, "cannot read .*model: No such file")
    refused(tmp_path, "cannot read .*: Is a directory")
    for content in (b"", b"GIF89a", b"\x80", b"\x80\x09abc"):
        path.write_bytes(content)
        refused(path, "is no model that is known; these are: skops")
    path.write_bytes(b"PK\x03\x04 and no more")
    refused(path, "is damaged")
    path.write_bytes(json.dumps({"steps": []}).encode())
    refused(path, "is JSON, but no model of XGBoost")
    path.write_bytes(b"tree\nversion=v4\n")
    refused(path, "cannot be read by LightGBM")
    np.savez(tmp_path / "a.npz", users=np.eye(2))
    refused(tmp_path / "a.npz", "holds users: item_factors or item_weights is due")
    np.savez(tmp_path / "b.npz", item_weights=np.eye(2), ids=np.array(["a", None], dtype=object))
    refused(tmp_path / "b.npz", "an array of objects, which only a pickle holds")
    np.savez(tmp_path / "c.npz", item_weights=np.eye(2), ids=IDS)
    refused(tmp_path / "c.npz", "no item-item model")
    np.savez(tmp_path / "d.npz", item_factors=np.full((2, 2), np.nan))
    refused(tmp_path / "d.npz", "NaN")
    np.savez(tmp_path / "f.npz", item_factors=np.ones((2, 2)), user_factors=np.ones((5, 3)))
    refused(tmp_path / "f.npz", r"user_factors are \(5, 3\), item_factors \(2, 2\)")
    np.savez(tmp_path / "g.npz", item_factors=np.ones((0, 2)))
    refused(tmp_path / "g.npz", r"a matrix, items x width, got shape \(0, 2\)")
    np.savez(tmp_path / "h.npz", item_factors=np.ones((2, 2)), alpha=[1.0, 2.0], l2=[1.0, 2.0])
    refused(tmp_path / "h.npz", "h.npz: ")
    np.savez(tmp_path / "i.npz", item_weights=np.ones((0, 0)))
    refused(tmp_path / "i.npz", "no item-item model")
    torch.save({"a": torch.ones(2)}, tmp_path / "j.pt")
    refused(tmp_path / "j.pt", "j.pt is a file of torch.save")
    np.savez(tmp_path / "e.npz", data=[1.0], indices=[7], indptr=[0, 1, 1], shape=[2, 2])
    refused(tmp_path / "e.npz", "e.npz: ")


@pytest.mark.usefixtures("here")
def test_an_archive_that_would_fill_the_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "zeros.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("item_weights.npy", bytes(20_000_000))
    monkeypatch.setattr("recprune.memory.free_bytes", lambda: 30_000_000)
    refused(path, "needs 0.0 GB of memory")


class Evil:
    def __reduce__(self):
        return os.system, ("touch stolen",)


class Reached:
    def __reduce__(self):
        return np.load, ("weights.npy",)


class Own:
    pass


@pytest.mark.usefixtures("here")
def test_a_pickle_is_loaded_by_those_who_trust_it_and_runs_nothing_that_is_no_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path, _ = write(tmp_path, "pickle")
    refused(path, "is a pickle, which can run any code")
    for protocol in (2, 3, 4, 5):
        for held, said in ((Evil(), "names posix.system"), ([Own()], "names tests.adapters.test_model_files.Own")):
            path.write_bytes(pickle.dumps(held, protocol))
            refused(path, said, trust_pickle=True)
        path.write_bytes(pickle.dumps(Reached(), protocol))
        refused(path, r"asks for numpy\..*load, which is no class", trust_pickle=True)
        kept = pickle.dumps(collections.OrderedDict(a=np.arange(3), b={1, 2.5, "c"}), protocol)
        assert load_pickle(kept, Path("kept"))["a"].tolist() == [0, 1, 2]
    assert not (tmp_path / "stolen").exists()
    # A class from elsewhere that a known module has imported.
    path.write_bytes(b"\x80\x02cnumpy.lib._npyio_impl\nitemgetter\nK\x01\x85R.")
    refused(path, "itemgetter, which is operator.itemgetter", trust_pickle=True)
    # A name put together while loading: eval, by way of the stack.
    path.write_bytes(b"\x80\x04N\x8c\x04evalN\x93.")
    refused(path, "computed name", trust_pickle=True)
    path.write_bytes(pickle.dumps(forest())[:-20])
    refused(path, "is no whole pickle", trust_pickle=True)


HELD = {
    "rows first": np.arange(6, dtype=np.float32).reshape(2, 3),
    "columns first": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "one number": np.array(7.5),
    "nothing": np.zeros((0, 3)),
    "objects": np.array(["a", 1, None], dtype=object),
    "sparse": csr_array(MATRIX),
}


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("how", [0, 3, ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)], ids=str)
def test_what_joblib_wrote_comes_back_however_it_was_compressed(tmp_path, how):
    path = tmp_path / "model.joblib"
    joblib.dump(HELD, path, compress=how)
    refused(path, "is a pickle, which can run any code")
    found = read_model(path, trust_pickle=True)
    assert list(found) == list(HELD)
    assert found.pop("sparse").toarray().tolist() == MATRIX.tolist()
    for name, array in found.items():
        assert (array.dtype, array.tolist()) == (HELD[name].dtype, HELD[name].tolist()), name
        assert array.flags.writeable
        assert array.flags.f_contiguous == HELD[name].flags.f_contiguous, name


@pytest.mark.usefixtures("here")
def test_what_joblib_wrote_runs_nothing_that_is_no_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.joblib"
    array = np.arange(3)
    for held, said in (
        ([array, Evil()], "asks for posix.system while it is loaded"),
        ([array, np.array([Evil()], dtype=object)], "asks for posix.system while it is loaded"),
        ([array, Own()], "asks for tests.adapters.test_model_files.Own while"),
        ([array, Reached()], r"asks for numpy\..*load, which is no class"),
    ):
        joblib.dump(held, path)
        refused(path, said, trust_pickle=True)
    assert not (tmp_path / "stolen").exists()
    joblib.dump([array], path)
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(array.tobytes()) + 8])
    refused(path, r"an array of int64, shape \(3,\), takes 24 bytes, found 8", trust_pickle=True)
    path.write_bytes(whole.replace(b"dtype", b"dtypo"))
    refused(path, "cannot be loaded", trust_pickle=True)
    joblib.dump([array], path, compress=3)
    path.write_bytes(path.read_bytes()[:-9])
    refused(path, "is damaged: ", trust_pickle=True)


def test_what_ends_a_process_or_takes_its_memory_does_so_elsewhere(tmp_path):
    path = tmp_path / "model"
    # LightGBM itself ends the process for this one.
    path.write_bytes(boosted().model_to_string().replace("left_child=", "left_child=8", 1).encode())
    refused(path, "is damaged: reading it ends")
    # A place in the unpickler's memo for which it makes room for two thousand million others, 16 GB.
    path.write_bytes(b"\x80\x02]r\x00\x00\x00\x7f.")
    refused(path, "cannot be loaded|is damaged", trust_pickle=True)


def test_names_in_a_pickle_are_those_that_it_imports():
    assert set(named_in(pickle.dumps(collections.OrderedDict(), 4), "it")) == {("collections", "OrderedDict")}
    assert set(named_in(pickle.dumps(collections.OrderedDict(), 2), "it")) == {("collections", "OrderedDict")}


def test_a_class_that_skops_does_not_know_is_refused(tmp_path):
    path = tmp_path / "own.skops"
    dump(make_pipeline(Own()), path)
    refused(path, "names tests.adapters.test_model_files.Own, which is not of scikit-learn")


@pytest.mark.slow
@settings(deadline=None, max_examples=100)
@given(kind=st.sampled_from(("json", "ubj", "skops", "pickle", "joblib", "npz")), data=st.data())
def test_a_damaged_file_gives_a_model_or_one_line(tmp_path_factory, kind, data):
    folder = tmp_path_factory.getbasetemp() / "damaged"
    folder.mkdir(exist_ok=True)
    path = folder / f"model.{kind}"
    if not path.exists():
        write(folder, kind)
    content = path.read_bytes()
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(content) - 1))
        broken = content[:at] + bytes([data.draw(st.integers(0, 255))]) + content[at + 1 :]
    else:
        broken = content[: data.draw(st.integers(0, len(content) - 1))]
    other = folder / "broken"
    other.write_bytes(broken)
    said = ""
    try:
        read_model(other, trust_pickle=True)
    except RecpruneError as error:
        said = str(error)
    assert "\n" not in said


def test_a_file_becomes_an_artifact_on_the_command_line(tmp_path):
    path, model = write(tmp_path, "txt")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("steps: [drop_trees: {trees: 3}, codebook: {target: leaves, bits: 4}]", encoding="utf-8")
    call = ["compress", str(path), "--recipe", str(recipe), "--out", str(tmp_path / "small")]
    dry = CliRunner().invoke(app, [*call, "--dry-run"])
    assert dry.exit_code == 0, dry.output
    assert not (tmp_path / "small").exists()
    done = CliRunner().invoke(app, call)
    assert done.exit_code == 0, (done.output, done.exception)
    scores = recprune.load(tmp_path / "small").score({f"Column_{i}": X[:, i] for i in range(3)})
    # Twelve leaves in sixteen words: nothing is lost but the trees.
    np.testing.assert_allclose(scores, model.predict(X, num_iteration=3), atol=1e-3)
    for kind, trust in (("npz", []), ("pickle", ["--trust-pickle"])):
        found, _ = write(tmp_path, kind)
        recipe.write_text("steps: []", encoding="utf-8")
        done = CliRunner().invoke(
            app, ["compress", str(found), "--recipe", str(recipe), "--out", str(tmp_path / kind), *trust]
        )
        assert done.exit_code == 0, (kind, done.output, done.exception)
    need = CliRunner().invoke(app, ["compress", str(path), "--recipe", str(tmp_path / "none.yaml")])
    assert isinstance(need.exception, RecpruneError)
    need = CliRunner().invoke(app, ["compress", str(path)])
    assert "needs --recipe" in str(need.exception)


@pytest.mark.parametrize("how", [[], ["--dry-run"]])
def test_a_recipe_that_makes_the_artifact_larger_is_one_line_on_the_command_line(tmp_path, monkeypatch, capsys, how):
    path, _ = write(tmp_path, "npz")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("steps: [quantize: {target: item_weights, bits: 8}]", encoding="utf-8")
    monkeypatch.setattr(
        "sys.argv", ["recprune", "compress", str(path), "--recipe", str(recipe), "--out", str(tmp_path / "small"), *how]
    )
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    said = r"error: the recipe makes the artifact larger: ([\d,]+) bytes, 1\.\d\d times the ([\d,]+) of the original\n"
    stop, start = re.fullmatch(said, capsys.readouterr().err).groups()
    assert int(stop.replace(",", "")) > int(start.replace(",", ""))
    assert not (tmp_path / "small").exists()
