"""An index of titles: words x items, and the items for a text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from recprune.adapters.sklearn_parts import Parts, analyzer_of, ids_of, put_together
from recprune.context import Context
from recprune.graph import Graph, Op
from recprune.recommenders.titles import TitleIndex
from recprune.snapshot import Snapshot
from recprune.weights import Dense, Param, Weights

__all__ = ["TitleAdapter"]


class TitleAdapter:
    """Reads and rebuilds `TitleIndex`es. Axes: `word` and `item`; parameters: `postings`, and `idf` where words have one.

    An artifact answers `similar(texts, k)`.
    """

    def read(self, model: TitleIndex) -> Snapshot:
        """The postings, the idf, and the graph that scores a text."""
        weighting = Parts(model.vectorizer).weighting
        words = model.postings.shape[0] - 1
        params = {"postings": Param(("word", "item"), model.postings, (words,), unknown_is_zero=True)}
        analyzer, own = analyzer_of(model.vectorizer)
        column, last = "text" if own is None else "tokens", "read"
        ops = [Op("tokens", last, (column,), (), {"vocabulary": "word", "analyzer": analyzer.to_json()})]
        if weighting is not None:
            idf = weighting.idf_ if weighting.use_idf else np.ones(words)
            table = np.append(idf, 0).astype(np.float32)[:, None]
            params["idf"] = Param(("word", "idf"), Dense(table), (words,), False, unknown_is_zero=True)
            attrs = {"sublinear": bool(weighting.sublinear_tf), "norm": weighting.norm}
            ops.append(Op("tfidf", "weighed", (last,), ("idf",), attrs))
            last = "weighed"
        ops.append(Op("pool", "scores", (last,), ("postings",), {"mode": "sum"}))
        ids = {"word": ids_of(Parts(model.vectorizer), words), "item": model.ids}
        return Snapshot(Weights(params, {"idf": 1}), Graph((column,), tuple(ops), "scores", "item"), ids)

    def rebuild(self, model: TitleIndex, weights: Weights) -> TitleIndex:
        """The same items; the vectorizer knows the words that are left."""
        tables = [weights[name].value for name in weights.tables("word")]
        keep = np.flatnonzero(np.any([table.mask() for table in tables], axis=0)[:-1])
        idf = weights["idf"].value.decode()[keep, 0] if "idf" in weights else None
        parts = Parts(model.vectorizer)
        vectorizer = put_together(model.vectorizer, parts, keep, idf, None, np.zeros((0, 0)), np.zeros(0))
        rows = np.append(keep, len(parts.vectorizer.vocabulary_))
        return TitleIndex(vectorizer, weights["postings"].value.cut(0, rows), model.ids)

    def context(self, model: TitleIndex, data: Sequence[str] | None, seed: int, say: Callable[[str], None]) -> Context:
        """With data, a list of texts such as the titles: how many hold each word."""
        if data is None:
            return Context(seed=seed, say=say)
        read = model.vectorizer.transform(data)
        return Context(
            {"word": np.bincount(read.indices, minlength=model.postings.shape[0])},
            seed=seed,
            say=say,
            given="an index of titles",
        )

    def check(self, model: TitleIndex, weights: Weights, data: Any) -> None:
        """Nothing to check: words may go, items stay."""
