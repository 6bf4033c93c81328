"""What an item-item model is compared with: popularity, item cosine and implicit ALS.

Each fits on `user_items` (scipy CSR, users x items, ones) and gives a `Recommender`: a function from the histories of a
block of users, CSR of the same items, to scores (users, items), float32. The defaults are the settings that were best by
NDCG@10 on the validation part of Book-Crossing, and say what else was tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.errors import RecpruneError
from recprune.recommenders.ease import fit, largest_of_rows
from recprune.recommenders.next_item_data import NextItemData, shares_of
from recprune.vocabulary import ExactVocabulary

__all__ = [
    "Peer",
    "Recommender",
    "als_model",
    "cosine_matrix",
    "histories_of",
    "implicit_als",
    "item_cosine",
    "linear",
    "next_item_peers",
    "popularity",
    "ranked_lists",
]

Recommender = Callable[[Any], npt.NDArray[np.float32]]
_PLAIN = (128, 64, 32, 16, 8)  # entries of a column that plain magnitude pruning keeps


@dataclass(frozen=True, eq=False)
class Peer:
    """A peer's ranked lists of the readers judged (users, k), its bytes, and whether it is the same model made small."""

    name: str
    lists: npt.NDArray[np.int64]
    disk_bytes: int
    note: str
    trained_small: bool = False


def next_item_peers(
    data: NextItemData,
    users: npt.NDArray[Any],
    k: int,
    l2: float,
    say: Callable[[str], None] = lambda line: None,
    *,
    own: Any = None,
    leave_out: str = "",
) -> Iterator[Peer]:
    """Fit the peers on the training matrix, one after the other: lists of the test for the users at rows `users`.

    `own`: the matrix of the original where it is an item-item model, dense or scipy sparse; else EASE stands among the
    peers, where it fits into memory. Plain magnitude pruning of that matrix keeps the largest entries of each column, as
    int8 with a scale a column and uint16 indices: what one would do without this library. `leave_out`: the model that is
    the original itself.
    """
    matrix, items = data.user_items, data.catalogue
    histories = histories_of(data, users)
    vocabulary, _ = ExactVocabulary.build([data.items[:items].astype(np.str_)])
    ids = sum(array.nbytes for array in vocabulary.arrays().values())
    say("popularity")
    yield Peer("popularity", ranked_lists(popularity(matrix), histories, k), 4 * items + ids, "one number an item")
    if leave_out != "item_knn":
        say("item cosine")
        cosine = cosine_matrix(matrix)
        note = "200 neighbours an item, float32 and int32"
        yield Peer("item cosine", ranked_lists(linear(cosine), histories, k), 200 * items * 8 + ids, note)
    if leave_out != "als":
        say("implicit ALS")
        size, note = 256 * 4 * items + ids, "256 wide, item factors only, float32"
        yield Peer("implicit ALS", ranked_lists(implicit_als(matrix), histories, k), size, note)
    shares, name = shares_of(matrix, scale=1e-3 if leave_out == "item_knn" else 0.8), "the original"
    if own is None:
        try:
            own, name = fit(matrix, l2), "EASE"
        except RecpruneError as error:
            say(f"EASE is left out of the peers: {error}")
            return
        lists = ranked_lists(linear(own, shares), histories, k)
        yield Peer("EASE", lists, own.nbytes + 4 * items + ids, f"l2 {l2:g}, the whole matrix, float32")
    yield from _magnitudes(own, shares, histories, k, ids, name, say)


def _magnitudes(
    weights: Any, shares: npt.NDArray[Any], histories: Any, k: int, ids: int, name: str, say: Callable[[str], None]
) -> Iterator[Peer]:
    from recprune.pruning.plain_magnitude import plain_magnitude

    note = f"{name}, largest entries of each column, int8 and uint16, with the same popularity"
    for count in _PLAIN:
        say(f"plain magnitude, {count} entries a column")
        small, stored = plain_magnitude(weights, count)
        lists = ranked_lists(linear(small, shares), histories, k)
        size = stored + 4 * len(shares) + ids
        yield Peer(f"magnitude, {count} a column", lists, size, note, trained_small=True)


def histories_of(data: NextItemData, users: npt.NDArray[Any]) -> Any:
    """What is known of the users at rows `users` when the test is asked for: scipy CSR of ones, users x items."""
    from scipy.sparse import csr_array

    known = data.before("test")
    histories = [np.sort(known[user]) for user in users]
    ends = np.cumsum([0, *(len(history) for history in histories)])
    columns = np.concatenate([np.zeros(0, np.int64), *histories])
    return csr_array((np.ones(len(columns), np.float32), columns, ends), shape=(len(histories), data.catalogue))


