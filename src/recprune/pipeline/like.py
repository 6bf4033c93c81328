"""A task of kind `like`, stage by stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from recprune.adapters import adapter_for
from recprune.artifact import Artifact, read, write
from recprune.data import Log
from recprune.evaluation import (
    RowTruth,
    auc,
    by_activity,
    by_age,
    by_group,
    by_popularity,
)
from recprune.files import write_arrays, write_bytes
from recprune.judge import RowJudge
from recprune.pipeline.config import LikeConfig
from recprune.pipeline.shared import REPAIRED, Say, Stored, groups_of, judge_all, nouns, plan_recipes, try_recipes
from recprune.pipeline.timing import side_by_side
from recprune.pruning.analyze import analyze
from recprune.pruning.compress import pack
from recprune.pruning.measure import Probe
from recprune.pruning.rank_importances import rank_importances
from recprune.pruning.recipe import Recipe
from recprune.runtime import Scorer
from recprune.snapshot import Snapshot

__all__ = ["LikeTask"]

Array = npt.NDArray[Any]
METRICS = ("auc", "gauc", "logloss", "calibration_error")
_PROBED = 10_000  # validation rows that each cut of `analyze` is judged on


class LikeTask:
    """Trains, analyzes, compresses and judges a model of (user, item) pairs."""

    metric = "auc"

    def __init__(self, config: LikeConfig, load: Callable[[], Log], seed: int, split_seed: int = 0) -> None:
        import torch

        self.config, self.load, self.seed, self.split_seed = config, load, seed, split_seed
        torch.set_num_threads(1)  # batches are small: a second thread costs more in waiting than it brings

    @cached_property
    def data(self) -> Any:
        """The split rows."""
        from recprune.recommenders.like import like_data

        return like_data(self.load(), liked=self.config.liked, seed=self.split_seed)

    @property
    def settings(self) -> Any:
        """The model's settings."""
        from recprune.recommenders.like import privately

        return self._plain if self.config.private is None else privately(self._plain, self.config.private)

    @cached_property
    def _plain(self) -> Any:
        """The settings without noise, which peers are trained with: they are not shipped."""
        from recprune.recommenders.like import LIKE, LIKE_IDS, features_for

        base = LIKE if self.config.statistics else LIKE_IDS
        features = features_for(base.features, self.data.train, self.config.liked)
        sizes = replace(base.sizes, width=self.config.width, min_readings=self.config.min_readings)
        return replace(base, model=self.config.model, sizes=sizes, features=features)

    def train(self, folder: Path, say: Say) -> Stored:
        """Train the original; write its artifact (an empty recipe) and its state."""
        from recprune.recommenders.like import train_like

        checkpoint = folder / "training.pt"
        trained = train_like(
            self.data, self.settings, seed=self.seed, progress=lambda r: say(_epoch(r)), checkpoint=checkpoint
        )
        found = self._stored(trained, folder)
        checkpoint.unlink(missing_ok=True)
        return found

    def repair(self, trained: Callable[[], Any], folder: Path, say: Say) -> Stored:
        """One epoch more, without those who are to be forgotten; a private model is trained again, with its noise."""
        if self.config.private is not None:
            return self.train(folder, say)
        from recprune.recommenders.like import repair_like

        say(REPAIRED)
        found = repair_like(self.data, self.settings, trained(), seed=self.seed, progress=lambda r: say(_epoch(r)))
        result, files = self._stored(found, folder)
        return {**result, "original": f"{result['original']}, {REPAIRED}", "repaired": REPAIRED}, files

    def _stored(self, trained: Any, folder: Path) -> Stored:
        from safetensors.torch import save

        state = {name: tensor.contiguous() for name, tensor in trained.model.state_dict().items()}
        write_bytes(folder / "model.safetensors", save(state))
        private = {} if trained.private is None else {"private": trained.private}
        size = write(pack(adapter_for(trained.model).read(trained.model), Recipe(), private), folder / "original")
        history = trained.history.epochs
        found = {
            "size": size,
            "history": history,
            "best": trained.history.best,
            "split": self.split(),
            "original": self._words(),
            **private,
        }
        return found, ["model.safetensors", "original"]

    def split(self) -> dict[str, Any]:
        """How rows were split, and how many there are of each part."""
        parts = {part: len(getattr(self.data, part)) for part in ("train", "valid", "test")}
        return {"how": "by a hash of (user, item), 80 / 10 / 10", **parts}

    def model(self, folder: Path) -> Any:
        """The trained original."""
        from safetensors.torch import load

        from recprune.recommenders.like import MODELS

        features, _ = self.data.fitted(self.settings.features)
        model = MODELS[self.settings.model](features, self.settings.sizes)
        model.load_state_dict(load((folder / "model.safetensors").read_bytes()))
        return model.eval()

    def judge(self, part: str) -> RowJudge:
        """What is true of `valid` or `test`, and how an artifact answers it."""
        frame = getattr(self.data, part)
        return RowJudge(RowTruth(self.data.labels[part], frame["user"].to_numpy()), frame, METRICS)

    def peers(self, folder: Path, say: Say) -> Stored:
        """Scores of the peers on test, kept for the comparison."""
        from recprune.recommenders.peers import like_peers

        found: dict[str, Any] = {}
        scores: dict[str, Array] = {}
        for peer in like_peers(self.data, self._plain, self.config.trained_small, self.seed, say):
            scores[peer.name] = peer.scores.astype(np.float32)
            found[peer.name] = {"disk_bytes": peer.disk_bytes, "note": peer.note, "frontier": peer.trained_small}
        write_arrays(folder / "peers.npz", scores)
        return found, ["peers.npz"]

    def analyze(self, folder: Path, say: Say) -> Stored:
        """What is redundant in the original, measured on validation."""
        model = self.model(folder)
        adapter = adapter_for(model)
        context = adapter.context(model, None, self.seed, say)
        snapshot = adapter.read(model)
        return analyze(snapshot, context, self._probe(snapshot)).to_json(), []

    def importance(self, folder: Path, say: Say) -> Stored:
        """How well each importance predicts what cutting rows costs on validation."""
        model = self.model(folder)
        adapter = adapter_for(model)
        snapshot, context = adapter.read(model), adapter.context(model, self.data, self.seed, say)
        return {"importance": rank_importances(snapshot, context, self._probe(snapshot))}, []

    def plan(self, folder: Path, say: Say) -> Stored:
        """What every recipe would do."""
        return plan_recipes(self.config, self.model(folder), self.data, folder, self.seed, say), []

    def compress(self, folder: Path, say: Say) -> Stored:
        """Every recipe, judged on validation."""

        def judge(artifact: Artifact) -> dict[str, float]:
            return {"auc": auc(self.data.labels["valid"], Scorer(artifact).score(self.data.valid))}

        return try_recipes(
            self.config, self.model(folder), self.data, folder, self.seed, say, judge, ("auc",), self.load()
        )

    def evaluate(self, folder: Path, say: Say) -> Stored:
        """Original and compressed on the same test rows, peers and other recipes beside them."""
        test, judge = self.data.test, self.judge("test")
        found, scores = judge_all(
            self.config,
            folder,
            judge.truth,
            judge.predict,
            METRICS,
            ("auc", "gauc"),
            self.slices(),
            say,
        )
        write_arrays(folder / "test_scores.npz", scores)
        original, shipped = Scorer(read(folder / "original")), Scorer(read(folder / "artifact"))
        row = {name: test[name].to_numpy() for name in original.columns}
        step = max(1, len(test) // 200)
        one = [{name: values[i : i + 1] for name, values in row.items()} for i in range(0, len(test), step)]
        found["scoring"] = side_by_side(
            lambda i: original.score(one[i % len(one)]),
            lambda i: shipped.score(one[i % len(one)]),
            "one row from raw ids, numpy runtime, one thread",
        )
        found |= {"readers": self.readers(original, shipped), "notes": self.notes()}
        return found, ["test_scores.npz"]

    def notes(self) -> list[str]:
        """What a reader of the result should know of the test."""
        train, test = self.data.train, self.data.test
        found = []
        for key, what in zip(("item", "user"), nouns(self.load().name), strict=True):
            known = test[key].is_in(train[key].unique().to_list()).mean()
            found.append(f"{1 - float(known or 0):.1%} of the test rows ask for {what}s that training never saw.")
        bits = self.config.recipes[self.config.ship].fingerprint
        if bits:
            found.append(
                "Ids are stored as hashes: an unknown id is now and then taken for a known one, and that is counted here."
            )
        return found

    def slices(self) -> list[Any]:
        """Items by training count, users by activity, country and what else tells them apart, and age group."""
        train, test = self.data.train, self.data.test
        parts = []
        for key, make, noun in zip(
            ("item", "user"), (by_popularity, by_activity), nouns(self.load().name), strict=True
        ):
            counts = train.group_by(key).agg(n=pl.len()).sort(key)
            rows = test.join(counts.with_row_index("row"), on=key, how="left", maintain_order="left")["row"]
            found = rows.fill_null(len(counts)).to_numpy().astype(np.int64)
            parts += make(counts["n"].to_numpy(), found, name=f"{noun}s")
        for name in groups_of(self.load().users):
            parts += by_group(name, test[name].to_list(), top=4)
        if "age" in test.columns and test.schema["age"].is_numeric():
            parts += by_age(test["age"].cast(pl.Float64).fill_null(np.nan).to_numpy())
        return parts

    def readers(self, original: Scorer, compressed: Scorer, count: int = 10, best: int = 5) -> list[dict[str, Any]]:
        """Readers of the test with what both models would give them out of the 300 most read books."""
        train = self.data.train
        popular = train.group_by("item").agg(n=pl.len()).sort("n", "item", descending=[True, False]).head(300)["item"]
        items = train.filter(pl.col("item").is_in(popular.to_list())).unique("item", keep="first", maintain_order=True)
        counts = train.group_by("user").agg(n=pl.len()).filter(pl.col("n").is_between(5, 30)).sort("user")
        users = counts.filter(pl.col("user").is_in(self.data.test["user"].unique().to_list()))["user"].to_list()
        found = []
        known = [name for name in original.columns if name in train.columns]
        of_user = [name for name in known if name == "user" or name in self.load_users]
        for user in users[:: max(1, len(users) // count)][:count]:
            mine = train.filter(pl.col("user") == user)
            fresh = items.filter(~pl.col("item").is_in(mine["item"].to_list()))
            asked = fresh.with_columns(**{name: pl.lit(mine[name][0]) for name in of_user})
            lists = []
            for model in (original, compressed):
                scores = model.score(asked)
                order = np.argsort(-scores, kind="stable")[:best]
                lists.append([_title(asked, int(i)) | {"score": float(scores[i])} for i in order])
            liked = mine.sort("rating", descending=True).head(3)
            about = ", ".join(
                str(mine[name][0]) for name in ("age", "country") if name in mine.columns and mine[name][0]
            )
            history = [_title(liked, i) for i in range(len(liked))]
            found.append({"user": str(user), "about": about, "history": history, "before": lists[0], "after": lists[1]})
        return found

    @cached_property
    def load_users(self) -> list[str]:
        """Columns that belong to users."""
        return self.load().users.columns

    def _probe(self, snapshot: Snapshot) -> Probe:
        valid, labels = self.data.valid.head(_PROBED), self.data.labels["valid"][:_PROBED]
        assert snapshot.graph is not None
        columns = self._columns(valid, snapshot.graph.columns)
        return Probe("auc", columns, lambda scores: auc(labels, scores.reshape(-1)))

    def _columns(self, frame: pl.DataFrame, names: tuple[str, ...]) -> Mapping[str, Any]:
        from recprune.runtime.scorer import column

        return {name: column(frame, name) for name in names}

    def _words(self) -> str:
        sizes = self.settings.sizes
        blocks = "ids, attributes and statistics" if self.config.statistics else "ids and attributes"
        name = {"dcn": "DCN-v2", "deepfm": "DeepFM"}[self.settings.model]
        words = f"{name} over {blocks}, {sizes.width} wide, ids read {sizes.min_readings} times or more"
        private = self.config.private
        return words if private is None else f"{words}, private by {private.unit} with epsilon {private.epsilon:g}"


def _epoch(record: Mapping[str, float]) -> str:
    return f"epoch {int(record['epoch']) + 1}: loss {record['loss']:.4f}, validation AUC {record['auc']:.4f}"


def _title(frame: pl.DataFrame, row: int) -> dict[str, Any]:
    title = frame["title"][row] if "title" in frame.columns else None
    found: dict[str, Any] = {"title": str(title or frame["item"][row])}
    if "author" in frame.columns and frame["author"][row]:
        found["by"] = str(frame["author"][row])
    return found
