"""Text pipelines and linear classifiers: the artifact and the rebuilt model answer as scikit-learn does."""

import json

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, Ridge, SGDClassifier
from sklearn.naive_bayes import ComplementNB, MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from recprune import Recipe, RecpruneError, compress, load
from recprune.adapters.sklearn import SklearnAdapter
from recprune.pruning.methods import Codebook, DropAxis, DropIds, DropRows, Factorize, Quantize, Retrain
from recprune.runtime import Scorer
from tests.test_imports import BLOCK, run

RNG = np.random.default_rng(0)
STEMS = ["night", "sea", "Über", "café", "don't", "the", "of", "2001", "书架", "a\\b", "x"]
RARE = [f"{n:08x}" for n in RNG.integers(1 << 32, size=100)]  # to forget them saves more than it takes to say so
WORDS = 3 * [stem + end for stem in STEMS for end in ("", "s", "-")] + RARE
TITLES = [" ".join(RNG.choice(WORDS, RNG.integers(1, 8))) for _ in range(300)]
LABELS = np.array(["sea" if "sea" in t else "night" if "night" in t else "other" for t in TITLES])
TWO = LABELS == "sea"
NEW = [
    *TITLES[:50],
    "",
    "quite unknown words",
    "Night\nNIGHT\n\nsea",
    "CAFÉ cafe\u0301",
    "  sea\tsea  ",
    "\x00 x",
    "书架书",
]


def gram_tokens(text):
    return list(text.lower())


COUNTS, CHARS, WITHIN = CountVectorizer(), {"analyzer": "char", "ngram_range": (1, 3)}, {"analyzer": "char_wb"}
CV = LogisticRegressionCV(cv=2, use_legacy_attributes=False, l1_ratios=(0,), scoring="neg_log_loss")
LOG = SGDClassifier(loss="log_loss")
OWN = CountVectorizer(tokenizer=gram_tokens, token_pattern=None, ngram_range=(1, 2))
MODELS = {
    "counts, NB": (make_pipeline(CountVectorizer(), MultinomialNB()), LABELS),
    "counts, NB, two": (make_pipeline(CountVectorizer(binary=True), MultinomialNB()), TWO),
    "tf-idf, complement NB": (make_pipeline(TfidfVectorizer(), ComplementNB(norm=True)), LABELS),
    "tf-idf, LR": (
        make_pipeline(
            TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), strip_accents="unicode", stop_words=["the"]),
            LogisticRegression(),
        ),
        LABELS,
    ),
    "tf-idf l1, LR, two": (make_pipeline(TfidfVectorizer(norm="l1", smooth_idf=False), LogisticRegression()), TWO),
    "no idf": (make_pipeline(TfidfVectorizer(use_idf=False), LogisticRegression(solver="liblinear")), TWO),
    "characters": (make_pipeline(CountVectorizer(**CHARS), TfidfTransformer(), MultinomialNB()), LABELS),
    "within words": (make_pipeline(TfidfVectorizer(ngram_range=(2, 4), **WITHIN), LOG), LABELS),
    "hinge": (make_pipeline(TfidfVectorizer(strip_accents="ascii"), SGDClassifier()), LABELS),
    "LSA": (make_pipeline(TfidfVectorizer(), TruncatedSVD(5), LogisticRegression()), LABELS),
    "no intercept": (make_pipeline(CountVectorizer(), LogisticRegression(fit_intercept=False)), LABELS),
    "cross-validated": (make_pipeline(COUNTS, CV), TWO),
    "own words": (make_pipeline(OWN, MultinomialNB()), LABELS),
}  # fmt: skip


def answers(model, texts):
    found = model.predict_proba(texts) if hasattr(model, "predict_proba") else model.decision_function(texts)
    return found[:, 1] if found.shape[1] == 2 else found


def request(scorer, texts):
    return {"tokens": [gram_tokens(text) for text in texts]} if scorer.columns == ("tokens",) else {"text": texts}


@pytest.fixture(scope="module", params=MODELS)
def fitted(request):
    model, labels = MODELS[request.param]
    return clone(model).fit(TITLES, labels), labels


