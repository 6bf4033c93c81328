"""Titles that are alike: the four Chinese texts by hand, and neighbours held to scikit-learn's cosine."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline

from recprune import Recipe, RecpruneError, compress, load
from recprune.pruning.methods import DropIds, Factorize, Quantize
from recprune.recommenders.titles import TitleIndex, neighbours_of
from recprune.runtime import Scorer

TEXTS = ["这是一本书", "这是另一本书", "这是一篇论文", "这是另一篇论文"]
IDS = np.array(["a", "b", "c", "d"])
CHARACTERS = CountVectorizer(analyzer="char")


def test_the_four_texts_are_alike_as_counted_by_hand():
    # Characters: a has 5 (这是一本书), b those and 另, c 6 (这是一篇论文), d those and 另, each once, so that a cosine is
    # what two texts share over the root of the product of their lengths: a b 5 of (5, 6), a c 3 of (5, 6), a d 3 of
    # (5, 7), b c 3 of (6, 6), b d 4 of (6, 7), c d 6 of (6, 7).
    model = neighbours_of(TEXTS, IDS, vectorizer=CHARACTERS)
    shared = np.array([[0, 5, 3, 3], [5, 0, 3, 4], [3, 3, 0, 6], [3, 4, 6, 0]])
    lengths = np.sqrt([5, 6, 6, 7])
    np.testing.assert_allclose(model.item_weights.decode()[:4, :4], shared / np.outer(lengths, lengths), rtol=1e-6)
    answer = Scorer(compress(model, Recipe()).artifact).top_k([["a"], ["d"], ["a", "b"]], 2)
    assert [ids.tolist() for ids in answer.ids] == [["b", "c"], ["c", "b"], ["d", "c"]]
    # Of a and b: d scores 3 / sqrt(35) + 4 / sqrt(42) = 1.124, c 3 / sqrt(30) + 3 / 6 = 1.048.
    np.testing.assert_allclose(answer.scores[2], [3 / 35**0.5 + 4 / 42**0.5, 3 / 30**0.5 + 0.5], rtol=1e-6)


def test_naive_bayes_of_the_four_texts_by_hand(tmp_path):
    # Books hold 11 characters, papers 13, of 9 different ones; with one added to each count the shares are (n + 1) / 20 and
    # (n + 1) / 22. "一本书": 一 is twice in either, 本 and 书 twice in books and never in papers. With equal priors the odds
    # are (3/20)^3 : (3/22) (1/22) (1/22) = 27 * 10648 : 3 * 8000 = 11.979, the share of books .92296.
    model = make_pipeline(CHARACTERS, MultinomialNB()).fit(TEXTS, ["书", "书", "论文", "论文"])
    found = compress(model, Recipe())
    found.save(tmp_path / "artifact")
    scorer = load(tmp_path / "artifact")
    assert scorer.classes == ("书", "论文")
    odds = 27 * 10648 / (3 * 8000)
    np.testing.assert_allclose(scorer.score({"text": ["一本书", "好"]}), [1 / (1 + odds), 0.5], rtol=1e-5)


def test_a_free_text_finds_titles_by_hand():
    # "论文" shares both of its characters with c, of norm sqrt(6), and with d, of norm sqrt(7); a vectorizer of counts does
    # not divide by the norm of the text: 2 / sqrt(6) and 2 / sqrt(7).
    scorer = Scorer(compress(TitleIndex.fit(TEXTS, IDS, CHARACTERS), Recipe()).artifact)
    answer = scorer.similar(["论文", "另", "好"], 3)
    assert [ids.tolist() for ids in answer.ids] == [["c", "d"], ["b", "d"], []]
    np.testing.assert_allclose(answer.scores[0], [2 / 6**0.5, 2 / 7**0.5], rtol=1e-6)
    assert scorer.similar(["论文"], 3, candidates=["d", "zz"]).ids[0].tolist() == ["d"]


RNG = np.random.default_rng(0)
STEMS = [f"word{i}" for i in range(200)]
TITLES = [" ".join(RNG.choice(STEMS, RNG.integers(1, 13))) for _ in range(80)] + ["", None]
NAMES = np.array([f"t{i}" for i in range(82)])
PLAIN = [title or "" for title in TITLES]


def test_neighbours_are_those_of_cosine_similarity():
    model = neighbours_of(TITLES, NAMES, neighbours=5, shares=np.arange(82) / 100)
    cosine = cosine_similarity(TfidfVectorizer(sublinear_tf=True).fit_transform(PLAIN))
    np.fill_diagonal(cosine, 0)
    kept = model.item_weights.decode()
    assert (kept[:-1, :-1] > 0).sum(axis=1).max() == 5
    assert not kept[-1].any()
    assert not kept[:, -1].any()
    at = kept[:-1, :-1] > 0
    np.testing.assert_allclose(kept[:-1, :-1][at], cosine[at], atol=0.004)  # 256 levels within 0..1: half a step
    assert (np.where(at, 0, cosine).max(axis=1) <= np.where(at, cosine, 2).min(axis=1) + 1e-6).all()
    assert model.shares[3] == 0.03


@pytest.mark.parametrize(
    "steps",
    [(), (DropIds("word", 0.5, "popularity"),), (Factorize("postings", 20), Quantize("postings", 8)),
     (DropIds("word", 0.8, "popularity"), Quantize("idf", 8, "per_tensor"))],
    ids=["nothing", "words", "LSA", "codes"],
)  # fmt: skip
def test_the_artifact_finds_what_the_model_finds(steps, tmp_path):
    index = TitleIndex.fit(TITLES, NAMES)
    found = compress(index, Recipe(steps), PLAIN)
    found.save(tmp_path / "artifact")
    scorer = load(tmp_path / "artifact")
    texts = [*PLAIN[:20], "word1 word2 unheard"]
    scores = found.model.scores(texts)
    for text, row, ids, values in zip(texts, scores, *scorer.similar(texts, 5)[:2], strict=True):
        best = np.sort(row)[::-1][:5]
        np.testing.assert_allclose(values, best[best > 0][: len(values)], atol=1e-5, err_msg=text)
        np.testing.assert_allclose(
                                   [row[NAMES.tolist().index(name)] for name in ids], values, atol=1e-5)  # fmt: skip
    if not steps:
        vectorizer = TfidfVectorizer(sublinear_tf=True)
        expected = cosine_similarity(vectorizer.fit_transform(PLAIN), vectorizer.transform(texts)).T
        np.testing.assert_allclose(scores, expected, atol=0.02)
    elif isinstance(steps[0], DropIds):
        assert len(found.model.vectorizer.vocabulary_) < len(index.vectorizer.vocabulary_)


def test_mistakes_are_named():
    with pytest.raises(RecpruneError, match="3 titles do not name 4 items"):
        neighbours_of(TEXTS[:3], IDS)
    with pytest.raises(RecpruneError, match="hold no words"):
        neighbours_of(["", ""], IDS[:2])
    with pytest.raises(RecpruneError, match="neighbours must be"):
        neighbours_of(TEXTS, IDS, neighbours=0)
    scorer = Scorer(compress(TitleIndex.fit(TEXTS, IDS, CHARACTERS), Recipe()).artifact)
    with pytest.raises(RecpruneError, match="call similar"):
        scorer.top_k([["a"]], 2)
    with pytest.raises(RecpruneError, match="call similar"):
        scorer.score({"text": TEXTS})
    with pytest.raises(RecpruneError, match="takes a list of texts"):
        scorer.similar("论文", 2)
    with pytest.raises(RecpruneError, match="does not find items for a text"):
        Scorer(compress(neighbours_of(TEXTS, IDS, vectorizer=CHARACTERS), Recipe()).artifact).similar(["论文"], 2)
