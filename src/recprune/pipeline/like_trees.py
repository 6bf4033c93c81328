"""A task of kind `like` whose model is an ensemble of trees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from recprune.adapters import adapter_for
from recprune.artifact import Artifact, read, write
from recprune.evaluation import auc
from recprune.forest import Forest
from recprune.pipeline.like import LikeTask
from recprune.pipeline.shared import Say, Stored
from recprune.pruning.compress import pack
from recprune.pruning.recipe import Recipe
from recprune.runtime import Scorer

__all__ = ["LikeTreesTask"]


class LikeTreesTask(LikeTask):
    """As `LikeTask`; statistics are fitted again from the rows, trees are kept as the weights of an artifact."""

    @cached_property
    def _plain(self) -> Any:
        """The settings of the features."""
        from recprune.recommenders.like import LIKE, features_for

        return replace(LIKE, features=features_for(LIKE.features, self.data.train, self.config.liked))

    def train(self, folder: Path, say: Say) -> Stored:
        """Train the original; write its artifact (an empty recipe) and its trees."""
        from recprune.recommenders.like_trees import train_like_trees

        model = train_like_trees(self.data, self.settings.features, self.config.model, seed=self.seed)
        write(Artifact(model.trees, None, {}), folder / "trees")
        artifact = pack(adapter_for(model).read(model), Recipe())
        size = write(artifact, folder / "original")
        valid = auc(self.data.labels["valid"], Scorer(artifact).score(self.data.valid))
        say(f"validation AUC {valid:.4f}")
        found = {
            "size": size,
            "history": [],
            "best": 0,
            "split": self.split(),
            "original": f"{self._words()}, {Forest.of(model.trees).trees} of them",
        }
        return found, ["trees", "original"]

    def repair(self, trained: Callable[[], Any], folder: Path, say: Say) -> Stored:
        """Trees are fitted again: nothing of those who are to be forgotten is left."""
        return self.train(folder, say)

    def model(self, folder: Path) -> Any:
        """The trained original."""
        from recprune.recommenders.like_trees import LikeTrees

        features, _ = self.data.fitted(self.settings.features)
        return LikeTrees(features, read(folder / "trees").weights)

    def _words(self) -> str:
        name = {"lightgbm": "boosted by LightGBM", "forest": "of a random forest"}[self.config.model]
        return f"trees {name} over statistics of users and items"
