"""From a trained model to a snapshot, and back to a smaller model of the same class."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol

from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.snapshot import Snapshot
from recprune.weights import Weights

__all__ = ["Adapter", "adapter_for"]

# By the qualified name of a class, so that a framework is imported only with a model of its own in hand.
_ADAPTERS = {
    "recprune.recommenders.tables.TableModel": "recprune.adapters.tables:TableAdapter",
    "recprune.recommenders.like_trees.LikeTrees": "recprune.adapters.like_trees:LikeTreesAdapter",
    "recprune.recommenders.ease.ItemItem": "recprune.adapters.items:ItemAdapter",
    "recprune.recommenders.titles.TitleIndex": "recprune.adapters.titles:TitleAdapter",
    "recprune.recommenders.sequences.SequenceModel": "recprune.adapters.sequences:SequenceAdapter",
    "sklearn.pipeline.Pipeline": "recprune.adapters.sklearn:SklearnAdapter",
    "sklearn.naive_bayes.MultinomialNB": "recprune.adapters.sklearn:SklearnAdapter",
    "sklearn.naive_bayes.ComplementNB": "recprune.adapters.sklearn:SklearnAdapter",
    "sklearn.linear_model._logistic.LogisticRegression": "recprune.adapters.sklearn:SklearnAdapter",
    "sklearn.linear_model._stochastic_gradient.SGDClassifier": "recprune.adapters.sklearn:SklearnAdapter",
    "recprune.recommenders.factors.FactorModel": "recprune.adapters.factors:FactorAdapter",
    "implicit.cpu.als.AlternatingLeastSquares": "recprune.adapters.implicit:ImplicitAdapter",
    "implicit.cpu.bpr.BayesianPersonalizedRanking": "recprune.adapters.implicit:ImplicitAdapter",
    "implicit.nearest_neighbours.ItemItemRecommender": "recprune.adapters.implicit:ImplicitAdapter",
    "sklearn.decomposition._nmf.NMF": "recprune.adapters.factors:DecompositionAdapter",
    "sklearn.decomposition._truncated_svd.TruncatedSVD": "recprune.adapters.factors:DecompositionAdapter",
    "sklearn.ensemble._forest.ForestClassifier": "recprune.adapters.sklearn_trees:SklearnTreesAdapter",
    "sklearn.ensemble._forest.ForestRegressor": "recprune.adapters.sklearn_trees:SklearnTreesAdapter",
    "lightgbm.basic.Booster": "recprune.adapters.lightgbm:LightGbmAdapter",
    "lightgbm.sklearn.LGBMModel": "recprune.adapters.lightgbm:LightGbmAdapter",
    "xgboost.core.Booster": "recprune.adapters.xgboost:XgBoostAdapter",
    "xgboost.sklearn.XGBModel": "recprune.adapters.xgboost:XgBoostAdapter",
    "torch.nn.modules.module.Module": "recprune.adapters.torch:TorchAdapter",
}


class Adapter(Protocol):
    """What `compress` needs to know of a family of models."""

    def read(self, model: Any) -> Snapshot:
        """The model as arrays and a graph; the model is left as it is."""

    def rebuild(self, model: Any, weights: Weights) -> Any:
        """A model of the same class and calls with other weights; the given one is left as it is."""

    def context(self, model: Any, data: Any, seed: int, say: Callable[[str], None]) -> Context:
        """What the steps may look at, drawn from the user's data."""

    def check(self, model: Any, weights: Weights, data: Any) -> None:
        """Raise RecpruneError where an axis that `weights` has cut cannot be cut out of this model."""


def adapter_for(model: object) -> Adapter:
    """The adapter of the nearest class of `model` that has one. Raises RecpruneError where none has."""
    for cls in type(model).__mro__:
        found = _ADAPTERS.get(f"{cls.__module__}.{cls.__qualname__}")
        if found:
            module, name = found.split(":")
            adapter: Adapter = getattr(import_module(module), name)()
            return adapter
    known = ", ".join(name.rpartition(".")[2] for name in sorted(_ADAPTERS))
    raise RecpruneError(
        f"no adapter for {type(model).__module__}.{type(model).__qualname__}; adapters are for: {known}"
    )
