"""No reason at all: the control."""

import zlib

import numpy as np
import numpy.typing as npt

from recprune.context import Context
from recprune.pruning.importance.units import Units

__all__ = ["random"]


def random(units: Units, context: Context) -> npt.NDArray[np.float64]:
    """A number in [0, 1) for each unit, by the context's seed and the names: what any other importance must beat."""
    name = zlib.crc32(" ".join((units.axis, *units.names)).encode())
    return np.random.default_rng([context.seed, name]).random(len(units))