RECIPES = {
    "nothing": (),
    "fewer words": (DropIds("word", 0.5),),
    "chi-squared, refitted": (DropIds("word", 0.3, "chi_squared"), Retrain()),
    "codes": (DropIds("word", 0.5, "mutual_information"), Quantize("*", 8, "per_column")),
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_artifact_and_the_rebuilt_model_answer_alike(fitted, recipe, tmp_path):
    model, labels = fitted
    found = compress(model, Recipe(RECIPES[recipe]), (TITLES, labels))
    found.save(tmp_path / "artifact")
    scorer = load(tmp_path / "artifact")
    expected = answers(found.model, NEW)
    np.testing.assert_allclose(scorer.score(request(scorer, NEW)), expected, atol=2e-6, rtol=1e-5)
    assert type(found.model) is type(model)
    assert str(found.model.get_params()) == str(clone(model).get_params())
    assert scorer.classes == tuple(np.unique(labels).tolist())
    if recipe == "nothing":
        np.testing.assert_allclose(expected, answers(model, NEW), atol=1e-6, rtol=1e-5)
        assert found.model[-1].n_features_in_ == model[-1].n_features_in_
    else:
        assert 0 < len(found.model[0].vocabulary_) < len(model[0].vocabulary_)
        assert set(found.model[0].vocabulary_) < set(model[0].vocabulary_)
        assert found.compression_ratio > 1.5


def test_predictions_of_the_rebuilt_model_are_labels(fitted):
    model, labels = fitted
    small = compress(model, Recipe((DropIds("word", 0.9),)), (TITLES, labels)).model
    assert (small.predict(TITLES) == model.predict(TITLES)).mean() > 0.9


def test_the_given_model_is_left_alone_and_what_training_left_behind_stays_behind():
    model = make_pipeline(TfidfVectorizer(), SGDClassifier(average=True, random_state=0)).fit(TITLES, LABELS)
    model[0].stop_words_ = {"word": "x" * 1000}
    model[0].raw_documents = TITLES
    words, coef = dict(model[0].vocabulary_), model[-1].coef_.copy()
    small = compress(model, Recipe()).model
    assert not {"stop_words_", "raw_documents"} & set(vars(small[0]))
    assert not {"_average_coef", "_standard_coef"} & set(vars(small[-1]))
    np.testing.assert_allclose(small.decision_function(NEW), model.decision_function(NEW), atol=1e-5)
    assert model[0].vocabulary_ == words
    assert np.array_equal(model[-1].coef_, coef)
    assert "stop_words_" in vars(model[0])


def test_a_document_of_pruned_words_gets_the_prior_of_naive_bayes():
    # C12: three documents of one class and one of the other.
    titles, labels = ["night night sea", "night sea", "night rare", "dawn sea"], np.array(["n", "n", "n", "d"])
    model = make_pipeline(CountVectorizer(), MultinomialNB()).fit(titles, labels)
    found = compress(model, Recipe((DropIds("word", 0.5, "popularity"),)), (titles, labels))
    assert sorted(found.model[0].vocabulary_) == ["night", "sea"]
    for text in ("rare dawn", "dawn", "quite unheard", ""):
        np.testing.assert_allclose(found.model.predict_proba([text]), [[0.25, 0.75]], atol=1e-6)
        np.testing.assert_allclose(Scorer(found.artifact).score({"text": [text]}), [0.75], atol=1e-6)


def test_an_embedding_of_pruned_words_is_zeros():
    model = make_pipeline(TfidfVectorizer(), TruncatedSVD(3)).fit(TITLES)
    found = compress(model, Recipe((DropIds("word", 0.2, "popularity"),)), (TITLES, None))
    gone = sorted(set(model[0].vocabulary_) - set(found.model[0].vocabulary_))
    assert gone
    for text in (" ".join(gone), "quite unheard", ""):
        assert found.model.transform([text]).tolist() == [[0, 0, 0]]
        assert Scorer(found.artifact).score({"text": [text]}).tolist() == [[0, 0, 0]]
    np.testing.assert_allclose(Scorer(found.artifact).score({"text": NEW}), found.model.transform(NEW), atol=1e-6)


def test_naive_bayes_refitted_is_naive_bayes_of_the_smaller_vocabulary():
    # What went has no share of the mass any more: the same as fitting on the words that are left.
    model = make_pipeline(CountVectorizer(), MultinomialNB()).fit(TITLES, LABELS)
    found = compress(model, Recipe((DropIds("word", 0.4, "chi_squared"), Retrain())), (TITLES, LABELS))
    scratch = make_pipeline(CountVectorizer(vocabulary=sorted(found.model[0].vocabulary_)), MultinomialNB())
    expected = scratch.fit(TITLES, LABELS).predict_proba(NEW)
    np.testing.assert_allclose(found.model.predict_proba(NEW), expected, atol=1e-6)
    left = compress(model, Recipe((DropIds("word", 0.4, "chi_squared"),)), (TITLES, LABELS)).model
    assert np.abs(left.predict_proba(NEW) - expected).max() > 0.01


def test_lsa_loses_topics_and_is_refitted():
    model = clone(MODELS["LSA"][0]).fit(TITLES, LABELS)
    found = compress(model, Recipe((DropAxis("topic", 0.6), Retrain(), Quantize("components", 8))), (TITLES, LABELS))
    assert found.model[1].components_.shape == (3, len(model[0].vocabulary_))
    assert found.model[2].coef_.shape == (3, 3)
    np.testing.assert_allclose(Scorer(found.artifact).score({"text": NEW}), found.model.predict_proba(NEW), atol=2e-6)


ROWS = np.where(RNG.random((200, 12)) < 0.5, 0, RNG.integers(1, 5, (200, 12))).astype(float)
CLASSES = np.where(ROWS[:, 0] > ROWS[:, 1], "a", np.where(ROWS[:, 2] > 1, "b", "c"))


@pytest.mark.parametrize(
    "estimator",
    [MultinomialNB(), ComplementNB(), LogisticRegression(), SGDClassifier(loss="log_loss", alpha=0.1, random_state=0)],
)
@pytest.mark.parametrize("form", ["array", "sparse", "frame"])
def test_a_classifier_alone_keeps_its_features(estimator, form):
    import pandas as pd

    names = [f"f{i}" for i in range(12)]
    x = {"array": ROWS, "sparse": csr_array(ROWS), "frame": pd.DataFrame(ROWS, columns=names)}[form]
    model = clone(estimator).fit(x, CLASSES)
    found = compress(model, Recipe((DropIds("feature", 0.4), Retrain())), (x, CLASSES))
    assert found.model.n_features_in_ == 12
    keys = names if form == "frame" else range(12)
    asked = [dict(zip(keys, row.tolist(), strict=True)) for row in ROWS]
    np.testing.assert_allclose(
        Scorer(found.artifact).score({"features": asked}), found.model.predict_proba(x), atol=1e-5
    )
    # Seven of twelve went: what they hold changes nothing.
    assert (~found.snapshot.weights["coef"].value.mask()).sum() == 7
    without = np.where(found.snapshot.weights["coef"].value.mask()[:-1], ROWS, 0)
    if form == "array":
        np.testing.assert_allclose(found.model.predict_proba(without), found.model.predict_proba(x), atol=1e-9)


def test_gradients_are_those_of_the_loss():
    for name in ("tf-idf, LR", "tf-idf l1, LR, two", "LSA"):
        pipeline, labels = MODELS[name]
        model = clone(pipeline).fit(TITLES, labels)
        adapter = SklearnAdapter()
        weights = adapter.read(model).weights
        calibration = adapter.context(model, (TITLES, labels), 0, print).calibration

        def loss(changed, model=model, labels=labels, adapter=adapter):
            shares = adapter.rebuild(model, changed).predict_proba(TITLES)
            at = np.searchsorted(model.classes_, labels)
            return -np.log(shares[np.arange(len(at)), at]).sum()

        for part, place in (("coef", (1, 0)), ("bias", (0,)), *([("components", (2, 1))] if name == "LSA" else [])):
            sides = []
            for step in (-0.001, 0.001):
                array = weights[part].value.decode().copy()
                array[place] += step
                sides.append(loss(weights.replace(part, weights[part].value.recode(array))))
            slope = (sides[1] - sides[0]) / 0.002
            assert calibration.gradients(weights)[part][place] == pytest.approx(slope, rel=1e-3, abs=1e-3)


def test_taylor_and_low_rank_go_through():
    model, labels = clone(MODELS["tf-idf, LR"][0]).fit(TITLES, LABELS), LABELS
    recipe = Recipe((DropRows("coef", {"uniform": 0.5}, "taylor"), Factorize("coef", 2), Codebook("idf", 4)))
    found = compress(model, recipe, (TITLES, labels))
    np.testing.assert_allclose(Scorer(found.artifact).score({"text": NEW}), found.model.predict_proba(NEW), atol=1e-5)


def test_the_artifact_needs_no_scikit_learn(tmp_path):
    model = clone(MODELS["tf-idf, LR"][0]).fit(TITLES, LABELS)
    compress(model, Recipe()).save(tmp_path / "artifact")
    (tmp_path / "texts.json").write_text(json.dumps(NEW))
    code = "import json, recprune; from pathlib import Path; folder = Path(sys.argv[1]); "
    code += "scorer = recprune.load(folder / 'artifact'); texts = json.loads((folder / 'texts.json').read_text()); "
    code += "print(json.dumps(scorer.score({'text': texts}).tolist()))"
    np.testing.assert_allclose(json.loads(run(BLOCK + code, str(tmp_path))), model.predict_proba(NEW), atol=1e-6)


def test_fingerprints_of_words():
    model = clone(MODELS["counts, NB"][0]).fit(TITLES, LABELS)
    found = compress(model, Recipe((), fingerprint=16))
    known = [title for title in TITLES if set(gram_tokens(title))]
    np.testing.assert_allclose(Scorer(found.artifact).score({"text": known}), model.predict_proba(known), atol=1e-5)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (make_pipeline(TfidfVectorizer(), LogisticRegression()), "TfidfVectorizer is not fitted"),
        (MultinomialNB(), "MultinomialNB is not fitted"),
        (make_pipeline(StandardScaler(), LogisticRegression()), "StandardScaler here is not supported; supported are"),
        (make_pipeline(TfidfTransformer(), TfidfTransformer()), "TfidfTransformer here is not supported"),
        (Ridge(), r"no adapter for sklearn.linear_model._ridge.Ridge; adapters are for: .*LogisticRegression"),
    ],
)
def test_what_is_not_supported_says_what_is(model, message):
    if isinstance(model, type(make_pipeline())) and "supported" in message:
        model[0].fit(ROWS)
    with pytest.raises(RecpruneError, match=message):
        compress(model, Recipe())


