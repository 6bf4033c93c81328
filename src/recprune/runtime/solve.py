"""A user's factors from what the user read, in closed form: no table of users is needed."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from recprune.errors import RecpruneError
from recprune.weights import Encoding

__all__ = ["solve_users"]

Array = npt.NDArray[Any]
_PART = 1 << 25  # bytes of the systems that are solved together
_products: WeakKeyDictionary[Encoding, Array] = WeakKeyDictionary()


def solve_users(
    table: Encoding, rows: Array, offsets: Array, *, whole: float, read: float, target: float, l2: float
) -> npt.NDArray[np.float32]:
    """Factors (bags, width) of the users who read the bags `rows[offsets[i]:offsets[i + 1]]` of a table (items + 1, width).

    With F the rows of all items (the last row, that of unknown ids, is none) and Y those of the bag, x is the minimum of
    `whole |F x - t|^2 + read |Y x - target|^2 + l2 |x|^2`, where t is `target` for each item of the bag, else zero:
    `(whole F.T F + read Y.T Y + l2 I) x = (whole + read) target Y.T 1`. With `whole` 1 and `read` the confidence less one
    this is the step of alternating least squares (Hu, Koren, Volinsky 2008). An empty bag gives zeros. Worked in float64.

    Raises RecpruneError where the penalty is lost beside the factors, so that there is no one solution.

    >>> from recprune.weights import Dense
    >>> table = Dense(np.array([[1.0], [2.0], [0.0]], np.float32))
    >>> solve_users(table, np.array([1]), np.array([0, 1, 1]), whole=1, read=3, target=1, l2=3).tolist()
    [[0.4000000059604645], [0.0]]
    """
    width = table.shape[1]
    base = whole * _gram(table) + l2 * np.eye(width)
    found = np.zeros((len(offsets) - 1, width), dtype=np.float32)
    filled = np.flatnonzero(np.diff(offsets) > 0)
    step = max(1, _PART // max(1, 8 * width**2))
    for start in range(0, len(filled), step):
        part = filled[start : start + step]
        systems, sums = np.tile(base, (len(part), 1, 1)), np.zeros((len(part), width, 1))
        for i, bag in enumerate(part):
            items = table.take(rows[offsets[bag] : offsets[bag + 1]]).astype(np.float64)
            if read:
                systems[i] += read * (items.T @ items)
            sums[i, :, 0] = (whole + read) * target * items.sum(axis=0)
        try:
            found[part] = np.linalg.solve(systems, sums)[:, :, 0]
        except np.linalg.LinAlgError as error:  # beside factors this large the penalty is lost
            raise RecpruneError(f"users cannot be folded in: l2 {l2:g} is too small for these factors") from error
    return found


def _gram(table: Encoding) -> Array:
    """`F.T @ F` of all rows but the last, worked out once for a table."""
    if table not in _products:
        items = table.decode()[:-1].astype(np.float64)
        _products[table] = items.T @ items
    return _products[table]
