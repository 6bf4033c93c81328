"""Train until parts are zero, and remove them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from recprune.context import Context
from recprune.errors import RecpruneError, unknown
from recprune.pruning.protected_rows import as_they_were
from recprune.pruning.removable import REMOVABLE, plain
from recprune.pruning.step import Step
from recprune.recovery.sparsity import Sparsity, kept
from recprune.weights import Rows, Weights

__all__ = ["Sparsify"]

_WORDS = {"l1": "an L1 penalty", "l2": "an L2 penalty", "threshold": "learned soft thresholds"}


@dataclass(frozen=True)
class Sparsify(Step):
    """Retrain under a penalty that makes all but the fraction `keep` of the units exactly zero, then remove those.

    - `units`: what is penalized and removed as a whole. `rows`: of the tables that `target` matches, those of one id
      together; zero means equal to the shared row, which learns for all that have become it. `axis`: positions of the
      axes that `target` matches (columns of tables, neurons of layers), by the norm of what makes them. `fields`: those
      that `target` matches, by the norm of their columns. `weights`: single entries, each of which needs a place, so that
      few must be left to be smaller; they are stored in 8 bits. `keep` holds for each axis, for each matrix, for all fields.
    - `penalty`: `l1` is the sum of the norms of the units (lasso, Tibshirani 1996; group lasso, Yuan and Lin 2006), each
      weighed by the inverse of its norm (adaptive lasso, Zou 2006), so that what is kept is hardly shortened. `l2` alone
      gives no zeros: the smallest units, ever more of them, are halved again and again (growing regularization, Wang et al.
      2021), and what is left of them is cut at the end.
      `threshold` is `l1` with a strength for each row, and with single weights for each column, that is learned from the
      gradient of the loss (soft threshold reparameterization: PEP, Liu et al. 2021).

    Nobody has to find the strength: at each proximal step it is the least that makes as many units zero as a schedule asks
    for, quickly at first and then ever more slowly (Zhu and Gupta 2017), all of them after three quarters of the training.
    Entries count as often as they are read, so that a row that is hardly read or does not move goes first. Epochs before
    all zeros are there do not compete for the best on validation. `epochs`, `lr` and `distill` are those of `retrain`.
    """

    verb: ClassVar[str] = "sparsify"
    target: str
    keep: float
    units: str = "rows"
    penalty: str = "l2"
    epochs: int = 4
    lr: float = 1e-3
    distill: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.units not in REMOVABLE:
            raise unknown("units", str(self.units), REMOVABLE)
        Sparsity((), self.keep, self.penalty)
        if self.penalty == "threshold" and self.units not in ("rows", "weights"):
            raise RecpruneError(f"thresholds are learned for rows and weights, not for {self.units}")
        if type(self.epochs) is not int or self.epochs < 1:
            raise RecpruneError(f"epochs must be a positive whole number, got {self.epochs!r}")
        if type(self.lr) not in (int, float) or not 0 < self.lr < np.inf:
            raise RecpruneError(f"lr must be above 0, got {self.lr!r}")
        if type(self.distill) not in (int, float) or not 0 <= self.distill <= 1:
            raise RecpruneError(f"distill must be in [0, 1], got {self.distill!r}")

    def __call__(self, weights: Weights, context: Context) -> Weights:
        """Plan, train, remove."""
        if context.trainer is None:
            raise context.lacks(
                "sparsify needs training data and a loss",
                "is not trained by gradients; use a drop_ step or keep_top",
                "give data to compress, or use a drop_ step",
            )
        groups = [group for group in REMOVABLE[self.units].find(weights, self.target, context) if group.pool.count]
        names = list(dict.fromkeys(part.name for group in groups for part in group.pool.parts))
        floats = weights
        for name in names:
            if not weights[name].trained:
                raise RecpruneError(f"sparsify cannot act on {name!r}: it is counted, not trained")
            floats = floats.replace(name, plain(weights[name].value))
        sparsity = Sparsity(tuple(group.pool for group in groups), self.keep, self.penalty)
        settings = {"epochs": self.epochs, "lr": self.lr, "distill": self.distill, "sparsity": sparsity}
        trained = context.trainer(floats, settings, context.say)
        arrays = {}
        for name in names:
            value = trained[name].value
            arrays[name] = (value.inner if isinstance(value, Rows) else value).decode()
            stored = weights[name].value.recode(value.decode())
            trained = trained.replace(name, as_they_were(trained[name], stored))
        for group in groups:
            # What training made zero; and the smallest where there are fewer, such as after an early end.
            norms = group.pool.norms(arrays)
            stays = np.zeros(len(norms), dtype=bool)
            stays[np.argsort(-norms, kind="stable")[: kept(self.keep, len(norms))]] = True
            trained = group.remove(trained, stays & (norms > 0))
        return trained

    def touches(self, weights: Weights) -> list[str]:
        """Every trained parameter, and what shrinks with the units."""
        retrained = [name for name, param in weights.items() if param.trained]
        return list(dict.fromkeys(retrained + REMOVABLE[self.units].names(weights, self.target)))

    def describe(self) -> str:
        """In words."""
        return (
            f"retrain for {self.epochs} epochs under {_WORDS[self.penalty]} that leaves "
            f"{100 * self.keep:.3g} % of {REMOVABLE[self.units].words} of {self.target}"
        )