def test_pipelines_with_nothing_to_do_and_with_nothing_but_a_classifier():
    assert compress(make_pipeline(LogisticRegression()).fit(ROWS, CLASSES), Recipe()).model.predict(ROWS[:3]).shape == (
        3,
    )
    with pytest.raises(RecpruneError, match="nothing to make smaller"):
        compress(make_pipeline(CountVectorizer()).fit(TITLES), Recipe())
    with pytest.raises(RecpruneError, match="knows one class only"):
        compress(make_pipeline(CountVectorizer(), MultinomialNB()).fit(["one two"] * 2, [1, 1]), Recipe())


def test_bad_data_is_named():
    model = clone(MODELS["counts, NB"][0]).fit(TITLES, LABELS)
    with pytest.raises(RecpruneError, match=r"the pair \(X, y\) as fit takes it, got list"):
        compress(model, Recipe(), TITLES)
    with pytest.raises(RecpruneError, match="X has 300 rows and y has 2"):
        compress(model, Recipe(), (TITLES, LABELS[:2]))
    with pytest.raises(RecpruneError, match="which the model does not know"):
        compress(model, Recipe(), (TITLES, ["new"] * 300))
    with pytest.raises(RecpruneError, match="X does not fit the model"):
        compress(model, Recipe(), ([1, 2], ["sea", "sea"]))
    with pytest.raises(RecpruneError, match="2 columns for 3 classes"):
        compress(model, Recipe((DropAxis("class", 0.5),)), (TITLES, LABELS))
    alone = LogisticRegression().fit(ROWS, CLASSES)
    with pytest.raises(RecpruneError, match="X does not fit the model: X has 3 features, the model 12"):
        compress(alone, Recipe((Retrain(),)), (ROWS[:, :3], CLASSES))


def test_a_vocabulary_pruned_to_nothing_is_an_error():
    model = clone(MODELS["counts, NB"][0]).fit(TITLES, LABELS)
    adapter = SklearnAdapter()
    weights = adapter.read(model).weights
    from recprune.pruning.shared_row import drop

    gone = np.arange(len(model[0].vocabulary_) + 1) == len(model[0].vocabulary_)
    empty = weights.replace("coef", drop(weights["coef"], gone, np.ones(len(gone))).value)
    with pytest.raises(RecpruneError, match="no word is left in the vocabulary"):
        adapter.rebuild(model, empty)
