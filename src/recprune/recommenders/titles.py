"""Content-based recommendations: items whose titles are alike, and items for a free text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.errors import RecpruneError
from recprune.recommenders.ease import ItemItem, largest_of_rows
from recprune.weights import Encoding, Sparse

__all__ = ["TitleIndex", "neighbours_of"]

_BLOCK = 2048
_BITS = 8


def neighbours_of(
    titles: Sequence[str],
    ids: npt.NDArray[Any],
    *,
    neighbours: int = 20,
    vectorizer: Any = None,
    shares: npt.NDArray[Any] | None = None,
) -> ItemItem:
    """An item-item model of titles: the weight of item i for item j is the cosine of their titles.

    For each item its `neighbours` nearest are kept, in 8 bits. `titles`: one for each of `ids`. `vectorizer`: a
    CountVectorizer or TfidfVectorizer of scikit-learn, by default TF-IDF of words; Chinese titles need one with
    `analyzer="char"` or a tokenizer. `shares`: what is added to the scores of the items, such as their popularity.

    >>> from sklearn.feature_extraction.text import CountVectorizer
    >>> texts = ["这是一本书", "这是另一本书", "这是一篇论文", "这是另一篇论文"]
    >>> model = neighbours_of(texts, np.arange(4), neighbours=1, vectorizer=CountVectorizer(analyzer="char"))
    >>> model.item_weights.decode()[:4, :4].astype(float).round(3).tolist()
    [[0.0, 0.913, 0.0, 0.0], [0.913, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.926], [0.0, 0.0, 0.926, 0.0]]
    """
    _, vectors = _vectors(titles, ids, vectorizer)
    if type(neighbours) is not int or neighbours < 1:
        raise RecpruneError(f"neighbours must be a whole number of at least 1, got {neighbours!r}")
    rows, columns, values = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
    turned = vectors.T.tocsr()
    for start in range(0, len(ids), _BLOCK):
        block = (vectors[start : start + _BLOCK] @ turned).tocsr()
        block.sort_indices()  # of titles that are as near the first stays
        row = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr)) + start
        near = np.where(block.indices == row, 0, block.data)
        chosen = np.flatnonzero(largest_of_rows(near, block.indptr, neighbours) & (near > 0))
        rows.append(row[chosen].astype(np.int64))
        columns.append(block.indices[chosen].astype(np.int64))
        values.append(near[chosen].astype(np.float32))
    size = len(ids) + 1  # the last is the item that nobody knows
    matrix = Sparse.encode(np.concatenate(rows), np.concatenate(columns), np.concatenate(values), (size, size), _BITS)
    return ItemItem(matrix, ids, np.zeros(len(ids), np.float32) if shares is None else shares)


@dataclass(frozen=True, eq=False)
class TitleIndex:
    """Items for a free text: the score of an item is the cosine of its title and the text, times the text's own norm.

    `vectorizer`: a fitted CountVectorizer or TfidfVectorizer. `postings`: (words + 1, items + 1), the weight of each word
    in each title of norm 1, in 8 bits; the last row and column are those of unknown ones. `ids`: (items,).
    Factorized, it is latent semantic analysis (Deerwester et al. 1990).
    """

    vectorizer: Any
    postings: Encoding
    ids: npt.NDArray[Any]

    @classmethod
    def fit(cls, titles: Sequence[str], ids: npt.NDArray[Any], vectorizer: Any = None) -> TitleIndex:
        """Index titles, one for each of `ids`; `vectorizer` as for `neighbours_of`."""
        fitted, vectors = _vectors(titles, ids, vectorizer)
        found = vectors.T.tocoo()
        dims = (found.shape[0] + 1, found.shape[1] + 1)
        return cls(fitted, Sparse.encode(found.row, found.col, found.data, dims, _BITS), ids)

    def scores(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Scores (texts, items); zeros for a text of unknown words only."""
        read = self.vectorizer.transform(texts)
        rows, offsets = read.indices.astype(np.int64), read.indptr.astype(np.int64)
        return self.postings.pool(rows, offsets, read.data.astype(np.float32))[:, : len(self.ids)]


def _vectors(titles: Sequence[str], ids: npt.NDArray[Any], vectorizer: Any) -> tuple[Any, Any]:
    """The fitted vectorizer, and the titles as vectors of norm 1 (or 0), scipy CSR."""
    from scipy.sparse import csr_array
    from sklearn.base import clone
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    if len(titles) != len(ids):
        raise RecpruneError(f"{len(titles)} titles do not name {len(ids)} items")
    fitted = clone(vectorizer) if vectorizer is not None else TfidfVectorizer(sublinear_tf=True)
    try:
        found = fitted.fit_transform(["" if title is None else title for title in titles])
    except ValueError as error:
        raise RecpruneError(f"the titles hold no words for {type(fitted).__name__}: {error}") from error
    return fitted, csr_array(normalize(found), dtype=np.float32)
