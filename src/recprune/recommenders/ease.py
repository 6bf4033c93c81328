"""EASE: an item-item model in closed form (Steck, WWW 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.errors import RecpruneError
from recprune.memory import require
from recprune.weights import Dense, Encoding, Sparse

__all__ = ["ItemItem", "fit", "gram", "largest_of_rows"]


def gram(user_items: Any) -> npt.NDArray[np.float32]:
    """How often each two items were read by one user: `user_items.T @ user_items`, dense, (items, items).

    `user_items`: scipy CSR, users x items. Raises RecpruneError where that does not fit into memory.
    """
    count = user_items.shape[1]
    require(4 * count**2, f"the products of {count:,} items", "keep entries without refit, or fewer items")
    matrix = user_items.astype(np.float32)
    product: npt.NDArray[np.float32] = (matrix.T @ matrix).toarray(order="C")
    return product


def fit(user_items: Any, l2: float) -> npt.NDArray[np.float32]:
    """Item weights B (items, items), float32, zero diagonal: the scores of a history x are `x @ B`.

    The minimum of `|X - X B|^2 + l2 |B|^2` with a zero diagonal: with P the inverse of `X.T X + l2 I`, the weight of
    item i for item j is `-P_ij / P_jj`. Memory: two dense matrices; time grows with items cubed (12,500 items: about 20 s
    on two cores). An item that nobody read gets zeros.

    `user_items`: scipy CSR, users x items. Raises RecpruneError for an `l2` that is not above zero, and for
    a catalogue that does not fit into memory, with the numbers.

    >>> from scipy.sparse import csr_array
    >>> fit(csr_array(np.array([[1, 1], [1, 1], [1, 0]])), l2=1.0).astype(float).round(3).tolist()
    [[0.0, 0.5], [0.667, 0.0]]
    """
    from scipy.linalg import lapack

    if not l2 > 0:
        raise RecpruneError(f"l2 must be above 0, got {l2!r}")
    count = user_items.shape[1]
    instead = "train it sparse: fit_sparse of recprune.recommenders.sparse_ease, `model: sansa` in a run"
    require(2 * 4 * count**2, f"EASE over {count:,} items", instead)
    matrix = gram(user_items)
    items = len(matrix)
    if not items:
        return matrix
    matrix[np.diag_indices(items)] += np.float32(l2)
    # In place: the transpose of a symmetric C array is the Fortran array that LAPACK works on.
    factor, failed = lapack.spotrf(matrix.T, lower=1, overwrite_a=1, clean=0)
    inverse, wrong = lapack.spotri(factor, lower=1, overwrite_c=1) if not failed else (factor, failed)
    if failed or wrong:
        raise RecpruneError(f"the item products cannot be inverted in float32; raise l2 (it is {l2:g})")
    result: npt.NDArray[np.float32] = np.ascontiguousarray(inverse.T)
    for start in range(0, items, 512):
        stop = min(start + 512, items)
        block = result[start:stop, start:stop]
        block[...] = np.triu(block) + np.triu(block, 1).T
        result[stop:, start:stop] = result[start:stop, stop:].T
    scale = -result.diagonal()
    result /= scale
    np.fill_diagonal(result, 0)
    return result


@dataclass(frozen=True, eq=False)
class ItemItem:
    """An item-item model: the scores of a history are the sum of its items' rows, plus `shares`.

    `item_weights`: (items + 1, items + 1), the last row and column those of unknown ids. `ids`: (items,), of the items.
    `shares`: (items,), the popularity that orders what a history says nothing about.
    """

    item_weights: Encoding
    ids: npt.NDArray[Any]
    shares: npt.NDArray[Any]

    @classmethod
    def fit(cls, user_items: Any, ids: npt.NDArray[Any], l2: float) -> ItemItem:
        """EASE on `user_items` (scipy CSR, users x items), popularity scaled to be a tie breaker."""
        from recprune.recommenders.next_item_data import shares_of, with_unknown

        return cls(Dense(fit(with_unknown(user_items), l2)), ids, shares_of(user_items))

    @classmethod
    def of(cls, matrix: Any, ids: npt.ArrayLike, shares: npt.ArrayLike | None = None) -> ItemItem:
        """From any item-item matrix (items, items), dense or scipy sparse: row i is what item i of a history adds to scores.

        ItemKNN, SLIM, or what another library fitted. The diagonal is left out: an item in the history is not recommended.
        `shares` (items,) is added to every score; zeros where none is given. Raises RecpruneError for other shapes, and for
        NaN or infinity.
        """
        items = matrix.shape[0] if len(matrix.shape) == 2 else -1
        names, added = np.asarray(ids), np.zeros(len(np.asarray(ids)), np.float32) if shares is None else shares
        if not items or matrix.shape != (items, items) or names.shape != (items,) or np.shape(added) != (items,):
            raise RecpruneError(
                f"a matrix of {matrix.shape}, {names.shape} ids and {np.shape(added)} shares are no item-item model"
            )
        value: Encoding
        if hasattr(matrix, "tocoo"):
            entries = matrix.tocoo()
            entries.sum_duplicates()
            off = (entries.row != entries.col) & (entries.data != 0)
            places = entries.row[off], entries.col[off]
            value = Sparse.encode(*places, entries.data[off], (items + 1, items + 1), bits=32)
        else:
            whole = np.zeros((items + 1, items + 1), np.float32)
            whole[:items, :items] = matrix
            np.fill_diagonal(whole, 0)
            value = Dense(whole)
        return cls(value, names.astype(np.str_), np.asarray(added, dtype=np.float32))

    def scores(self, histories: Any) -> npt.NDArray[np.float32]:
        """Scores (users, items) of histories, scipy CSR of the same items."""
        found = self.item_weights.pool(histories.indices.astype(np.int64), histories.indptr.astype(np.int64))
        return found[:, : len(self.ids)] + self.shares.astype(np.float32)


def largest_of_rows(values: npt.NDArray[Any], ends: npt.NDArray[Any], count: int) -> npt.NDArray[np.bool_]:
    """Which entries of CSR rows, ends at `ends`, are the `count` largest of their row; of those that tie the first."""
    chosen = np.ones(len(values), dtype=bool)
    for i in np.flatnonzero(np.diff(ends) > count):
        row = slice(ends[i], ends[i + 1])
        mine = values[row]
        least = np.partition(mine, len(mine) - count)[len(mine) - count]
        chosen[row] = mine > least
        ties = np.flatnonzero(mine == least)
        chosen[row][ties[: count - int((mine > least).sum())]] = True
    return chosen
