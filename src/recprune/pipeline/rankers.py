"""The models of a task of kind `next_item`: how each is trained, found again, analyzed, and trained small."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from recprune.adapters import adapter_for
from recprune.artifact import Artifact, write
from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.files import write_bytes
from recprune.pipeline.config import NextItemConfig
from recprune.pipeline.item_rankers import AlsRanker, EaseRanker, ItemKnnRanker, SparseEaseRanker
from recprune.pipeline.shared import REPAIRED, Say
from recprune.pruning.analyze import analyze
from recprune.pruning.compress import compress
from recprune.pruning.measure import Probe
from recprune.pruning.methods import Quantize
from recprune.pruning.rank_importances import rank_importances
from recprune.pruning.recipe import Recipe
from recprune.recommenders.item_peers import Peer
from recprune.runtime.topk import top_k
from recprune.snapshot import Snapshot

__all__ = ["RANKERS", "VALID", "NeuralRanker", "Ranker", "TitleRanker", "ranker_for"]

Array = npt.NDArray[Any]
JudgeLists = Callable[[Array], float]
JudgeArtifact = Callable[[Artifact], float]
_K = 20
_GENTLE = 2e-4  # the rate of a repair: lower than in training, whose first steps undo much
CHECKPOINT = "training.pt"  # kept until the artifact of the original is written
VALID = 5000  # users that choices on validation are judged on: for these the first few thousand are enough


class Ranker(Protocol):
    """What trains a model of a task of kind `next_item`. `learns`: whether by gradients, from weights that are there."""

    learns: ClassVar[bool]

    @property
    def words(self) -> str:
        """What the model is."""

    def train(self, folder: Path, judge: JudgeLists, say: Say) -> tuple[Any, list[str]]:
        """The model, and the names of the files that it was written to."""

    def repair(self, trained: Callable[[], Any], folder: Path, judge: JudgeLists, say: Say) -> tuple[Any, list[str]]:
        """As `train`, from the model that was `trained` on this data and users more, who are to be forgotten."""

    def load(self, folder: Path) -> Any:
        """The trained model."""

    def matrix(self, folder: Path) -> Any:
        """The matrix (items, items) of an item-item model, dense or scipy sparse, for plain magnitude pruning; else None."""

    def analyze(
        self, folder: Path, judge: JudgeLists, judge_artifact: JudgeArtifact, metric: str, say: Say
    ) -> dict[str, Any]:
        """What is redundant, and what less of each part costs on validation, nothing retrained."""

    def importance(self, folder: Path, judge: JudgeLists, metric: str, say: Say) -> list[dict[str, Any]]:
        """How well each importance predicts what cutting rows costs on validation."""

    def small(self, users: Array, judge: JudgeLists, say: Say) -> Iterator[Peer]:
        """The same model trained smaller: lists of the test for the users at `users`."""


def ranker_for(config: NextItemConfig, data: Any, seed: int, titles: Callable[[], list[str]]) -> Ranker:
    """What trains the model that the configuration names. Raises RecpruneError where the log does not suffice.

    `titles`: of the items that models may recommend.
    """
    if config.model == "sasrec" and not data.timed:
        raise RecpruneError("model sasrec learns from the order of interactions, and this log has no time")
    if config.model == "titles":
        return TitleRanker(config, data, seed, titles)
    return RANKERS[config.model](config, data, seed)


@dataclass(frozen=True)
class TitleRanker(EaseRanker):
    """Neighbours by title: an item-item model that needs no reader."""

    titles: Callable[[], list[str]]

    @property
    def words(self) -> str:
        """What the model is."""
        return f"nearest titles (TF-IDF of words, cosine) of {self.data.catalogue:,} items"

    def load(self, folder: Path) -> Any:
        """The model, from the titles."""
        from recprune.recommenders.next_item_data import shares_of
        from recprune.recommenders.titles import neighbours_of

        ids = self.data.items[: self.data.catalogue]
        return neighbours_of(self.titles(), ids, shares=shares_of(self.data.user_items))


@dataclass(frozen=True)
class NeuralRanker:
    """The two-tower model or SASRec: trained on the histories, stopped by validation, stored."""

    learns: ClassVar[bool] = True
    config: NextItemConfig
    data: Any
    seed: int

    def __post_init__(self) -> None:
        import torch

        torch.set_num_threads(1)  # batches are small: a second thread costs more in waiting than it brings

    @property
    def words(self) -> str:
        """What the model is."""
        name = {"sasrec": "SASRec", "two_tower": "two towers"}[self.config.model]
        least = self.config.min_reads
        return f"{name}, {self.config.width} wide, over {self.data.catalogue:,} items with {least} readers or more"

    def train(self, folder: Path, judge: JudgeLists, say: Say) -> tuple[Any, list[str]]:
        """The model, and the names of the files that it was written to."""
        from safetensors.torch import save

        checkpoint = folder / CHECKPOINT
        model = self._trained(self.config.width, judge, say, checkpoint)
        write_bytes(folder / "model.safetensors", save(model.state_dict()))
        return model, ["model.safetensors"]

    def repair(self, trained: Callable[[], Any], folder: Path, judge: JudgeLists, say: Say) -> tuple[Any, list[str]]:
        """One epoch more, without those who are to be forgotten."""
        from safetensors.torch import save

        say(REPAIRED)
        model = self._fresh(self.config.width)
        model.inherit(trained())
        model = self._fitted(model, judge, say, epochs=1, rate=_GENTLE)
        write_bytes(folder / "model.safetensors", save(model.state_dict()))
        return model, ["model.safetensors"]

    def load(self, folder: Path) -> Any:
        """The trained model."""
        from safetensors.torch import load

        model = self._fresh(self.config.width)
        model.load_state_dict(load((folder / "model.safetensors").read_bytes()))
        return model.eval()

    def matrix(self, folder: Path) -> Any:
        """Nothing: there is no matrix of items by items."""
        return None

    def analyze(
        self, folder: Path, judge: JudgeLists, judge_artifact: JudgeArtifact, metric: str, say: Say
    ) -> dict[str, Any]:
        """What is redundant, and what less of each part costs on validation, nothing retrained."""
        return analyze(*self._probed(folder, judge, metric, say)).to_json()

    def importance(self, folder: Path, judge: JudgeLists, metric: str, say: Say) -> list[dict[str, Any]]:
        """How well each importance predicts what cutting rows costs on validation."""
        return rank_importances(*self._probed(folder, judge, metric, say))

    def small(self, users: Array, judge: JudgeLists, say: Say) -> Iterator[Peer]:
        """The same model trained from scratch at smaller widths, in 8 bits: lists of the test for the users at `users`."""
        known = self.data.before("test")
        histories = [known[user] for user in users]
        for width in self.config.trained_small:
            say(f"the same model from scratch: {width} wide")
            model = self._trained(width, judge, lambda line: None)
            coded = compress(model, Recipe((Quantize("*", 8),)))
            with TemporaryDirectory() as folder:
                size = write(coded.artifact, Path(folder) / "artifact")["disk_bytes"]
            lists = _ranked(coded.model.scores(histories), histories)
            yield Peer(f"{width} wide", lists, size, "trained from scratch, 8 bits", trained_small=True)

    def _probed(self, folder: Path, judge: JudgeLists, metric: str, say: Say) -> tuple[Snapshot, Context, Probe]:
        model, histories = self.load(folder), self._histories("valid")
        adapter = adapter_for(model)
        probe = Probe(
            metric,
            {"items": [list(model.ids[history]) for history in histories]},
            lambda scores: judge(_ranked(scores[:, : len(model.ids)], histories)),
        )
        return adapter.read(model), adapter.context(model, self.data, self.seed, say), probe

    def _fresh(self, width: int) -> Any:
        import torch

        from recprune.recommenders.next_item_data import shares_of
        from recprune.recommenders.sasrec import SasRec
        from recprune.recommenders.two_tower import TwoTower

        torch.manual_seed(self.seed)
        make = {"sasrec": SasRec, "two_tower": TwoTower}[self.config.model]
        items = self.data.items[: self.data.catalogue].astype(np.str_)
        return make(items, shares_of(self.data.user_items), width=width)

    def _trained(self, width: int, judge: JudgeLists, say: Say, checkpoint: Path | None = None) -> Any:
        return self._fitted(self._fresh(width), judge, say, checkpoint=checkpoint)

    def _fitted(self, model: Any, judge: JudgeLists, say: Say, **settings: Any) -> Any:
        from recprune.recommenders.next_item import train_next_item

        histories = self._histories("valid")
        train_next_item(
            model,
            self.data,
            lambda model: judge(_ranked(model.scores(histories), histories)),
            seed=self.seed,
            progress=lambda r: say(
                f"epoch {int(r['epoch']) + 1}: loss {r['loss']:.4f}, validation NDCG@10 {r['ndcg@10']:.4f}"
            ),
            **settings,
        )
        return model.eval()

    def _histories(self, part: str) -> list[Array]:
        known = self.data.before(part)
        return [known[user] for user in self.data.judged(part)[0][:VALID]]


RANKERS: dict[str, Callable[..., Ranker]] = {
    "ease": EaseRanker,
    "sansa": SparseEaseRanker,
    "item_knn": ItemKnnRanker,
    "als": AlsRanker,
    "two_tower": NeuralRanker,
    "sasrec": NeuralRanker,
    "titles": TitleRanker,
}


def _ranked(scores: Array, histories: list[Array]) -> Array:
    """The best items of each row of scores, the history left out: (users, 20), -1 where there are fewer."""
    lists = np.full((len(histories), _K), -1, dtype=np.int64)
    for row, score, history in zip(lists, scores, histories, strict=True):
        found, _ = top_k(score, _K, exclude=history)
        row[: len(found)] = found
    return lists
