"""Text models on the titles of Book-Crossing: how small, at which accuracy, against the library's own means at equal bytes.

    python benchmarks/families/text.py [part ...] [seed ...]

Publisher (the 20 most frequent) and language (by the group of the ISBN) from the title, by naive Bayes and by logistic
regression; and the next book by titles. A seed splits the works, so that no edition of a test book is trained on. Settings
were chosen on the validation part of seed 0; what is printed is the test. Bytes are those of the whole artifact, words
included, original and peers by the same code. Intervals are of 95 %, differences are paired by title (by reader for the
next book).
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
import polars as pl
from sklearn.base import clone
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline

from recprune import Recipe, compress
from recprune.artifact import Artifact, contents
from recprune.data import book_crossing
from recprune.evaluation import ListTruth, differences, estimate
from recprune.pruning.methods import Codebook, DropIds, FitBytes, KeepTop, Quantize, Retrain
from recprune.recommenders.ease import largest_of_rows
from recprune.recommenders.item_peers import linear, popularity, ranked_lists
from recprune.recommenders.next_item_data import next_item_data, shares_of
from recprune.recommenders.titles import neighbours_of
from recprune.runtime import Scorer
from recprune.vocabulary import ExactVocabulary

SEEDS = (0, 1, 2)
GROUPS = {"0": "English", "1": "English", "2": "French", "3": "German", "84": "Spanish", "88": "Italian", "90": "Dutch"}
READERS = 4000
Point = dict[str, Any]
Titles = tuple[np.ndarray, np.ndarray, np.ndarray]


def publisher_bayes(seed: int) -> Iterator[Point]:
    """The publisher from the words of the title, by naive Bayes."""
    bayes = make_pipeline(CountVectorizer(), MultinomialNB(alpha=0.3))
    ours = [(FitBytes(107_000),), (FitBytes(54_000),)]
    yield from _compared("publisher, NB", bayes, _publishers(), seed, ours, 8)


def publisher_logistic(seed: int) -> Iterator[Point]:
    """The same by logistic regression, refitted on the words that are left."""
    logistic = make_pipeline(TfidfVectorizer(sublinear_tf=True), LogisticRegression(C=3, tol=1e-3, max_iter=60))
    coded = [(Retrain(), Codebook("coef", 8, parts), Codebook("idf", 5)) for parts in (3, 2)]
    ours = [(DropIds("word", keep, "popularity"), *coded[i]) for keep, i in ((0.7, 0), (0.5, 0), (0.35, 1))]
    yield from _compared("publisher, LR", logistic, _publishers(), seed, ours, 8)


def publisher_lasso(seed: int) -> Iterator[Point]:
    """The same with an L1 penalty (SGD, a class at a time): most weights are zero, and only the others are stored."""
    head = SGDClassifier(loss="log_loss", penalty="l1", alpha=1e-5, random_state=0)
    lasso, idf = make_pipeline(TfidfVectorizer(sublinear_tf=True), head), Codebook("idf", 4)
    ours = [
        (KeepTop("coef", count, "column", False, bits=bits), DropIds("word", words, "magnitude"), idf)
        for count, bits, words in ((5000, 5, 0.55), (5000, 4, 0.55), (1000, 4, 0.5))
    ]
    yield from _compared("publisher, L1", lasso, _publishers(), seed, ours, 8)


def language_bayes(seed: int) -> Iterator[Point]:
    """The language from n-grams of the title's letters, by naive Bayes."""
    bayes = make_pipeline(CountVectorizer(analyzer="char_wb", ngram_range=(1, 4)), MultinomialNB(alpha=0.1))
    ours: list[tuple[Any, ...]] = [(DropIds("word", keep), Codebook("coef", 8)) for keep in (0.3, 0.2, 0.1)]
    yield from _compared("language, NB", bayes, _languages(), seed, ours, 8)


def language_logistic(seed: int) -> Iterator[Point]:
    """The same by logistic regression."""
    letters = TfidfVectorizer(sublinear_tf=True, analyzer="char_wb", ngram_range=(1, 3))
    logistic, idf = make_pipeline(letters, LogisticRegression(C=10, tol=1e-3)), Quantize("idf", 8, "per_tensor")
    cut = [DropIds("word", 0.25, "popularity"), DropIds("word", 0.15, "popularity"), DropIds("word", 0.1)]
    ours = [(step, Retrain(), idf, Quantize("coef", 4, "per_column")) for step in cut]
    yield from _compared("language, LR", logistic, _languages(), seed, ours, 8)