def popularity(user_items: Any) -> Recommender:
    """The same scores for everybody: how many users read each item, as a share of all users."""
    share = np.asarray(user_items.sum(axis=0), dtype=np.float32).reshape(-1) / np.float32(max(user_items.shape[0], 1))
    return lambda histories: np.repeat(share[None, :], histories.shape[0], axis=0)


def linear(item_weights: Any, bias: npt.NDArray[Any] | None = None) -> Recommender:
    """Scores `x @ item_weights + bias`; `item_weights` (items, items), dense or scipy sparse."""

    def score(histories: Any) -> npt.NDArray[np.float32]:
        product = histories @ item_weights
        dense = np.asarray(product.toarray() if hasattr(product, "toarray") else product, dtype=np.float32)
        return dense if bias is None else dense + bias.astype(np.float32)

    return score


def item_cosine(user_items: Any, neighbours: int = 200, shrink: float = 10.0) -> Recommender:
    """Sum of the similarities of an item to those of the history (Sarwar et al. 2001); see `cosine_matrix`."""
    return linear(cosine_matrix(user_items, neighbours, shrink))


def cosine_matrix(user_items: Any, neighbours: int = 200, shrink: float = 10.0) -> Any:
    """The cosine of the readers of each two items, scipy CSR (items, items): row i is what item i adds to scores.

    `neighbours`: similar items that are kept for each item. `shrink`: added to the denominator, so that two items with one
    common reader are not alike.
    """
    from scipy.sparse import csr_array, vstack

    matrix = csr_array(user_items, dtype=np.float32)
    norm = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=0)).reshape(-1))
    by_item = csr_array(matrix.T)
    parts = []
    for start in range(0, matrix.shape[1], 2048):
        block = csr_array(by_item[start : start + 2048] @ matrix)
        block.sort_indices()
        row = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))
        values = block.data / (norm[row + start] * norm[block.indices] + np.float32(shrink))
        values[block.indices == row + start] = 0
        chosen = np.flatnonzero(largest_of_rows(values, block.indptr, neighbours) & (values > 0))
        parts.append(csr_array((values[chosen], (row[chosen], block.indices[chosen])), shape=block.shape))
    # Row j holds the items that j resembles: the score of j sums over them, so histories meet the transpose.
    return csr_array(vstack(parts).T) if parts else csr_array((0, 0), dtype=np.float32)


def implicit_als(
    user_items: Any, factors: int = 256, l2: float = 10.0, alpha: float = 10.0, epochs: int = 15, seed: int = 0
) -> Recommender:
    """Weighted matrix factorization (see `als_model`); users are folded in from their histories."""
    from scipy.sparse import csr_matrix
    from threadpoolctl import threadpool_limits

    model = als_model(user_items, factors, l2, alpha, epochs, seed)

    def score(histories: Any) -> npt.NDArray[np.float32]:
        with threadpool_limits(1, "blas"):
            block = csr_matrix(histories, dtype=np.float32)
            users = model.recalculate_user(np.arange(block.shape[0]), block)
        result: npt.NDArray[np.float32] = np.asarray(users @ model.item_factors.T, dtype=np.float32)
        return result

    return score


def als_model(
    user_items: Any, factors: int = 256, l2: float = 10.0, alpha: float = 10.0, epochs: int = 15, seed: int = 0
) -> Any:
    """Weighted matrix factorization of what was read and what was not (Hu, Koren, Volinsky 2008), by `implicit`.

    `alpha`: weight of an interaction over that of a missing one.
    """
    from implicit.cpu.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(
            factors=factors, regularization=l2, alpha=alpha, iterations=epochs, random_state=seed, num_threads=0
        )
        model.fit(csr_matrix(user_items, dtype=np.float32), show_progress=False)
    return model


def ranked_lists(
    recommender: Recommender, histories: Any, k: int, fallback: npt.NDArray[Any] | None = None
) -> npt.NDArray[np.int64]:
    """The k best items for each row of `histories`, the history itself left out: (users, k), -1 where there are fewer.

    `fallback`: scores (items,) for users without history. Ties go to the lower item.
    """
    from recprune.runtime.topk import top_k

    lists = np.full((histories.shape[0], k), -1, dtype=np.int64)
    block = max(1, min(1024, 2**24 // max(1, histories.shape[1])))  # scores of a block take 64 MB
    for start in range(0, histories.shape[0], block):
        part = histories[start : start + block]
        scores = recommender(part)
        for i in range(part.shape[0]):
            seen = part.indices[part.indptr[i] : part.indptr[i + 1]]
            row = fallback if fallback is not None and not len(seen) else scores[i]
            found, _ = top_k(row, k, exclude=seen)
            lists[start + i, : len(found)] = found
    return lists
