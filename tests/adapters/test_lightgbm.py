"""LightGBM's models, scored by numpy as the library scores them."""

import lightgbm
import numpy as np
import pandas as pd
import pytest

from recprune.adapters import adapter_for
from recprune.errors import RecpruneError
from recprune.pruning.compress import compress
from recprune.pruning.recipe import Recipe
from recprune.runtime import load

from .forests import by_number, hard, rows, scored

X, Y, Y3 = rows()
QUICK = {"verbose": -1, "num_threads": 1, "min_data_per_group": 5, "cat_smooth": 1, "max_cat_to_onehot": 2}
SETTINGS = {
    "binary": {"objective": "binary"},
    "sigmoid": {"objective": "binary", "sigmoid": 2.0},
    "softmax": {"objective": "multiclass", "num_class": 3},
    "one against all": {"objective": "multiclassova", "num_class": 3, "sigmoid": 0.5},
    "squares": {"objective": "regression"},
    "counts": {"objective": "poisson"},
    "zero is missing": {"objective": "binary", "zero_as_missing": True},
    "nothing is missing": {"objective": "binary", "use_missing": False},
    "averaged": {"objective": "binary", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5},
    "dart": {"objective": "binary", "boosting": "dart"},
    "extra": {"objective": "binary", "extra_trees": True},
}


def train(x=X, rounds=12, labels=None, categorical=(3,), **settings):
    labels = (Y3 if "num_class" in settings else Y) if labels is None else labels
    data = lightgbm.Dataset(x, labels, categorical_feature=list(categorical))
    return lightgbm.train(QUICK | settings, data, rounds)


def check(model, x, want):
    found, snapshot = scored(model, by_number(x, "Column_{}"))
    want = np.asarray(want).reshape(len(x), -1)
    np.testing.assert_allclose(found, want, atol=2e-6, rtol=1e-6)
    rebuilt = adapter_for(model).rebuild(model, snapshot.weights)
    assert type(rebuilt) is type(model)
    np.testing.assert_allclose(np.asarray(rebuilt.predict(x)).reshape(len(x), -1), want, atol=2e-6, rtol=1e-6)
    return snapshot


@pytest.mark.parametrize("name", SETTINGS)
def test_every_row(name):
    model = train(**SETTINGS[name])
    for x in (X, hard(X)):
        check(model, x, model.predict(x))


def test_without_categories_and_without_missing_values():
    model = train(np.nan_to_num(X), categorical=(), objective="binary")
    check(model, hard(X), model.predict(hard(X)))


def text_of(threshold, decision):
    """A model of one tree by hand: f <= threshold gives 10, else 20."""
    tree = (
        f"Tree=0\nnum_leaves=2\nnum_cat=0\nsplit_feature=0\nsplit_gain=1\nthreshold={threshold}\n"
        f"decision_type={decision}\nleft_child=-1\nright_child=-2\nleaf_value=10 20\nis_linear=0\nshrinkage=1\n\n\n"
    )
    head = (
        "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\nmax_feature_idx=0\n"
        f"objective=regression\nfeature_names=f\nfeature_infos=[0:9]\ntree_sizes={len(tree)}\n\n"
    )
    return head + tree + "end of trees\n\nparameters:\nend of parameters\n\npandas_categorical:null\n"


@pytest.mark.parametrize("threshold", [1, -1, 0, 1e-36])
@pytest.mark.parametrize("missing", [0, 4, 8], ids=["none", "zero", "nan"])
@pytest.mark.parametrize("left", [0, 2])
def test_what_is_missing(threshold, missing, left):
    model = lightgbm.Booster(model_str=text_of(threshold, missing + left))
    x = np.array([[np.nan], [0.0], [-0.0], [1e-36], [1e-34], [-1e-34], [1.0], [2.0], [-2.0], [np.inf], [-np.inf]])
    found, _ = scored(model, {"f": x[:, 0]})
    assert found[:, 0].tolist() == model.predict(x).tolist()


