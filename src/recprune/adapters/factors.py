"""Factor models: our own, and scikit-learn's NMF and TruncatedSVD."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.adapters.histories import history_context
from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.recommenders.factors import FactorModel, Fold, factor_snapshot, narrow
from recprune.snapshot import Snapshot
from recprune.weights import Weights

__all__ = ["DecompositionAdapter", "FactorAdapter"]


class FactorAdapter:
    """Reads and rebuilds `FactorModel`s."""

    def read(self, model: FactorModel) -> Snapshot:
        """The items' factors, the popularity, and the graph that folds a history in."""
        return factor_snapshot(model.item_factors, model.ids, model.shares, model.fold, model.bias)

    def rebuild(self, model: FactorModel, weights: Weights) -> FactorModel:
        """The same items with other factors."""
        shares = weights["popularity"].value.decode()[:-1].reshape(-1)
        bias = weights["bias"].value.decode()[:-1].reshape(-1) if "bias" in weights else None
        return replace(model, item_factors=weights["item_factors"].value, shares=shares, bias=bias)

    def context(self, model: FactorModel, data: Any, seed: int, say: Callable[[str], None]) -> Context:
        """Readers of each item, and the model run on some histories. `data`: a NextItemData, or CSR users x items."""
        return history_context(lambda: self.read(model), data, seed, say)

    def check(self, model: FactorModel, weights: Weights, data: Any) -> None:
        """Nothing to check: cutting a factor cuts it in the fold too."""


@dataclass(frozen=True)
class DecompositionAdapter:
    """Reads and rebuilds a fitted `TruncatedSVD` or `NMF` whose columns are items.

    `ids`: of the columns; their numbers where none are given. `shares`: popularity (items,), which answers where there is no
    history. An SVD's users are projected as `transform` does; those of an NMF are the least squares of its `transform`
    without the bound at zero, which has no closed form.
    """

    ids: npt.ArrayLike | None = None
    shares: npt.ArrayLike | None = None

    def read(self, model: Any) -> Snapshot:
        """The components as factors of items."""
        if not hasattr(model, "components_"):
            raise RecpruneError(f"this {type(model).__name__} is not fitted")
        factors = np.asarray(model.components_, dtype=np.float32).T
        l2 = 1e-6
        if hasattr(model, "alpha_W"):
            l2 = max(float(model.alpha_W) * (1 - float(model.l1_ratio)) * len(factors), l2)
        ids = np.arange(len(factors)) if self.ids is None else np.asarray(self.ids)
        shares = None if self.shares is None else np.asarray(self.shares)
        ours = FactorModel.of(factors, ids, Fold(l2=l2), shares=shares)
        return factor_snapshot(ours.item_factors, ours.ids, ours.shares, ours.fold)

    def rebuild(self, model: Any, weights: Weights) -> Any:
        """A model of the same class with other, perhaps fewer components.

        Raises RecpruneError for an NMF whose factors were turned below zero: its `transform` does not take them.
        """
        components = np.ascontiguousarray(narrow(weights["item_factors"].value)[:-1].T)
        if hasattr(model, "alpha_W") and (components < 0).any():
            raise RecpruneError("an NMF takes no components below zero, which these steps gave; use the artifact")
        rebuilt = copy.deepcopy(model)
        rebuilt.components_ = components.astype(model.components_.dtype)
        rebuilt.n_components = len(components)
        if hasattr(model, "n_components_"):
            rebuilt.n_components_ = len(components)
        for name in ("singular_values_", "explained_variance_", "explained_variance_ratio_"):
            rebuilt.__dict__.pop(name, None)  # of the factors before
        return rebuilt

    def context(self, model: Any, data: Any, seed: int, say: Callable[[str], None]) -> Context:
        """Readers of each item, and the model run on some histories. `data`: a NextItemData, or CSR users x items."""
        return history_context(lambda: self.read(model), data, seed, say)

    def check(self, model: Any, weights: Weights, data: Any) -> None:
        """Nothing to check: cutting a factor cuts it in the fold too."""
