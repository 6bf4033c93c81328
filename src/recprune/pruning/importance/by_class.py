"""Counts of rows by class, as tables of what is and what chance would give."""

import numpy as np
import numpy.typing as npt

from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.pruning.importance.units import Units

__all__ = ["table_of"]

Array = npt.NDArray[np.float64]


def table_of(units: Units, context: Context) -> tuple[Array, Array]:
    """For each row how many training rows hold it and how many do not, by class, (rows, 2, classes); and were it chance.

    Raises RecpruneError where there are no classes, and for columns and neurons.
    """
    if units.axis not in context.by_class or not units.of_rows:
        known = ", ".join(sorted(context.by_class)) or "none"
        raise context.lacks(
            f"rows of {units.axis!r} were not counted by class (counted: {known})",
            "is not counted by class there; choose another importance, such as expected_loss",
            "give data with labels",
        )
    counts = context.by_class[units.axis]
    there, sizes = np.asarray(counts.reads, np.float64), np.asarray(counts.sizes, np.float64)
    if there.shape != (len(units), len(sizes)):
        raise RecpruneError(f"counts by class have shape {there.shape}, axis {units.axis!r} has {len(units)} rows")
    observed = np.stack([there, sizes - there], axis=1)
    total = max(float(sizes.sum()), 1.0)
    return observed, observed.sum(axis=2, keepdims=True) * sizes / total
