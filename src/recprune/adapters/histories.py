"""What steps may look at where a model reads histories of items and has no training loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.adapters.calibration import GraphCalibration, no_gradients
from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.graph import Graph
from recprune.recommenders.ease import gram
from recprune.recommenders.next_item_data import NextItemData, with_unknown
from recprune.snapshot import Snapshot

__all__ = ["history_context", "item_products", "matrix_of"]

_CALIBRATION = 500  # users on whose histories steps see what the model does


def matrix_of(data: Any, items: int) -> Any:
    """The training matrix, scipy CSR, users x items, of a NextItemData or as it is given.

    Raises RecpruneError for anything else, and for a matrix of other items.
    """
    from scipy.sparse import csr_array, issparse

    if not isinstance(data, NextItemData) and not issparse(data):
        raise RecpruneError(
            f"the data of this model is a NextItemData or a sparse matrix, users x items, got {type(data).__name__}"
        )
    matrix = csr_array(data.user_items if isinstance(data, NextItemData) else data)
    if matrix.shape[1] != items:
        raise RecpruneError(f"the data has {matrix.shape[1]} items, the model {items}")
    return matrix


def item_products(user_items: Any, say: Callable[[str], None]) -> npt.NDArray[np.float32] | None:
    """Products of items, the unknown one last, that refits need; None, and said, where they do not fit into memory."""
    try:
        return gram(with_unknown(user_items))
    except RecpruneError as error:
        say(f"nothing can be refitted: {error}")
        return None


def history_context(snapshot: Callable[[], Snapshot], data: Any, seed: int, say: Callable[[str], None]) -> Context:
    """Readers of each item, and the model run on the histories of some users."""
    if data is None:
        return Context(seed=seed, say=say)
    ids = snapshot().ids["item"]
    matrix = matrix_of(data, len(ids))
    some = np.flatnonzero(np.diff(matrix.indptr))
    some = some[:: max(1, len(some) // _CALIBRATION)][:_CALIBRATION]

    def columns(_: Graph) -> dict[str, Any]:
        return {"items": [list(ids[matrix.indices[slice(*matrix.indptr[user : user + 2])]]) for user in some]}

    counts = np.append(np.bincount(matrix.indices, minlength=len(ids)), 0)
    calibration = GraphCalibration(snapshot, columns, no_gradients)
    # A history holds an item once: as many users as readings.
    return Context(
        {"item": counts},
        users={"item": counts},
        calibration=calibration,
        seed=seed,
        say=say,
        given="a model of neighbours or factors",
    )
