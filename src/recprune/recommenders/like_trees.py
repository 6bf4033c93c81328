"""Trees for the task `like`: LightGBM or a random forest on the statistics of readers and books."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from recprune.errors import RecpruneError, unknown
from recprune.recommenders.features import Features, FeatureSettings
from recprune.recommenders.like import LikeData
from recprune.weights import Weights

__all__ = ["TREES", "LikeTrees", "train_like_trees"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class LikeTrees:
    """Tables of statistics, and an ensemble that reads them.

    `trees`: the parameters `trees` and `leaves` over the columns of all tables. The score is the sigmoid of the sum of
    boosted trees, or the mean of a forest's, as the mode of the ensemble says.
    """

    features: Features
    trees: Weights


def train_like_trees(data: LikeData, settings: FeatureSettings, model: str, *, seed: int = 0) -> LikeTrees:
    """Fit statistics and trees on the training rows, whose statistics come from the other folds.

    `model`: one of `TREES`. Boosted trees are stopped by the validation rows. Raises RecpruneError for another name, and for
    settings without statistics.
    """
    if model not in TREES:
        raise unknown("model of trees", model, TREES)
    if not settings.statistics:
        raise RecpruneError("trees read statistics; set statistics: true")
    from recprune.adapters import adapter_for

    features, train = data.fitted(settings)
    x, valid = features.matrix(train), features.matrix(features.encode(data.valid))
    fitted = TREES[model](x, data.labels["train"], valid, data.labels["valid"], seed)
    found = adapter_for(fitted).read(fitted).weights
    return LikeTrees(features, Weights({name: found[name] for name in ("trees", "leaves")}))


def _lightgbm(x: Array, y: Array, valid: Array, valid_y: Array, seed: int) -> Any:
    import lightgbm

    settings = {
        "objective": "binary", "metric": "auc", "learning_rate": 0.03, "num_leaves": 63, "min_data_in_leaf": 100,
        "feature_fraction": 0.5, "bagging_fraction": 0.8, "bagging_freq": 1, "lambda_l2": 5.0, "num_threads": 1,
        "seed": seed, "deterministic": True, "verbose": -1,
    }  # fmt: skip
    fitted = lightgbm.Dataset(x, y)
    held = lightgbm.Dataset(valid, valid_y, reference=fitted)
    return lightgbm.train(settings, fitted, 3000, [held], callbacks=[lightgbm.early_stopping(50, verbose=False)])


def _forest(x: Array, y: Array, valid: Array, valid_y: Array, seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    share = min(1.0, 100_000 / len(y))
    return RandomForestClassifier(40, min_samples_leaf=10, max_samples=share, random_state=seed).fit(x, y)


TREES: dict[str, Callable[[Array, Array, Array, Array, int], Any]] = {"lightgbm": _lightgbm, "forest": _forest}
"""How models of trees are fitted, by name."""
