"""What a model may tell of a person: epsilon and delta, and the noise that keeps to them."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import cache

from recprune.errors import RecpruneError, unknown

__all__ = ["UNITS", "Private", "delta_for", "noise_for", "spent"]

UNITS = ("user", "interaction")
_MOST = 1000.0  # noise, in lengths of `clip`, beyond which nothing is learned


@dataclass(frozen=True)
class Private:
    """Training with differential privacy (Dwork et al. 2006): how little two models differ, with one `unit` and without it.

    - `epsilon`: the most that training may spend; `delta`: the chance that it is more, None for `delta_for`.
    - `clip`: the longest gradient of one unit in one step.
    - `unit`: `user` with all that the user did, or one `interaction`.
    """

    epsilon: float
    delta: float | None = None
    clip: float = 1.0
    unit: str = "user"

    def __post_init__(self) -> None:
        for name in ("epsilon", "clip"):
            _positive(name, getattr(self, name))
        if self.delta is not None:
            _positive("delta", self.delta)
            if self.delta >= 1:
                raise RecpruneError(f"delta of private training must be below 1, got {self.delta}")
        if self.unit not in UNITS:
            raise unknown("unit of private training", str(self.unit), UNITS)


def delta_for(units: int) -> float:
    """The power of ten below a tenth of one in so many units.

    >>> delta_for(68_328)
    1e-06
    """
    return float(10.0 ** math.floor(math.log10(0.1 / units)))


@cache
def noise_for(epsilon: float, delta: float, rate: float, steps: int) -> float:
    """The least noise, in lengths of `clip`, with which `steps` Poisson samples of `rate` of the units spend `epsilon`.

    Raises RecpruneError where Opacus is missing, and for an epsilon that needs more noise than can be learned under.
    """
    try:
        from opacus.accountants.utils import get_noise_multiplier
    except ImportError as error:
        raise RecpruneError("private training needs Opacus: pip install 'recprune[dp]'") from error
    if spent(_MOST, delta, rate, steps) > epsilon:
        raise RecpruneError(f"no noise keeps {steps:,} steps within epsilon {epsilon:g}: a larger one is needed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # orders of the accountant that make the bound looser, never wrong
        found: float = get_noise_multiplier(
            target_epsilon=epsilon, target_delta=delta, sample_rate=rate, steps=steps, accountant="rdp"
        )
    return found


def spent(noise: float, delta: float, rate: float, steps: int) -> float:
    """The epsilon that so many steps spent, by Renyi differential privacy (Mironov 2017)."""
    from opacus.accountants import RDPAccountant

    accountant = RDPAccountant()
    accountant.history = [(noise, rate, steps)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(accountant.get_epsilon(delta))


def _positive(name: str, value: object) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
        raise RecpruneError(f"{name} of private training must be a number above 0, got {value!r}")
