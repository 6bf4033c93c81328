"""How much knowing whether a row is there says of the class."""

import numpy as np
import numpy.typing as npt

from recprune.context import Context
from recprune.pruning.importance.by_class import table_of
from recprune.pruning.importance.units import Units

__all__ = ["mutual_information"]


def mutual_information(units: Units, context: Context) -> npt.NDArray[np.float64]:
    """Mutual information, in nats, of "the text holds the word" and its class, over the training rows.

    Source: Yang, Pedersen 1997.
    """
    observed, expected = table_of(units, context)
    ratio = np.divide(observed, expected, out=np.ones_like(observed), where=observed > 0)
    found: npt.NDArray[np.float64] = (observed * np.log(ratio)).sum(axis=(1, 2))
    return found / max(float(observed[0].sum()) if len(observed) else 0.0, 1.0)
