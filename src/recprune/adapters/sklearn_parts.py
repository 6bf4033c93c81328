"""Text pipelines and linear classifiers of scikit-learn: their parts as arrays, and how smaller ones are put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import clone
from sklearn.decomposition import TruncatedSVD
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.naive_bayes import ComplementNB, MultinomialNB
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_array, check_is_fitted

from recprune.errors import RecpruneError
from recprune.text import Analyzer, escape

__all__ = ["Parts", "analyzer_of", "head_arrays", "ids_of", "output_of", "parts_of", "put_together"]

Array = npt.NDArray[Any]
_HEADS = (MultinomialNB, ComplementNB, LogisticRegression, SGDClassifier)
_NEVER = -1e4
_BAYES = (MultinomialNB, ComplementNB)
_SUPPORTED = (
    "[CountVectorizer or TfidfVectorizer, TfidfTransformer, TruncatedSVD], then MultinomialNB, ComplementNB, "
    "LogisticRegression or SGDClassifier; or one of these four alone"
)
# What a fitted estimator needs to answer: all else that training left behind stays behind.
_KEPT = {
    CountVectorizer: ("fixed_vocabulary_", "_stop_words_id"),
    TruncatedSVD: ("explained_variance_", "explained_variance_ratio_", "singular_values_"),
    MultinomialNB: ("classes_", "class_count_", "feature_names_in_"),
    ComplementNB: ("classes_", "class_count_", "feature_names_in_", "class_log_prior_"),
    LogisticRegression: ("classes_", "n_iter_", "feature_names_in_", "C_", "l1_ratio_"),
    SGDClassifier: ("classes_", "n_iter_", "feature_names_in_", "t_"),
}


@dataclass(frozen=True, eq=False)
class Parts:
    """The steps of a model; what it lacks is None. `svd` or `head` is there."""

    vectorizer: Any = None
    tfidf: Any = None
    svd: Any = None
    head: Any = None

    @property
    def weighting(self) -> Any:
        """The fitted TfidfTransformer, wherever it lies."""
        return self.vectorizer._tfidf if isinstance(self.vectorizer, TfidfVectorizer) else self.tfidf

    def counted(self, data: Any) -> Any:
        """What the first layer reads for raw data, before components: (rows, words or features)."""
        if self.vectorizer is None:
            return check_array(data, accept_sparse="csr")
        found = self.vectorizer.transform(data)
        return found if self.tfidf is None else self.tfidf.transform(found)


def parts_of(model: Any) -> Parts:
    """Take a fitted model apart. Raises RecpruneError for one that is not fitted, or that consists of other steps."""
    steps = [step for _, step in model.steps] if isinstance(model, Pipeline) else [model]
    found: dict[str, Any] = {}
    order: list[int] = []
    kinds: list[tuple[str, Any]] = [
        ("vectorizer", CountVectorizer), ("tfidf", TfidfTransformer), ("svd", TruncatedSVD), ("head", _HEADS)
    ]  # fmt: skip
    for step in steps:
        if step is None or step == "passthrough":
            continue
        place = next((i for i, (_, kind) in enumerate(kinds) if isinstance(step, kind)), None)
        if place is None or (order and place <= order[-1]):
            raise RecpruneError(
                f"a pipeline with {type(step).__name__} here is not supported; supported are {_SUPPORTED}"
            )
        order.append(place)
        found[kinds[place][0]] = step
        try:
            check_is_fitted(step)
        except NotFittedError as error:
            raise RecpruneError(
                f"{type(step).__name__} is not fitted: fit the model before it is compressed"
            ) from error
    if not {"svd", "head"} & set(found) or (len(found) > 1 and "vectorizer" not in found):
        raise RecpruneError(f"this pipeline has nothing to make smaller; supported are {_SUPPORTED}")
    parts = Parts(**found)
    if parts.head is not None and len(parts.head.classes_) < 2:
        raise RecpruneError(f"{type(parts.head).__name__} knows one class only: there is nothing to tell apart")
    return parts


def _words_of(vectorizer: Any) -> list[str]:
    """The vocabulary in the order of its columns."""
    return sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.__getitem__)


def analyzer_of(vectorizer: Any) -> tuple[Analyzer, Any]:
    """What a vectorizer does to a text; and, where a function of the user's does it, what makes lists of words of a text."""
    distinct, ngrams = bool(vectorizer.binary), tuple(int(n) for n in vectorizer.ngram_range)
    own = callable(vectorizer.tokenizer) or callable(vectorizer.preprocessor) or callable(vectorizer.strip_accents)
    if callable(vectorizer.analyzer) or (own and vectorizer.analyzer != "word"):
        return Analyzer(False, pattern=None, distinct=distinct), vectorizer.build_analyzer()
    stop = tuple(sorted(vectorizer.get_stop_words() or ())) if vectorizer.analyzer == "word" else ()
    settings: dict[str, Any] = {"unit": vectorizer.analyzer, "ngrams": ngrams, "stop_words": stop, "distinct": distinct}
    if not own:
        plain: dict[str, Any] = {"lowercase": bool(vectorizer.lowercase), "accents": vectorizer.strip_accents or None}
        if vectorizer.analyzer != "word":
            return Analyzer(**plain, **settings), None
        try:
            return Analyzer(pattern=vectorizer.token_pattern, **plain, **settings), None
        except RecpruneError:
            pass  # a pattern that could take forever: its words are given, as those of a tokenizer are
    prepare, tokenize = vectorizer.build_preprocessor(), vectorizer.build_tokenizer()
    return Analyzer(False, pattern=None, **settings), lambda text: list(tokenize(prepare(text)))


