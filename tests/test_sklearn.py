"""The estimator that compresses itself is a citizen of scikit-learn."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone, is_classifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.naive_bayes import ComplementNB, MultinomialNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from recprune import Recipe, RecpruneError
from recprune.pruning.methods import DropIds, Quantize
from recprune.sklearn import Compressed

CODES = Recipe((Quantize("coef", 8, "per_column"),))
FAILING = {
    # The estimator's own: scikit-learn tolerates it of what names `sample_weight` in `fit`.
    ComplementNB: {"check_classifiers_one_label_sample_weights": "it scores a class without weight like the others"},
}
ESTIMATORS = [LogisticRegression(), MultinomialNB(), ComplementNB(), SGDClassifier(loss="log_loss", random_state=0)]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [Compressed(estimator, recipe) for estimator in ESTIMATORS for recipe in (None, CODES)],
    expected_failed_checks=lambda made: FAILING.get(type(made.estimator), {}),
)
def test_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


RNG = np.random.default_rng(0)
TITLES = [" ".join(RNG.choice(["night", "sea", "day", "paper", "book", "x1", "x2"], 4)) for _ in range(120)]
LABELS = np.array(["night" if "night" in title else "other" for title in TITLES])
TEXT = make_pipeline(TfidfVectorizer(), LogisticRegression())
SMALL = Recipe((DropIds("word", 0.4, "chi_squared"),))


def test_texts_and_pipelines():
    model = clone(Compressed(TEXT, SMALL)).fit(TITLES, LABELS)
    assert is_classifier(model)
    assert model.classes_.tolist() == ["night", "other"]
    assert "night" in model.model_[0].vocabulary_
    assert len(model.model_[0].vocabulary_) == 3  # of seven: 2.8
    assert len(model.estimator_[0].vocabulary_) == 7
    assert model.score(TITLES, LABELS) == (model.predict(TITLES) == LABELS).mean() > 0.95
    assert model.compressed_.compression_ratio > 1
    assert model.compressed_.artifact.graph.classes == ("night", "other")
    assert cross_val_score(Compressed(TEXT, SMALL), TITLES, LABELS, cv=2).min() > 0.9
    found = GridSearchCV(
        Compressed(TEXT), {"recipe": [None, SMALL], "estimator__logisticregression__C": [1.0, 9.0]}, cv=2
    )
    assert found.fit(TITLES, LABELS).best_score_ > 0.9
    assert Compressed(TEXT, {"steps": [{"drop_ids": {"axis": "word", "keep": 0.4}}]}).fit(TITLES, LABELS).model_[0]


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_frames_keep_their_names_within_a_pipeline(frame):
    x = frame({"a": RNG.normal(size=60), "b": RNG.normal(size=60)})
    y = np.asarray(x["a"]) > 0
    model = Compressed(LogisticRegression(), CODES).fit(x, y)
    assert model.feature_names_in_.tolist() == ["a", "b"]
    assert model.model_.feature_names_in_.tolist() == ["a", "b"]
    assert model.score(x, y) > 0.9
    assert model.compressed_.artifact.graph.columns == ("features",)
    whole = Pipeline([("scale", StandardScaler()), ("model", Compressed(LogisticRegression(), CODES))]).fit(x, y)
    np.testing.assert_allclose(whole.predict_proba(x).sum(axis=1), 1)
    assert not hasattr(model.fit(np.asarray(x), y), "feature_names_in_")


def test_what_the_estimator_lacks_this_lacks():
    assert not hasattr(Compressed(SGDClassifier()), "predict_proba")
    assert not hasattr(Compressed(SGDClassifier()), "transform")
    with pytest.raises(RecpruneError, match="no adapter for"):
        Compressed(StandardScaler()).fit(RNG.normal(size=(5, 2)))
