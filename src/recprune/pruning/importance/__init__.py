"""What matters: a score for each unit (row, column, neuron); the higher is kept."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from recprune.context import Context
from recprune.errors import unknown
from recprune.pruning.importance.activation import activation
from recprune.pruning.importance.chi_squared import chi_squared
from recprune.pruning.importance.expected_loss import expected_loss
from recprune.pruning.importance.magnitude import magnitude
from recprune.pruning.importance.mutual_information import mutual_information
from recprune.pruning.importance.popularity import popularity
from recprune.pruning.importance.random import random
from recprune.pruning.importance.taylor import taylor
from recprune.pruning.importance.units import Units

__all__ = [
    "IMPORTANCES",
    "Units",
    "activation",
    "chi_squared",
    "expected_loss",
    "importance_of",
    "magnitude",
    "mutual_information",
    "popularity",
    "random",
    "taylor",
]

IMPORTANCES: dict[str, Callable[[Units, Context], npt.NDArray[np.float64]]] = {
    "magnitude": magnitude,
    "popularity": popularity,
    "expected_loss": expected_loss,
    "taylor": taylor,
    "activation": activation,
    "chi_squared": chi_squared,
    "mutual_information": mutual_information,
    "random": random,
}


def importance_of(name: str) -> Callable[[Units, Context], npt.NDArray[np.float64]]:
    """The importance of that name; an unknown one is an error that lists the choices."""
    if not isinstance(name, str) or name not in IMPORTANCES:
        raise unknown("importance", str(name), IMPORTANCES)
    return IMPORTANCES[name]
