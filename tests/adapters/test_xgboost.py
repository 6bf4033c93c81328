"""XGBoost's models, scored by numpy as the library scores them."""

import numpy as np
import pytest

from recprune.adapters import adapter_for
from recprune.errors import RecpruneError

from .forests import by_number, rows, scored

xgboost = pytest.importorskip("xgboost")

X, Y, Y3 = rows()
KINDS = ["q", "q", "q", "c", "q"]
SETTINGS = {
    "logistic": {"objective": "binary:logistic"},
    "softmax": {"objective": "multi:softprob", "num_class": 3},
    "side by side": {"objective": "multi:softprob", "num_class": 3, "num_parallel_tree": 2, "subsample": 0.5},
    "squares": {"objective": "reg:squarederror"},
    "counts": {"objective": "count:poisson"},
    "dart": {"objective": "binary:logistic", "booster": "dart", "rate_drop": 0.5},
}


def matrix(x, y=None, categories=False):
    more = {"feature_types": KINDS, "enable_categorical": True} if categories else {}
    return xgboost.DMatrix(x, y, **more)


@pytest.mark.parametrize("categories", [False, True], ids=["numbers", "categories"])
@pytest.mark.parametrize("name", SETTINGS)
def test_every_row(name, categories):
    settings = {"max_depth": 4, "max_cat_to_onehot": 2, "nthread": 1} | SETTINGS[name]
    y = Y3 if "num_class" in settings else Y
    model = xgboost.train(settings, matrix(X, y, categories), 8)
    x = X.copy()
    x[:50, :3] = np.nan_to_num(X[:50, :3].astype(np.float32))
    want = model.predict(matrix(x, None, categories)).reshape(len(x), -1)
    found, snapshot = scored(model, by_number(x, "f{}"))
    np.testing.assert_allclose(found, want, atol=2e-6)
    again = adapter_for(model).rebuild(model, snapshot.weights).predict(matrix(x, None, categories))
    np.testing.assert_allclose(again.reshape(len(x), -1), want, atol=2e-6)


def test_a_row_on_the_boundary_goes_right_after_rounding_to_float32():
    # C9: 0.671 and 0.671000004 are one float32, so the one is not below the other.
    assert np.float32(0.671) == np.float32(0.671000004)
    x = np.repeat([[0.5], [0.671]], 50, axis=0)
    settings = {"max_depth": 1, "tree_method": "exact", "nthread": 1}
    model = xgboost.train(settings, xgboost.DMatrix(x, np.repeat([0, 1], 50)), 2)
    edge = float(adapter_for(model).read(model).weights["trees"].value.tests.thresholds[0])
    line = np.array([edge, np.nextafter(np.float32(edge), np.float32(9)), 0.671, 0.671000004, 0.5])
    want = model.predict(xgboost.DMatrix(line.reshape(-1, 1)))
    found = scored(model, {"f0": line})[0][:, 0]
    assert want[0] != want[1]
    np.testing.assert_allclose(found, want, atol=1e-6)
    assert found[2] == found[3]


def test_an_estimator_is_read_up_to_its_best_iteration():
    model = xgboost.XGBClassifier(n_estimators=40, early_stopping_rounds=2, learning_rate=1.0, n_jobs=1)
    model.fit(X[:400], Y[:400], eval_set=[(X[400:], Y[400:])], verbose=False)
    found, snapshot = scored(model, by_number(X, "f{}"))
    assert snapshot.weights["trees"].value.trees == model.best_iteration + 1 < 40
    np.testing.assert_allclose(found[:, 0], model.predict_proba(X)[:, 1], atol=1e-6)
    rebuilt = adapter_for(model).rebuild(model, snapshot.weights)
    np.testing.assert_allclose(rebuilt.predict_proba(X), model.predict_proba(X), atol=1e-6)


def test_what_cannot_be_read():
    with pytest.raises(RecpruneError, match="is not fitted"):
        adapter_for(xgboost.XGBClassifier()).read(xgboost.XGBClassifier())
    linear = xgboost.train({"booster": "gblinear"}, matrix(np.nan_to_num(X), Y), 2)
    with pytest.raises(RecpruneError, match=r"this one is gblinear"):
        adapter_for(linear).read(linear)
    hinge = xgboost.train({"objective": "binary:hinge"}, matrix(X, Y), 2)
    with pytest.raises(RecpruneError, match=r"hinge.*binary:logistic"):
        adapter_for(hinge).read(hinge)
    marked = xgboost.XGBRegressor(n_estimators=2, missing=-1.0, n_jobs=1).fit(np.nan_to_num(X), Y)
    with pytest.raises(RecpruneError, match=r"takes -1.0 for one"):
        adapter_for(marked).read(marked)
