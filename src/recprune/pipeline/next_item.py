"""A task of kind `next_item`, stage by stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from recprune.adapters import adapter_for
from recprune.artifact import Artifact, read, write
from recprune.data import Log
from recprune.errors import RecpruneError
from recprune.evaluation import (
    ListTruth,
    by_activity,
    by_group,
    by_popularity,
    estimate,
    popularity_thirds,
)
from recprune.files import write_arrays
from recprune.judge import ListJudge
from recprune.pipeline.config import NextItemConfig
from recprune.pipeline.rankers import CHECKPOINT, VALID, Ranker, ranker_for
from recprune.pipeline.shared import REPAIRED, Say, Stored, groups_of, judge_all, nouns, plan_recipes, try_recipes
from recprune.pipeline.timing import side_by_side
from recprune.pruning.compress import pack
from recprune.pruning.recipe import Recipe
from recprune.runtime import Scorer

__all__ = ["NextItemTask"]

Array = npt.NDArray[Any]
METRICS = ("ndcg@10", "recall@20", "mrr@20", "tail_recall@20", "coverage@20")
VALID_METRICS = ("ndcg@10", "recall@20")
_K = 20
_BLOCK = 512


class NextItemTask:
    """Trains, analyzes, compresses and judges a model that ranks the whole catalogue."""

    metric = "ndcg@10"

    def __init__(self, config: NextItemConfig, load: Callable[[], Log], seed: int, split_seed: int = 0) -> None:
        self.config, self.load, self.seed, self.split_seed = config, load, seed, split_seed

    @cached_property
    def data(self) -> Any:
        """Histories and what is held out."""
        from recprune.recommenders.next_item_data import next_item_data

        return next_item_data(
            self.load(), fraction=self.config.hold_out, min_reads=self.config.min_reads, seed=self.split_seed
        )

    @cached_property
    def ranker(self) -> Ranker:
        """What trains the model that the configuration names."""
        return ranker_for(self.config, self.data, self.seed, self.titles)

    def titles(self) -> list[str]:
        """Titles of the catalogue, "" where an item has none. Raises RecpruneError for a log without titles."""
        items = self.load().items
        if "title" not in items.columns:
            raise RecpruneError("model titles needs items with a title; give the log a table of items that has one")
        asked = pl.DataFrame({"item": self.data.items[: self.data.catalogue]}, schema={"item": items.schema["item"]})
        found = asked.join(items.select("item", "title"), on="item", how="left", maintain_order="left")
        return [title or "" for title in found["title"].to_list()]

    def model(self, folder: Path) -> Any:
        """The trained original."""
        return self.ranker.load(folder)

    def train(self, folder: Path, say: Say) -> Stored:
        """Train the model; write its artifact (an empty recipe)."""
        return self._stored(folder, *self.ranker.train(folder, self._valid, say))

    def repair(self, trained: Callable[[], Any], folder: Path, say: Say) -> Stored:
        """A model without those who are to be forgotten: fitted again, or one epoch more where it learns by gradients."""
        found, files = self._stored(folder, *self.ranker.repair(trained, folder, self._valid, say))
        if not self.ranker.learns:
            return found, files
        return {**found, "original": f"{found['original']}, {REPAIRED}", "repaired": REPAIRED}, files

    def _stored(self, folder: Path, model: Any, files: list[str]) -> Stored:
        artifact = pack(adapter_for(model).read(model), Recipe())
        size = write(artifact, folder / "original")
        (folder / CHECKPOINT).unlink(missing_ok=True)
        valid = self._judge(self.lists(artifact, "valid"), "valid")
        rows = {part: int(sum(len(items) for items in self.data.relevant[part])) for part in ("valid", "test")}
        by_hash, by_time = "items held out by hash, half to validate, half", "latest items held out, the very last"
        how = by_time if self.data.timed else by_hash
        split = {
            "how": f"{self.config.hold_out:.0%} of each {nouns(self.load().name)[1]}'s {how} to test",
            "train": int(self.data.user_items.nnz),
            **rows,
            "users": len(self.data.users),
            "items": self.data.catalogue,
        }
        return {"size": size, "valid": valid, "split": split, "original": self.ranker.words}, [*files, "original"]

    def peers(self, folder: Path, say: Say) -> Stored:
        """Ranked lists of the peers on test, kept for the comparison."""
        from recprune.recommenders.item_peers import next_item_peers

        found: dict[str, Any] = {}
        lists: dict[str, Array] = {}
        users, _ = self._judged("test")
        own = self.ranker.matrix(folder)
        others = next_item_peers(self.data, users, _K, self.config.l2, say, own=own, leave_out=self.config.model)
        for peer in chain(others, self.ranker.small(users, self._valid, say)):
            lists[peer.name] = peer.lists
            found[peer.name] = {"disk_bytes": peer.disk_bytes, "note": peer.note, "frontier": peer.trained_small}
        write_arrays(folder / "peers.npz", lists)
        return found, ["peers.npz"]

    def analyze(self, folder: Path, say: Say) -> Stored:
        """What is redundant in the original, measured on validation."""

        def judge(artifact: Artifact) -> float:
            return self._valid(self.lists(artifact, "valid"))

        return self.ranker.analyze(folder, self._valid, judge, self.metric, say), []

    def importance(self, folder: Path, say: Say) -> Stored:
        """How well each importance predicts what cutting rows costs on validation; nothing for EASE."""
        return {"importance": self.ranker.importance(folder, self._valid, self.metric, say)}, []

    def plan(self, folder: Path, say: Say) -> Stored:
        """What every recipe would do."""
        return plan_recipes(self.config, self.model(folder), self.data, folder, self.seed, say), []

    def compress(self, folder: Path, say: Say) -> Stored:
        """Every recipe, judged on validation."""

        def judge(artifact: Artifact) -> Mapping[str, float]:
            return self._judge(self.lists(artifact, "valid"), "valid")

        return try_recipes(
            self.config, self.model(folder), self.data, folder, self.seed, say, judge, VALID_METRICS, self.load()
        )

    def evaluate(self, folder: Path, say: Say) -> Stored:
        """Original and compressed on the same readers of the test, peers and other recipes beside them."""
        found, lists = judge_all(
            self.config,
            folder,
            self.judge("test").truth,
            self.judge("test").predict,
            METRICS,
            ("ndcg@10", "recall@20", "tail_recall@20"),
            self.slices(),
            say,
        )
        write_arrays(folder / "test_lists.npz", lists)
        histories = self.histories("test", 200)
        original, shipped = Scorer(read(folder / "original")), Scorer(read(folder / "artifact"))
        found["scoring"] = side_by_side(
            lambda i: original.top_k([histories[i % len(histories)]], 10),
            lambda i: shipped.top_k([histories[i % len(histories)]], 10),
            "the 10 best items for one history of raw ids, numpy runtime",
            100,
        )
        notes = [*_speed(found["scoring"]), *self.notes(lists)]
        found |= {"readers": self.readers(lists["original"], lists["compressed"]), "notes": notes}
        return found, ["test_lists.npz"]

    def lists(self, artifact: Artifact, part: str) -> npt.NDArray[np.int64]:
        """Ranked lists of item rows, (users, 20), -1 where there are fewer, for the readers judged in a part."""
        users, _ = self._judged(part)
        scorer = Scorer(artifact)
        found = np.full((len(users), _K), -1, dtype=np.int64)
        row_of = pl.DataFrame({"id": self.data.items.astype(str)}).with_row_index("row")
        for start in range(0, len(users), _BLOCK):
            answer = scorer.top_k(self._histories(users[start : start + _BLOCK], part), _K)
            flat = np.concatenate(answer.ids) if len(answer.ids) else np.zeros(0, str)
            asked = pl.DataFrame({"id": flat.astype(str)})
            rows = asked.join(row_of, on="id", how="left", maintain_order="left")["row"]
            at = 0
            for i, ids in enumerate(answer.ids):
                found[start + i, : len(ids)] = rows[at : at + len(ids)].to_numpy()
                at += len(ids)
        return found

    def notes(self, lists: Mapping[str, Array]) -> list[str]:
        """What a reader of the result should know of the test."""
        _, relevant = self._judged("test")
        held = np.concatenate(relevant)
        outside = float((held >= self.data.catalogue).mean())
        inside = [items[items < self.data.catalogue] for items in relevant]
        some = np.array([len(items) > 0 for items in inside])
        truth = ListTruth([items for items in inside if len(items)], len(self.data.items))
        before, after = (
            estimate(truth, lists[side][some], ["ndcg@10"], resamples=100)["ndcg@10"].value
            for side in ("original", "compressed")
        )
        tail = popularity_thirds(self.data.counts) == 2
        reach = int((tail[: self.data.catalogue]).sum())
        return [
            f"{outside:.1%} of the held-out items have fewer than {self.config.min_reads} training interactions; no model "
            "here recommends them, and they count as misses of all. Judged on the others alone, over the "
            f"{int(some.sum()):,} of {len(some):,} users who have one, NDCG@10 is {before:.4f} for the original and "
            f"{after:.4f} for the compressed.",
            f"Of the {int(tail.sum()):,} items of the tail {reach:,} are in the catalogue of {self.data.catalogue:,}: tail "
            "recall is bounded for every model restricted to it, the original too.",
        ]

    def slices(self) -> list[Any]:
        """Items by training count; users by activity, country and what else tells them apart."""
        users, _ = self._judged("test")
        counts = np.diff(self.data.user_items.indptr)[users]
        log = self.load()
        item, user = nouns(log.name)
        parts = [*by_popularity(self.data.counts, name=f"{item}s"), *by_activity(counts, name=f"{user}s")]
        asked = pl.DataFrame({"user": self.data.users[users]}, schema={"user": log.users.schema["user"]})
        known = asked.join(log.users, on="user", how="left", maintain_order="left")
        for name in groups_of(log.users):
            parts += by_group(name, known[name].to_list(), top=4, axis="users")
        return parts

    def readers(self, original: Array, compressed: Array, count: int = 10, best: int = 5) -> list[dict[str, Any]]:
        """Readers of the test with what both models recommend; right guesses are marked."""
        users, relevant = self._judged("test")
        names = {str(row["item"]): row for row in self.load().items.iter_rows(named=True)} if self._titled else {}
        found = []
        chosen = [
            i
            for i, user in enumerate(users)
            if 5 <= self.data.user_items.indptr[user + 1] - self.data.user_items.indptr[user] <= 30
        ]
        for i in chosen[:: max(1, len(chosen) // count)][:count]:

            def line(row: int, i: int = i) -> dict[str, Any]:
                known = names.get(str(self.data.items[row]), {})
                entry: dict[str, Any] = {"title": str(known.get("title") or self.data.items[row])}
                return entry | ({"by": str(known["author"])} if known.get("author") else {})

            def listed(rows: Array, i: int = i) -> list[dict[str, Any]]:
                return [line(int(r)) | {"hit": bool(r in relevant[i])} for r in rows[:best] if r >= 0]

            seen = self.data.before_test[users[i]]
            found.append(
                {
                    "user": str(self.data.users[users[i]]),
                    "history": [line(int(row)) for row in seen[:4]],
                    "before": listed(original[i]),
                    "after": listed(compressed[i]),
                }
            )
        return found

    @property
    def _titled(self) -> bool:
        return "title" in self.load().items.columns

    def histories(self, part: str, count: int) -> list[list[str]]:
        """Histories of the first readers judged in a part, as raw ids."""
        return self._histories(self._judged(part)[0][:count], part)

    def _histories(self, users: Array, part: str) -> list[list[str]]:
        known = self.data.before(part)
        return [list(self.data.items[known[user]]) for user in users]

    def judge(self, part: str) -> ListJudge:
        """What is true of `valid` or `test`, and how an artifact answers it."""
        return ListJudge(self.truth(part), lambda artifact: self.lists(artifact, part), METRICS)

    def truth(self, part: str) -> ListTruth:
        """What is held out in a part, over the whole catalogue."""
        _, relevant = self._judged(part)
        tail = popularity_thirds(self.data.counts) == 2
        return ListTruth(relevant, len(self.data.items), tail)

    def _judged(self, part: str) -> tuple[Array, list[Array]]:
        users, relevant = self.data.judged(part)
        many = VALID if part == "valid" else len(users)
        return users[:many], relevant[:many]

    def _valid(self, lists: Array) -> float:
        return float(self._judge(lists, "valid")[self.metric])

    def _judge(self, lists: Array, part: str) -> Mapping[str, float]:
        truth = self.truth(part)
        return {m: i.value for m, i in estimate(truth, lists, VALID_METRICS, resamples=100).items()}


def _speed(scoring: Mapping[str, Any]) -> list[str]:
    """What is to be said where the smaller model answers no faster: nothing where it does."""
    before, after = (scoring[side]["p50_us"] for side in ("original", "compressed"))
    if after <= before:
        return []
    return [
        f"Smaller, not faster: one request takes {after:,.0f} us instead of {before:,.0f} us (p50). Here "
        "reading codes costs more than adding up whole rows; ship it for its bytes, or keep the original."
    ]