@pytest.mark.parametrize("threshold", [0.1, 1.9, 0.671000004, 1.0000000000000002])
def test_a_row_on_the_boundary_is_compared_in_double(threshold):
    # C9: what rounding to float32 would send the other way.
    near = float(np.float32(threshold))
    x = np.array([threshold, near, np.nextafter(threshold, 9), np.nextafter(threshold, -9), 0.671])
    model = lightgbm.Booster(model_str=text_of(threshold, 8))
    found = scored(model, {"f": x})[0][:, 0]
    assert found.tolist() == model.predict(x.reshape(-1, 1)).tolist()
    assert found[[0, 2, 3]].tolist() == [10, 20, 10]


def test_nan_counts_as_zero_where_nothing_is_missing():
    # C10: f <= 1 gives 10 else 20; then the threshold -1.
    assert scored(lightgbm.Booster(model_str=text_of(1, 0)), {"f": np.array([np.nan])})[0].tolist() == [[10]]
    assert scored(lightgbm.Booster(model_str=text_of(-1, 0)), {"f": np.array([np.nan])})[0].tolist() == [[20]]


def test_a_tree_of_one_leaf(tmp_path):
    # C11: nothing to learn from, so the mean of the labels for every row.
    model = train(np.zeros((40, 2)), 2, np.full(40, 5.0), (), objective="regression")
    assert model.predict(X[:3, :2]).tolist() == [5, 5, 5]
    check(model, X[:, :2], model.predict(X[:, :2]))
    compress(model, Recipe()).save(tmp_path / "leaf")
    assert load(tmp_path / "leaf").score({"Column_0": [1.0, None]}).tolist() == [5, 5]


def test_trees_behind_the_best_iteration_are_not_read():
    model = train(objective="multiclass", num_class=3)
    model.best_iteration = 5
    snapshot = check(model, X, model.predict(X))
    assert snapshot.weights["trees"].value.trees == 15
    assert model.num_trees() == 36


def test_estimators_and_categories_of_a_frame(tmp_path):
    frame = pd.DataFrame(np.nan_to_num(X), columns=["age", "year", "price", "genre", "stars"])
    names = np.array([f"genre {i % 7}" for i in range(40)])
    frame["genre"] = pd.Categorical(names[frame["genre"].astype(int)])
    model = lightgbm.LGBMClassifier(n_estimators=10, verbose=-1, n_jobs=1).fit(frame, Y)
    result = compress(model, Recipe(), (frame, Y))
    result.save(tmp_path / "boosted")
    scorer = load(tmp_path / "boosted")
    request = {name: frame[name].tolist() for name in frame.columns}
    request["genre"][:3] = ["no such genre", None, ""]
    codes = np.concatenate([[-1, -1, -1], frame["genre"].cat.codes[3:]])
    asked = frame.assign(genre=pd.Categorical.from_codes(codes, frame["genre"].cat.categories))
    np.testing.assert_allclose(scorer.score(request), model.predict_proba(asked)[:, 1], atol=1e-6)
    assert type(result.model) is type(model)
    np.testing.assert_allclose(result.model.predict_proba(frame), model.predict_proba(frame), atol=1e-6)
    regressor = lightgbm.LGBMRegressor(n_estimators=5, verbose=-1, n_jobs=1).fit(X, Y)
    check(regressor, X, regressor.predict(X))
    ranker = lightgbm.LGBMRanker(n_estimators=5, verbose=-1, n_jobs=1).fit(X, Y, group=[30] * 20)
    check(ranker, X, ranker.predict(X))


def test_what_cannot_be_read():
    with pytest.raises(RecpruneError, match="is not fitted"):
        adapter_for(lightgbm.LGBMClassifier()).read(lightgbm.LGBMClassifier())
    linear = train(np.nan_to_num(X), 3, categorical=(), objective="regression", linear_tree=True)
    with pytest.raises(RecpruneError, match=r"linear models in their leaves"):
        adapter_for(linear).read(linear)
    odd = train(objective="cross_entropy_lambda")
    with pytest.raises(RecpruneError, match=r"cross_entropy_lambda.*binary"):
        adapter_for(odd).read(odd)