def _publishers() -> Titles:
    """The titles of the 20 most frequent publishers."""
    items = _items().filter(pl.col("publisher").is_not_null())
    top = items.group_by("publisher").len().sort("len", "publisher", descending=True)["publisher"].head(20)
    return _titles(items.filter(pl.col("publisher").is_in(top.to_list())), "publisher")


def _languages() -> Titles:
    """Titles by language; of the English books one in ten, as many as all others."""
    items = _items()
    isbn = items["item"].to_list()
    names = [GROUPS.get(i[:1]) or GROUPS.get(i[:2]) or "other" for i in isbn]
    chosen = [name != "English" or zlib.crc32(i.encode()) % 10 == 0 for name, i in zip(names, isbn, strict=True)]
    return _titles(items.with_columns(language=pl.Series(names)).filter(pl.Series(chosen)), "language")


def _compared(
    name: str, pipeline: Any, titles: Titles, seed: int, recipes: Sequence[tuple[Any, ...]], bits: int
) -> Iterator[Point]:
    texts, labels, works = titles
    part = np.array([zlib.crc32(f"{seed} {work}".encode()) % 10 for work in works])
    data, test = (texts[part < 8], labels[part < 8]), part == 9
    model = clone(pipeline).fit(*data)
    words = len(model[0].vocabulary_)

    def right(artifact: Artifact) -> np.ndarray:
        scorer = Scorer(artifact)
        best = np.array(scorer.classes)[scorer.score({"text": texts[test]}).argmax(axis=1)]
        return (best == labels[test]).astype(float)

    original = compress(model, Recipe()).artifact
    base = right(original)
    yield _point(name, f"{words:,} words", "original", _size(original), base, base)
    for steps in recipes:
        small = compress(model, Recipe(steps, fingerprint=bits), data).artifact
        how = ", ".join(_said(step) for step in steps)
        yield _point(name, how, "ours", _size(small), right(small), base)
    for count in (words // 2, words // 4, words // 10, words // 20):
        fewer = clone(pipeline).set_params(**{f"{pipeline.steps[0][0]}__max_features": count}).fit(*data)
        artifact = compress(fewer, Recipe()).artifact
        yield _point(name, f"max_features={count}", "peer", _size(artifact), right(artifact), base)
    if not isinstance(model[-1], MultinomialNB):
        read, asked = model[0].transform(data[0]), model[0].transform(texts[test])
        for alpha in (5e-6, 1e-5, 3e-5):
            lasso = SGDClassifier(loss="log_loss", penalty="l1", alpha=alpha, random_state=seed).fit(read, data[1])
            kept = (lasso.coef_ != 0).any(axis=0)
            ids, _ = ExactVocabulary.build([np.array(sorted(model[0].vocabulary_))[kept]])
            # Value and class of each entry, the ends of the rows, the idf, and the words.
            size = (
                6 * int((lasso.coef_ != 0).sum()) + 8 * int(kept.sum()) + sum(a.nbytes for a in ids.arrays().values())
            )
            yield _point(name, f"L1 alpha={alpha:g}", "peer", size, (lasso.predict(asked) == labels[test]) * 1.0, base)


def next_book(seed: int) -> Iterator[Point]:
    """The next book by the titles of those read: neighbours kept and coded, against fewer neighbours in plain arrays."""
    log = book_crossing()
    data = next_item_data(log, seed=seed)
    ids = data.items[: data.catalogue]
    named = pl.DataFrame({"item": ids}).join(log.items, on="item", how="left", maintain_order="left")
    titles = named["title"].fill_null("").to_list()
    shares = shares_of(data.user_items)
    users, relevant = (found[:READERS] for found in data.judged("test"))
    assert not data.timed  # so the training rows are what is known when the test is asked for
    histories = data.user_items[users]
    truth = ListTruth(relevant, len(data.items))
    names = sum(a.nbytes for a in ExactVocabulary.build([ids.astype(np.str_)])[0].arrays().values())
    model = neighbours_of(titles, ids, neighbours=200, shares=shares)
    whole = _matrix(model.item_weights)
    found: list[tuple[str, str, int, Any]] = []
    found.append(("200 neighbours, plain", "original", 6 * whole.nnz + 4 * len(ids) + names, linear(whole, shares)))
    for count in (12, 6, 3):
        keep = KeepTop("item_weights", count, by="column", refit=False, bits=3)
        small = compress(model, Recipe((keep, Quantize("popularity", 8, "per_tensor"))), data)
        found.append((f"{count} a column, 3 bits", "ours", _size(small.artifact), small.model.scores))
    for count in (50, 20, 5, 2):
        fewer = whole.copy()
        fewer.data *= largest_of_rows(whole.data, whole.indptr, count)
        fewer.eliminate_zeros()
        size = 6 * fewer.nnz + 4 * len(ids) + names
        found.append((f"{count} neighbours, plain", "peer", size, linear(fewer, shares)))
    found.append(("popularity", "peer", 4 * len(ids) + names, popularity(data.user_items)))
    metrics = ["ndcg@10", "recall@20"]
    lists = [ranked_lists(score, histories, 20) for *_, score in found]
    paired = differences(truth, lists[0], {str(i): rows for i, rows in enumerate(lists)}, metrics)
    for i, (name, kind, size, _) in enumerate(found):
        values = {metric: interval.to_json() for metric, interval in estimate(truth, lists[i], metrics).items()}
        gaps = {metric: interval.to_json() for metric, interval in paired[str(i)].items()}
        point = {"task": "next book, titles", "name": name, "kind": kind, "disk_bytes": size}
        yield point | {"metrics": values, "differences": gaps}


def _point(task: str, name: str, kind: str, size: int, right: np.ndarray, base: np.ndarray) -> Point:
    metrics, gaps = {"accuracy": _interval(right)}, {"accuracy": _interval(right - base)}
    return {"task": task, "name": name, "kind": kind, "disk_bytes": size, "metrics": metrics, "differences": gaps}


def _interval(values: np.ndarray) -> dict[str, float]:
    """The mean, and where it lies by the normal approximation."""
    mean, margin = float(values.mean()), 1.96 * float(values.std() / np.sqrt(len(values)))
    return {"value": mean, "low": mean - margin, "high": mean + margin}


_UNSAID = ("target", "axis", "granularity", "group", "l2", "tail", "by", "refit")


def _said(step: Any) -> str:
    ((verb, fields),) = step.to_json().items()
    shown = () if verb == "retrain" else [name for name in fields if name not in _UNSAID]
    return " ".join([verb, *(str(fields[name]) for name in shown)])


def _size(artifact: Artifact) -> int:
    return sum(len(content) for content in contents(artifact).values())


def _matrix(weights: Any) -> Any:
    from scipy.sparse import csr_array

    rows, columns, values = weights.coordinates()
    size = weights.shape[0] - 1
    return csr_array((values, (rows, columns)), shape=(size, size))


@cache
def _items() -> pl.DataFrame:
    return book_crossing().items.filter(pl.col("title").is_not_null())


def _titles(items: pl.DataFrame, label: str) -> Titles:
    return (
        np.array(items["title"].to_list(), dtype=object),
        items[label].to_numpy().astype(str),
        items["work"].to_numpy(),
    )


PARTS = {
    "publisher_bayes": publisher_bayes,
    "publisher_logistic": publisher_logistic,
    "publisher_lasso": publisher_lasso,
    "language_bayes": language_bayes,
    "language_logistic": language_logistic,
    "next_book": next_book,
}


def main() -> None:
    """Print a line for each point: bytes, how many times smaller, value and difference."""
    parts = [given for given in sys.argv[1:] if not given.isdigit()] or list(PARTS)
    for seed in [int(given) for given in sys.argv[1:] if given.isdigit()] or SEEDS:
        whole = 1
        for point in (point for part in parts for point in PARTS[part](seed)):
            whole = point["disk_bytes"] if point["kind"] == "original" else whole
            line = [
                f"{seed}",
                f"{point['kind']:8}",
                f"{point['task'] + ': ' + point['name']:75}",
                f"{point['disk_bytes']:10,}",
            ]
            line.append(f"{whole / point['disk_bytes']:7.1f} x")
            for metric, value in point["metrics"].items():
                gap = point["differences"][metric]
                line.append(
                    f"{metric} {value['value']:.4f} {gap['value']:+.4f} [{gap['low']:+.4f}, {gap['high']:+.4f}]"
                )
            print("  ".join(line), flush=True)


if __name__ == "__main__":
    main()
