"""scikit-learn's forests, scored by numpy as the library scores them."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)

from recprune.adapters import adapter_for
from recprune.errors import RecpruneError
from recprune.pruning.compress import compress
from recprune.pruning.methods import Quantize
from recprune.pruning.recipe import Recipe
from recprune.runtime import load

from .forests import by_number, rows, scored

X, Y, Y3 = rows()


def check(model, x, want):
    """The runtime equals the library on every row, and so does the estimator that is put together again."""
    found, snapshot = scored(model, by_number(x, "x{}"))
    want = want.reshape(len(x), -1)
    np.testing.assert_allclose(found, want[:, 1:] if want.shape[1] == 2 else want, atol=1e-6)
    rebuilt = adapter_for(model).rebuild(model, snapshot.weights)
    assert type(rebuilt) is type(model)
    again = (rebuilt.predict_proba if hasattr(rebuilt, "predict_proba") else rebuilt.predict)(x)
    np.testing.assert_allclose(again.reshape(len(x), -1), want, atol=1e-6)
    return rebuilt


@pytest.mark.parametrize("make", [RandomForestClassifier, ExtraTreesClassifier])
@pytest.mark.parametrize("labels", [Y, Y3], ids=["two classes", "three classes"])
@pytest.mark.parametrize("settings", [{}, {"max_leaf_nodes": 20}], ids=["depth first", "best first"])
def test_classifiers(make, labels, settings):
    model = make(7, random_state=0, **settings).fit(X, labels)
    check(model, X, model.predict_proba(X))


@pytest.mark.parametrize("make", [RandomForestRegressor, ExtraTreesRegressor])
def test_regressors(make):
    model = make(7, random_state=0).fit(X, Y3)
    check(model, X, model.predict(X))


def test_a_row_on_the_boundary_goes_left_after_rounding_to_float32():
    # C9: the threshold is a double; float32(1.9) = 1.89999998 lies below 1.9, so it goes left.
    for low, high in ((1.0, 2.8), (1.1, 1.3), (-0.3, 0.1), (0.1, 0.7)):
        model = RandomForestClassifier(3, bootstrap=False).fit(np.array([[low], [high]]), [0, 1])
        threshold = float(model.estimators_[0].tree_.threshold[0])
        near = np.float32(threshold)
        line = [threshold, near, np.nextafter(near, np.float32(9)), np.nextafter(near, np.float32(-9)), low, high]
        x = np.array(line, np.float64).reshape(-1, 1)
        check(model, x, model.predict_proba(x))
        stored = adapter_for(model).read(model).weights["trees"].value.tests.thresholds
        assert stored.dtype in (np.float16, np.float32)
        assert float(stored[0]) <= threshold
    one = RandomForestClassifier(1, bootstrap=False).fit(np.array([[1.0], [2.8]]), [0, 1])
    found, _ = scored(one, {"x0": np.array([1.9, np.nextafter(np.float32(1.9), np.float32(9))])})
    assert found.tolist() == [[0], [1]]


def test_a_forest_of_one_leaf():
    # C11: nothing to split on; the mean of 3 and 7 is 5, for every row.
    model = RandomForestRegressor(3, bootstrap=False).fit(np.zeros((2, 2)), [3, 7])
    found, _ = scored(model, by_number(X[:, :2], "x{}"))
    assert found.tolist() == [[5]] * len(X)
    check(model, np.nan_to_num(X[:, :2]), np.full(len(X), 5.0))


def test_names_of_frames_are_kept_and_what_training_left_is_gone(tmp_path):
    names = ["age", "year", "price", "genre", "stars"]
    model = RandomForestClassifier(30, oob_score=True, random_state=0).fit(pd.DataFrame(X, columns=names), Y)
    before = model.predict_proba(pd.DataFrame(X, columns=names))
    result = compress(model, Recipe((Quantize("leaves", 8, "per_tensor"),)))
    result.save(tmp_path / "forest")
    scorer = load(tmp_path / "forest")
    assert set(scorer.columns) <= set(names)
    for frame in (pl.DataFrame(X, schema=names), pd.DataFrame(X[:, ::-1], columns=names[::-1])):
        # Eight bits of a share: a step is 1 / 127.
        np.testing.assert_allclose(scorer.score(frame), before[:, 1], atol=0.5 / 127 + 1e-3)
    rebuilt = result.model
    assert not hasattr(rebuilt, "oob_decision_function_")
    assert hasattr(model, "oob_decision_function_")
    assert rebuilt.feature_names_in_.tolist() == names
    assert rebuilt.score(pd.DataFrame(X, columns=names), Y) > 0.95
    assert clone(rebuilt).n_estimators == len(rebuilt.estimators_) == 30
    np.testing.assert_array_equal(model.predict_proba(pd.DataFrame(X, columns=names)), before)


def test_only_columns_that_a_tree_reads_are_asked_for(tmp_path):
    x = np.zeros((50, 6))
    x[:, 2] = np.arange(50)
    model = RandomForestClassifier(3, random_state=0).fit(x, np.arange(50) > 20)
    compress(model, Recipe()).save(tmp_path / "one")
    scorer = load(tmp_path / "one")
    assert scorer.columns == ("x2",)
    np.testing.assert_allclose(scorer.score({"x2": x[:, 2]}), model.predict_proba(x)[:, 1], atol=1e-6)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (RandomForestClassifier(), "is not fitted"),
        (RandomForestRegressor(2).fit(X, np.column_stack([Y, Y])), "one target"),
        (RandomForestClassifier(2).fit(X, np.zeros(len(X))), "one class only"),
        (GradientBoostingClassifier(), "no adapter for .*GradientBoosting.*ForestClassifier"),
    ],
)
def test_what_cannot_be_read(model, message):
    with pytest.raises(RecpruneError, match=message):
        adapter_for(model).read(model)


@pytest.mark.parametrize(
    ("data", "message"),
    [(X, "a pair"), ((X[:, :3], Y), r"reads 5 features.*\(600, 3\)"), ((X, Y[:5]), "600 rows, y has 5")],
)
def test_data_that_does_not_fit(data, message):
    model = RandomForestClassifier(2).fit(X, Y)
    with pytest.raises(RecpruneError, match=message):
        adapter_for(model).context(model, data, 0, print)


def test_labels_are_numbers_of_classes():
    model = RandomForestClassifier(2).fit(X, np.array(["no", "yes"])[Y])
    context = adapter_for(model).context(model, (X, np.array(["yes", "no", "yes"])[[0, 1, 2] * 200]), 0, print)
    assert context.labels[:3].tolist() == [[1], [0], [1]]
    three = RandomForestClassifier(2).fit(X, Y3)
    context = adapter_for(three).context(three, (X, Y3), 0, print)
    assert context.labels.tolist() == np.eye(3)[Y3].tolist()
