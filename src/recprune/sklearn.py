"""Compression as an estimator of scikit-learn: fit, compress, predict."""

from __future__ import annotations

from typing import Any

from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from recprune.pruning.compress import compress
from recprune.pruning.recipe import Recipe

__all__ = ["Compressed"]


def _has(method: str) -> Any:
    def has(self: Any) -> bool:
        getattr(getattr(self, "model_", self.estimator), method)  # its AttributeError says what is missing
        return True

    return available_if(has)


class Compressed(MetaEstimatorMixin, BaseEstimator):  # type: ignore[misc]
    """An estimator that is made smaller when it is fitted; all that it answers comes from the smaller one.

    `estimator`: any that an adapter of recprune reads, such as a pipeline of TfidfVectorizer and LogisticRegression. It is
    cloned, never fitted itself. `recipe`: a `Recipe`, or what `Recipe.from_json` takes; None changes nothing but what
    training left behind.

    After `fit`: `estimator_`, as its own `fit` left it; `compressed_`, the `CompressedModel` with plan, bytes and artifact;
    `model_`, the smaller estimator. Raises what `compress` raises.

    >>> from sklearn.feature_extraction.text import CountVectorizer
    >>> from sklearn.naive_bayes import MultinomialNB
    >>> from sklearn.pipeline import make_pipeline
    >>> from recprune.pruning.methods import DropIds
    >>> texts = ["a night at sea", "a day at sea", "a paper on night", "a paper on day"]
    >>> model = Compressed(make_pipeline(CountVectorizer(), MultinomialNB()), Recipe((DropIds("word", 0.4, "chi_squared"),)))
    >>> model = model.fit(texts, ["story", "story", "science", "science"])
    >>> sorted(model.model_[0].vocabulary_), model.predict(["the sea", "paper"]).tolist()
    (['at', 'on', 'paper'], ['science', 'science'])
    """

    def __init__(self, estimator: Any, recipe: Any = None) -> None:
        self.estimator = estimator
        self.recipe = recipe

    def fit(self, X: Any, y: Any = None, **params: Any) -> Compressed:
        """Fit a clone of the estimator and make it smaller; `params` go to its `fit`."""
        recipe = Recipe() if self.recipe is None else self.recipe
        recipe = recipe if isinstance(recipe, Recipe) else Recipe.from_json(recipe)
        fitted = clone(self.estimator).fit(X, y, **params)
        self.estimator_ = fitted
        self.compressed_ = compress(fitted, recipe, (X, y))
        self.model_ = self.compressed_.model
        for name in ("classes_", "n_features_in_", "feature_names_in_"):
            if hasattr(fitted, name):
                setattr(self, name, getattr(fitted, name))
            elif hasattr(self, name):
                delattr(self, name)
        return self

    @_has("predict")
    def predict(self, X: Any) -> Any:
        """What the smaller estimator predicts."""
        return self._answer("predict", X)

    @_has("predict_proba")
    def predict_proba(self, X: Any) -> Any:
        """Its probabilities."""
        return self._answer("predict_proba", X)

    @_has("predict_log_proba")
    def predict_log_proba(self, X: Any) -> Any:
        """Their logarithms."""
        return self._answer("predict_log_proba", X)

    @_has("decision_function")
    def decision_function(self, X: Any) -> Any:
        """Its scores before they are probabilities."""
        return self._answer("decision_function", X)

    @_has("transform")
    def transform(self, X: Any) -> Any:
        """What it makes of X, where it is a transformer."""
        return self._answer("transform", X)

    @_has("score")
    def score(self, X: Any, y: Any = None) -> float:
        """Its own measure of how good it is."""
        check_is_fitted(self, "model_")
        return float(self.model_.score(X, y))

    def _answer(self, method: str, x: Any) -> Any:
        check_is_fitted(self, "model_")
        return getattr(self.model_, method)(x)

    def __sklearn_tags__(self) -> Any:
        """Those of the estimator: what it takes, this takes."""
        tags, own = super().__sklearn_tags__(), get_tags(self.estimator)
        for name in (
            "estimator_type",
            "target_tags",
            "classifier_tags",
            "regressor_tags",
            "transformer_tags",
            "input_tags",
        ):
            setattr(tags, name, getattr(own, name))
        return tags
