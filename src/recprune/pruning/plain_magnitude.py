"""Plain magnitude pruning of an item-item matrix: the peer that every other way is compared with."""

from __future__ import annotations

from typing import Any

import numpy as np

from recprune.errors import RecpruneError
from recprune.pruning.methods.keep_top import top_in_columns, top_of_entries

__all__ = ["plain_magnitude"]


def plain_magnitude(item_weights: Any, per_column: int) -> tuple[Any, int]:
    """The peer of `keep_top`: the largest entries of each column as int8 with one float16 scale a column, uint16 places.

    Gives the decoded matrix (scipy CSR) and the bytes that it takes: three an entry, two a column (places of more than
    65,536 items take four bytes). `item_weights`: (items, items), dense or scipy sparse.
    """
    from scipy.sparse import csr_array

    if per_column < 1:
        raise RecpruneError(f"per_column must be at least 1, got {per_column}")
    if hasattr(item_weights, "tocoo"):
        entries = item_weights.tocoo()
        kept = top_of_entries(entries.col, entries.data, per_column)
        rows, columns, values = entries.row[kept], entries.col[kept], entries.data[kept].astype(np.float32)
    else:
        rows, columns = top_in_columns(item_weights, per_column)
        values = item_weights[rows, columns]
    largest = np.zeros(item_weights.shape[1], np.float32)
    np.maximum.at(largest, columns, np.abs(values))
    scale = (largest / np.float32(127)).astype(np.float16).astype(np.float32)[columns]
    codes = np.clip(np.rint(values / np.where(scale > 0, scale, np.float32(1))), -127, 127)
    place = 2 if item_weights.shape[0] <= 2**16 else 4
    stored = len(values) * (1 + place) + 2 * item_weights.shape[1]
    return csr_array(((codes * scale).astype(np.float32), (rows, columns)), shape=item_weights.shape), stored
