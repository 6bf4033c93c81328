"""EASE over a catalogue whose dense matrix does not fit: each item is regressed on the few items that say most about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.errors import RecpruneError
from recprune.memory import require

__all__ = ["fit_sparse", "fit_sparse_bytes"]

Array = npt.NDArray[Any]
_BLOCK = 512  # items whose products with all others are held at once


def fit_sparse(
    user_items: Any,
    l2: float,
    neighbours: int = 32,
    *,
    tail: float = 0.0,
    say: Callable[[str], None] = lambda line: None,
) -> Any:
    """Item weights (items, items), scipy CSR, zero diagonal: the scores of a history x are `x @ B`.

    EASE (Steck 2019) without its dense inverse: column j is the ridge regression of item j on its `neighbours` candidates
    S, `(X_S.T X_S + l2 I) b = X_S.T x_j`, in closed form. The candidates are the items with the largest weight alone,
    `n_ij / (n_i + l2)`, where n counts readers; an item that one user read says nothing about others and is none. Where
    every item is a candidate this is the regression that EASE solves. Column j is divided by `n_j ** tail`: rare items,
    whose weights are shrunk most, are raised. SANSA (Spišák et al., RecSys 2023) keeps the inverse sparse instead.

    Memory: `fit_sparse_bytes`, asked before work begins. Raises RecpruneError where it does not fit, with the numbers.
    """
    from scipy.sparse import csr_array

    if not l2 > 0:
        raise RecpruneError(f"l2 must be above 0, got {l2!r}")
    if not 0 <= tail <= 1:
        raise RecpruneError(f"tail must be in [0, 1], got {tail!r}")
    if type(neighbours) is not int or neighbours < 1:
        raise RecpruneError(f"neighbours must be 1 or more, got {neighbours!r}")
    matrix = csr_array(user_items, dtype=np.float32)
    items = matrix.shape[1]
    require(
        fit_sparse_bytes(matrix, neighbours),
        f"sparse EASE over {items:,} items with {neighbours} neighbours",
        "take fewer neighbours, or only items with more readers",
    )
    by_item = csr_array(matrix.T)
    reads = np.diff(by_item.indptr)
    known = matrix.copy()  # of items that more than one user read
    known.data *= reads[known.indices] > 1
    known.eliminate_zeros()
    alone = (reads + l2).astype(np.float32)
    found: list[tuple[Array, Array]] = []
    for start in range(0, items, _BLOCK):
        together = csr_array(by_item[start : start + _BLOCK] @ known)
        for j in range(together.shape[0]):
            mine = slice(together.indptr[j], together.indptr[j + 1])
            found.append(
                _column(by_item, together.indices[mine], together.data[mine], alone, start + j, l2, neighbours)
            )
        if start % (100 * _BLOCK) == 0 and start:
            say(f"fitted {start:,} of {items:,} items")
    lengths = [len(rows) for rows, _ in found]
    rows = np.concatenate([np.zeros(0, np.int64), *(rows for rows, _ in found)])
    values = np.concatenate([np.zeros(0, np.float32), *(values for _, values in found)])
    columns = np.repeat(np.arange(items), lengths)
    values = (values / reads[columns].astype(np.float64) ** tail).astype(np.float32)
    return csr_array((values, (rows, columns)), shape=(items, items))


def fit_sparse_bytes(user_items: Any, neighbours: int) -> int:
    """Bytes that `fit_sparse` needs at most: the matrix three times, products of a block, entries as they are collected."""
    users, items = user_items.shape
    lengths = np.diff(user_items.indptr).astype(np.float64)
    # Readers of a block's items each bring all that they read.
    heaviest = float(np.sort(lengths)[-min(users, 4096) :].sum())
    products = min(_BLOCK * items, _BLOCK * heaviest) * 8
    return int(3 * 12 * user_items.nnz + products + items * min(neighbours, items) * 32)


def _column(
    by_item: Any, rows: Array, together: Array, alone: Array, j: int, l2: float, neighbours: int
) -> tuple[Array, Array]:
    other = rows != j
    rows, together = rows[other], together[other]
    if len(rows) > neighbours:
        best = np.argpartition(-together / alone[rows], neighbours)[:neighbours]
        rows, together = rows[best], together[best]
    readers = by_item[rows]
    system = (readers @ readers.T).toarray()
    system[np.diag_indices(len(rows))] += np.float32(l2)
    return rows.astype(np.int64), np.linalg.solve(system, together) if len(rows) else together