def head_arrays(head: Any) -> tuple[Array, Array]:
    """What a classifier multiplies and adds: (features, columns) and (columns,), one column for two classes.

    Of naive Bayes only the differences between classes count: log probabilities less their mean over the classes.
    """
    two = len(head.classes_) == 2
    if not isinstance(head, _BAYES):
        if two and getattr(head, "multi_class", "auto") == "multinomial":
            raise RecpruneError(
                "two classes with multi_class='multinomial' are not supported; leave it out and fit again"
            )
        coef = head.coef_.toarray() if hasattr(head.coef_, "toarray") else head.coef_
        return coef.T, np.broadcast_to(head.intercept_, len(coef))
    logs = head.feature_log_prob_
    prior = _prior(head) if isinstance(head, MultinomialNB) else np.zeros(len(logs))
    if two:
        return (logs[1] - logs[0])[:, None], prior[1:] - prior[:1]
    return (logs - logs.mean(axis=0)).T, prior - prior.mean()


def _prior(head: Any) -> Array:
    """Logarithms of the priors; of a class without any weight not minus infinity, which no file holds, but as good as it."""
    return np.asarray(np.maximum(head.class_log_prior_, _NEVER))


def output_of(head: Any) -> Sequence[str]:
    """The operations that make probabilities of logits; none where the classifier gives none (SGD with a hinge loss)."""
    several = len(head.classes_) > 2
    if isinstance(head, SGDClassifier):
        if head.loss != "log_loss":
            return ()
        return ("sigmoid", "normalize") if several else ("sigmoid",)
    apart = getattr(head, "multi_class", "auto") == "ovr" or getattr(head, "solver", "") == "liblinear"
    return ("sigmoid",) if not several else ("sigmoid", "normalize") if apart else ("softmax",)


def put_together(
    model: Any, parts: Parts, keep: Array, idf: Array | None, components: Array | None, coef: Array, bias: Array
) -> Any:
    """A fitted model of the same class whose vectorizer knows the words `keep` (rows of its vocabulary) only.

    `components`: (words, topics) or None; `coef`: (features, columns) as `head_arrays` gives them.
    """
    made = clone(model)
    fresh = _unfitted(made)
    many = len(keep)
    if fresh.vectorizer is not None:
        words = _words_of(parts.vectorizer)
        _keep(fresh.vectorizer, parts.vectorizer, CountVectorizer)
        fresh.vectorizer.vocabulary_ = {words[row]: i for i, row in enumerate(keep)}
        if isinstance(fresh.vectorizer, TfidfVectorizer):
            fresh.vectorizer._tfidf = clone(parts.weighting)
    if fresh.weighting is not None:
        fresh.weighting.n_features_in_ = many
        if parts.weighting.use_idf:
            fresh.weighting.idf_ = np.asarray(idf, parts.weighting.idf_.dtype)
    if fresh.svd is not None:
        assert components is not None
        if components.shape[1] == len(parts.svd.components_):
            _keep(fresh.svd, parts.svd, TruncatedSVD)
        fresh.svd.components_ = np.ascontiguousarray(components.T, parts.svd.components_.dtype)
        fresh.svd.n_features_in_ = many
    if fresh.head is not None:
        _fill(fresh.head, parts, keep, coef, bias)
    return made


def _unfitted(model: Any) -> Parts:
    """The parts of a model that is not fitted yet."""
    steps = [step for _, step in model.steps] if isinstance(model, Pipeline) else [model]

    def first(kind: Any) -> Any:
        return next((step for step in steps if isinstance(step, kind)), None)

    return Parts(first(CountVectorizer), first(TfidfTransformer), first(TruncatedSVD), first(_HEADS))


def _keep(fresh: Any, old: Any, kind: Any) -> None:
    for name in _KEPT[kind]:
        if hasattr(old, name):
            setattr(fresh, name, getattr(old, name))


def _fill(head: Any, parts: Parts, keep: Array, coef: Array, bias: Array) -> None:
    old = parts.head
    _keep(head, old, next(kind for kind in _HEADS if isinstance(old, kind)))
    head.n_features_in_ = len(coef)
    if not isinstance(old, _BAYES):
        head.coef_ = np.ascontiguousarray(coef.T, old.coef_.dtype)
        head.intercept_ = np.asarray(bias, np.float64 if np.isscalar(old.intercept_) else old.intercept_.dtype)
        return
    at = keep if parts.svd is None else np.arange(len(coef))

    def spread(differences: Array, mean: Array) -> Array:
        """Differences between classes around their mean as one row for each class."""
        if len(old.classes_) == 2:
            differences = np.stack([-differences[0] / 2, differences[0] / 2])
        return np.asarray(mean + differences)

    head.feature_log_prob_ = spread(coef.T, old.feature_log_prob_[:, at].mean(axis=0))
    head.feature_count_ = old.feature_count_[:, at]
    if isinstance(old, MultinomialNB):
        head.class_log_prior_ = spread(bias[:, None], _prior(old).mean(keepdims=True))[:, 0]
    else:
        head.feature_all_ = old.feature_all_[at]


def ids_of(parts: Parts, features: int) -> Array:
    """Ids of the rows: words (as ids), names of features, or their numbers."""
    if parts.vectorizer is not None:
        return np.array([escape(word) for word in _words_of(parts.vectorizer)], dtype=np.str_)
    names = getattr(parts.head if parts.head is not None else parts.svd, "feature_names_in_", None)
    return np.arange(features) if names is None else np.array([str(name) for name in names], dtype=np.str_)
