"""Item-item and factor models on Book-Crossing and MovieLens-100k: how small, at which quality, against the plainest peers.

    python benchmarks/families/factors.py [part ...] [seed ...]

A seed splits the log. Settings were chosen on the validation part of split 0; what is printed is the test, on every third of
its users on Book-Crossing, every sixth over the whole catalogue. Every point has the bytes of the whole artifact, ids and
popularity included, and its differences to the original, paired by user. `tail_recall` is over the least read items that
hold a third of the catalogue's interactions.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np

from recprune import Recipe, compress
from recprune.artifact import contents
from recprune.data import Log, book_crossing, movielens_100k
from recprune.evaluation import ListTruth, differences, estimate, popularity_thirds
from recprune.pruning.compress import CompressedModel
from recprune.pruning.plain_magnitude import plain_magnitude
from recprune.recommenders.ease import ItemItem
from recprune.recommenders.factors import FactorModel, Fold
from recprune.recommenders.item_peers import als_model, cosine_matrix, histories_of, linear, ranked_lists
from recprune.recommenders.next_item_data import NextItemData, next_item_data, shares_of
from recprune.recommenders.sparse_ease import fit_sparse
from recprune.vocabulary import ExactVocabulary
from recprune.weights import Sparse

METRICS = ("ndcg@10", "recall@20", "tail_recall@20")
USERS = 6000
SEEDS = (0, 1, 2, 3, 4)
POPULARITY = {"quantize": {"target": "popularity", "bits": 8, "granularity": "per_tensor"}}
Point = dict[str, Any]


def next_book(seed: int) -> list[Point]:
    """EASE over items with ten readers: pairs kept and refitted, against the largest entries of each column."""
    data = next_item_data(_books(), min_reads=10, seed=seed)
    model = ItemItem.fit(data.user_items, _ids(data), l2=50.0)
    bench = Bench("next book", data, "test", catalogue=True)
    bench.add("EASE, dense", "original", _bytes(compress(model, Recipe())), linear(_matrix(model), model.shares))
    for count in (4, 6, 8, 12, 16, 32):
        small, stored = plain_magnitude(_matrix(model), count)
        size = stored + 4 * data.catalogue + bench.ids
        bench.add(f"magnitude, {count} a column", "peer", size, linear(small, model.shares))
    for count in (3, 4, 6, 8, 12, 16):
        steps = [{"keep_top": {"target": "item_weights", "per_column": count}}, POPULARITY]
        coded = compress(model, Recipe.from_json({"steps": steps}), data)
        bench.add(f"pairs, {count} a column", "ours", _bytes(coded), linear(_matrix(coded.model), coded.model.shares))
    return bench.points()


def whole_catalogue(seed: int) -> list[Point]:
    """Sparse EASE over every book with a reader, against EASE over popular books and item cosine over all."""
    data, popular = (next_item_data(_books(), min_reads=least, seed=seed) for least in (1, 10))
    bench = Bench("whole catalogue", data, "test", most=USERS // 2)
    dense = ItemItem.fit(popular.user_items, _ids(popular), l2=50.0)
    row = {name: i for i, name in enumerate(data.items[: data.catalogue].tolist())}
    rows = np.array([row[name] for name in _ids(popular).tolist()])
    lists = ranked_lists(linear(_matrix(dense), dense.shares), bench.histories[:, rows].tocsr(), 20)
    lists = np.where(lists >= 0, rows[lists], -1)
    bench.place("EASE over popular books, dense", "original", _bytes(compress(dense, Recipe())), lists)
    del dense
    cosine = cosine_matrix(data.user_items, 200)
    bench.add("item cosine, 200 neighbours", "peer", 8 * cosine.nnz + 4 * data.catalogue + bench.ids, linear(cosine))
    matrix = fit_sparse(data.user_items, 50.0, 32, tail=0.2)
    model = ItemItem.of(matrix, _ids(data), shares_of(data.user_items))
    bench.add("sparse EASE, whole", "ours", _bytes(compress(model, Recipe())), linear(_matrix(model), model.shares))
    for count in (16, 8, 4):
        steps: list[dict[str, Any]] = [
            {"keep_top": {"target": "item_weights", "per_column": count, "by": "column", "refit": False, "bits": 6}},
            POPULARITY,
        ]
        coded = compress(model, Recipe.from_json({"steps": steps}))
        scores = linear(_matrix(coded.model), coded.model.shares)
        bench.add(f"sparse EASE, {count} a column", "ours", _bytes(coded), scores)
        small, stored = plain_magnitude(_matrix(model), count)
        size = stored + 4 * data.catalogue + bench.ids
        bench.add(f"magnitude, {count} a column", "peer", size, linear(small, model.shares))
    return bench.points()


def next_book_als(seed: int) -> list[Point]:
    """ALS on the books. Product codes of 4 bits a factor come out as 4 bits do, smaller ones lose more."""
    data = next_item_data(_books(), min_reads=10, seed=seed)
    ways = {f"{bits} bits": {"quantize": {"target": "item_factors", "bits": bits}} for bits in (8, 4)}
    return _als("next book, ALS", data, (10.0, 10.0), (256, 128, 64, 32), ways)


def next_film_als(seed: int) -> list[Point]:
    """ALS on the films."""
    data = next_item_data(movielens_100k(), min_reads=10, seed=seed)
    ways = {f"{bits} bits": {"quantize": {"target": "item_factors", "bits": bits}} for bits in (4, 3)}
    return _als("next film, ALS", data, (10.0, 2.0), (128, 64, 32, 16), ways)


def _als(
    task: str, data: NextItemData, settings: tuple[float, float], widths: tuple[int, ...], ways: Mapping[str, Any]
) -> list[Point]:
    """The widest as trained, with its users, then folded in; fewer factors in 8 bits are given the fold too."""
    l2, alpha = settings

    def trained(width: int) -> FactorModel:
        factors = als_model(data.user_items, width, l2, alpha).item_factors
        return FactorModel.of(factors, _ids(data), Fold.confidence(alpha, l2), shares=shares_of(data.user_items, 1.0))

    bench = Bench(task, data, "test", catalogue=True)
    model = trained(widths[0])
    users = 4 * widths[0] * len(data.users)
    bench.add(f"ALS, {widths[0]} wide, with users", "original", _bytes(compress(model, Recipe())) + users, model.scores)
    for name, step in ways.items():
        coded = compress(model, Recipe.from_json({"steps": [step, POPULARITY]}), data)
        bench.add(f"no users, {name}", "ours", _bytes(coded), coded.model.scores)
    for width in widths[1:]:
        coded = compress(trained(width), Recipe.from_json({"steps": [_EIGHT, POPULARITY]}))
        bench.add(f"ALS, {width} wide, 8 bits", "peer", _bytes(coded), coded.model.scores)
    return bench.points()


def next_film(seed: int) -> list[Point]:
    """MovieLens-100k: EASE and ALS over a catalogue of a thousand films, where there is little to gain."""
    data = next_item_data(movielens_100k(), min_reads=10, seed=seed)
    bench = Bench("next film", data, "test", catalogue=True)
    model = ItemItem.fit(data.user_items, _ids(data), l2=100.0)
    bench.add("EASE, dense", "original", _bytes(compress(model, Recipe())), linear(_matrix(model), model.shares))
    for count in (32, 64, 128):
        small, stored = plain_magnitude(_matrix(model), count)
        size = stored + 4 * data.catalogue + bench.ids
        bench.add(f"magnitude, {count} a column", "peer", size, linear(small, model.shares))
    for count in (50, 100, 200):
        step = {"keep_top": {"target": "item_weights", "per_column": count, "tail": 0.0, "l2": 100, "bits": 6}}
        coded = compress(model, Recipe.from_json({"steps": [step, POPULARITY]}), data)
        bench.add(f"pairs, {count} a column", "ours", _bytes(coded), linear(_matrix(coded.model), coded.model.shares))
    return bench.points()


PARTS = {
    "items": next_book,
    "whole": whole_catalogue,
    "als": next_book_als,
    "films": next_film,
    "films_als": next_film_als,
}
_EIGHT = {"quantize": {"target": "item_factors", "bits": 8}}


class Bench:
    """Ranked lists of models on some users of one part of a split; with `catalogue`, the tail is that of the catalogue."""

    def __init__(self, task: str, data: NextItemData, part: str, *, catalogue: bool = False, most: int = USERS) -> None:
        users, relevant = data.judged(part)
        step = max(1, round(len(users) / most))
        self.task, self.histories = task, histories_of(data, users[::step])
        tail = np.zeros(len(data.items), bool)
        judged = slice(data.catalogue if catalogue else len(data.items))
        tail[judged] = popularity_thirds(data.counts[judged]) == 2
        self.truth = ListTruth(relevant[::step], len(data.items), tail)
        vocabulary, _ = ExactVocabulary.build([_ids(data).astype(np.str_)])
        self.ids = sum(array.nbytes for array in vocabulary.arrays().values())
        self.found: dict[str, tuple[str, int, Any]] = {}

    def add(self, name: str, kind: str, size: int, scores: Any) -> None:
        self.place(name, kind, size, ranked_lists(scores, self.histories, 20))

    def place(self, name: str, kind: str, size: int, lists: Any) -> None:
        self.found[name] = (kind, size, lists)
        print(f"{self.task}: {name}, {size:,} bytes", file=sys.stderr, flush=True)

    def points(self) -> list[Point]:
        original = next(lists for kind, _, lists in self.found.values() if kind == "original")
        changed = differences(
            self.truth, original, {name: lists for name, (_, _, lists) in self.found.items()}, METRICS
        )
        return [
            {
                "task": self.task, "name": name, "kind": kind, "disk_bytes": size,
                "metrics": {m: i.to_json() for m, i in estimate(self.truth, lists, METRICS).items()},
                "differences": {m: i.to_json() for m, i in changed[name].items()},
            }
            for name, (kind, size, lists) in self.found.items()
        ]  # fmt: skip


@cache
def _books() -> Log:
    return book_crossing()


def _ids(data: NextItemData) -> Any:
    return data.items[: data.catalogue]


def _bytes(model: CompressedModel) -> int:
    return sum(len(content) for content in contents(model.artifact).values())


def _matrix(model: ItemItem) -> Any:
    """What the artifact scores with, as scipy multiplies it; tests hold both to be equal."""
    from scipy.sparse import csr_array

    value, items = model.item_weights, len(model.ids)
    if not isinstance(value, Sparse):
        return value.decode()[:items, :items]
    rows, columns, values = value.coordinates()
    return csr_array((values, (rows, columns)), shape=(items, items))


def table(found: list[Point]) -> Iterator[str]:
    """One line a point, means over the seeds; the change of each metric is relative to the original's."""
    by_name: dict[tuple[str, str], list[Point]] = {}
    for point in found:
        by_name.setdefault((point["task"], point["name"]), []).append(point)
    base: Mapping[str, Any] = {}
    yield f"{'':58s}{'bytes':>13s}{'smaller':>9s}" + "".join(f"{metric:>26s}" for metric in METRICS)
    for (task, name), some in by_name.items():
        mean = {metric: float(np.mean([p["metrics"][metric]["value"] for p in some])) for metric in METRICS}
        size = float(np.mean([p["disk_bytes"] for p in some]))
        base = {"bytes": size, **mean} if some[0]["kind"] == "original" else base
        cells = ""
        for metric in METRICS:
            # Splits are apart, so the error of their mean is that of one over their root.
            change = [p["differences"][metric] for p in some]
            value = float(np.mean([c["value"] for c in change]))
            half = float(np.sqrt(np.sum([((c["high"] - c["low"]) / 2) ** 2 for c in change]))) / len(some)
            share = 100 / base[metric] if base[metric] else 0.0
            cells += f"{mean[metric]:9.4f} {share * value:+6.1f} ± {share * half:4.1f} %"
        yield f"{task + ': ' + some[0]['kind'] + ', ' + name:58s}{size:13,.0f}{base['bytes'] / size:9.1f}{cells}"


if __name__ == "__main__":
    parts = [name for name in sys.argv[1:] if name in PARTS] or list(PARTS)
    seeds = [int(name) for name in sys.argv[1:] if name.isdigit()] or list(SEEDS)
    for part in parts:
        print("\n".join(table([point for seed in seeds for point in PARTS[part](seed)])), flush=True)
