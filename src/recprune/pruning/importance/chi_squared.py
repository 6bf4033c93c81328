"""How far what holds a row and the class are from independent."""

import numpy as np
import numpy.typing as npt

from recprune.context import Context
from recprune.pruning.importance.by_class import table_of
from recprune.pruning.importance.units import Units

__all__ = ["chi_squared"]


def chi_squared(units: Units, context: Context) -> npt.NDArray[np.float64]:
    """Pearson's chi-squared of "the text holds the word" and its class, over the training rows.

    A selection by chi-squared keeps words that tell classes apart, however the model weighs them (Yang, Pedersen 1997).
    """
    observed, expected = table_of(units, context)
    gap = (observed - expected) ** 2
    found: npt.NDArray[np.float64] = np.divide(gap, expected, out=np.zeros_like(gap), where=expected > 0).sum(
        axis=(1, 2)
    )
    return found
