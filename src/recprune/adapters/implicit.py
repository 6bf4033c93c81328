"""Models of the library `implicit`: alternating least squares, Bayesian personalized ranking, nearest neighbours."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.adapters.histories import history_context, item_products, matrix_of
from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.recommenders.ease import ItemItem
from recprune.recommenders.factors import FactorModel, Fold, factor_snapshot, narrow, users_for
from recprune.recommenders.next_item_data import item_snapshot, shares_of
from recprune.snapshot import Snapshot
from recprune.weights import Sparse, Weights

__all__ = ["ImplicitAdapter"]

Array = npt.NDArray[Any]
_TIE = 1e-3  # popularity beside similarities: it orders ties


@dataclass(frozen=True, eq=False)
class ImplicitAdapter:
    """Reads and rebuilds a fitted `AlternatingLeastSquares`, `BayesianPersonalizedRanking` or nearest neighbours.

    `ids`: of the items; their numbers where none are given. `user_items`: the training matrix, scipy CSR, users x items:
    popularity answers where there is no history, and the users of a BPR are folded in as near as possible to those that it
    trained (`Fold.fitted`). `weight`: the value of a read item in the training matrix, which counts beside `alpha`.

    Users of ALS are folded in as by its `recalculate_user`. The rebuilt model is of the same class; of the trained users'
    factors it has those that change their scores least.
    """

    ids: npt.ArrayLike | None = None
    user_items: Any = None
    weight: float = 1.0

    def read(self, model: Any) -> Snapshot:
        """The model as arrays and a graph. Raises RecpruneError for one that is not fitted."""
        similar = hasattr(model, "similarity")
        found = model.similarity if similar else model.item_factors
        if found is None:
            raise RecpruneError(f"this {type(model).__name__} is not fitted")
        items = found.shape[0]
        ids = np.arange(items) if self.ids is None else np.asarray(self.ids)
        matrix = None if self.user_items is None else matrix_of(self.user_items, items)
        shares = None if matrix is None else shares_of(matrix != 0, scale=_TIE if similar else 1.0)
        if similar:
            ours = ItemItem.of(found, ids, shares)
            return item_snapshot(ours.item_weights, ours.shares, ours.ids)
        factors, bias = self._split(model)
        model_of = FactorModel.of(factors, ids, self._fold(model, factors, matrix), shares=shares, bias=bias)
        return factor_snapshot(model_of.item_factors, model_of.ids, model_of.shares, model_of.fold, model_of.bias)

    def rebuild(self, model: Any, weights: Weights) -> Any:
        """A model of the same class with other neighbours or other, perhaps fewer factors."""
        rebuilt = copy.copy(model)
        if hasattr(model, "similarity"):
            self._set_similarity(rebuilt, weights)
            return rebuilt
        factors, before = narrow(weights["item_factors"].value)[:-1], self._split(model)[0]
        dtype = model.item_factors.dtype
        rebuilt.factors = factors.shape[1]
        rebuilt.item_factors = factors.astype(dtype)
        if model.user_factors is not None:
            trained = model.user_factors[:, : before.shape[1]]
            rebuilt.user_factors = users_for(trained, before, factors).astype(dtype)
        if "bias" in weights:  # BPR keeps it as a last factor, which is one for every user
            bias = weights["bias"].value.decode()[:-1]
            rebuilt.item_factors = np.concatenate([factors, bias], axis=1).astype(dtype)
            ones = np.ones((len(rebuilt.user_factors), 1))
            rebuilt.user_factors = np.concatenate([rebuilt.user_factors, ones], axis=1).astype(dtype)
        for cache in ("_YtY", "_XtX", "_user_norms", "_item_norms"):
            if hasattr(rebuilt, cache):
                setattr(rebuilt, cache, None)
        return rebuilt

    def context(self, model: Any, data: Any, seed: int, say: Callable[[str], None]) -> Context:
        """Readers of each item, and the model run on some histories. `data`: a NextItemData, or CSR users x items."""
        context = history_context(lambda: self.read(model), data, seed, say)
        if data is None or not hasattr(model, "similarity"):
            return context
        return replace(context, gram=item_products(matrix_of(data, model.similarity.shape[0]), say))

    def check(self, model: Any, weights: Weights, data: Any) -> None:
        """Nothing to check: cutting a factor cuts it in the fold too."""

    def _fold(self, model: Any, factors: Array, matrix: Any) -> Fold:
        if not _is_bpr(model):
            return Fold.confidence(float(model.alpha) * self.weight, float(model.regularization))
        if matrix is None:
            raise RecpruneError(
                "to fold in the users of a BPR its training matrix is needed: ImplicitAdapter(user_items=)"
            )
        return Fold.fitted(factors, model.user_factors[:, : factors.shape[1]], matrix)

    @staticmethod
    def _split(model: Any) -> tuple[Array, Array | None]:
        """Factors of the items, and the bias beside them, where there is one."""
        factors = np.asarray(model.item_factors)
        return (factors[:, :-1], factors[:, -1]) if _is_bpr(model) else (factors, None)

    @staticmethod
    def _set_similarity(model: Any, weights: Weights) -> None:
        from implicit.nearest_neighbours import NearestNeighboursScorer
        from scipy.sparse import csr_matrix

        value, items = weights["item_weights"].value, model.similarity.shape[0]
        if isinstance(value, Sparse):
            rows, columns, values = value.coordinates()
            whole = csr_matrix((values.astype(np.float64), (rows, columns)), shape=value.shape)
        else:
            whole = csr_matrix(value.decode(), dtype=np.float64)
        model.similarity = whole[:items, :items]
        model.scorer = NearestNeighboursScorer(model.similarity)


def _is_bpr(model: Any) -> bool:
    return type(model).__name__ == "BayesianPersonalizedRanking"
