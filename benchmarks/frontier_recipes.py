"""The recipes of `frontier.py`: each method alone at its settings, a grid, and choices at random."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from recprune.pruning.recipe import Recipe
from recprune.pruning.space import Space

TRIALS = 48  # of a search, a grid and choices at random alike
BITS = 8  # of the hash of an id, for all alike
KEEPS = (0.3, 0.1, 0.05, 0.03, 0.02, 0.01)
Json = dict[str, Any]


# What each method does alone, by its setting. The layers stay as they are: they are a hundredth of the model.
def alone_like(statistics: bool) -> dict[str, dict[str, list[Json]]]:
    def tables(make: Any) -> list[Json]:
        return [*make("tables.*.factor"), *make("tables.*.bias"), *(make("statistics.*") if statistics else [])]

    def rows(keep: float, importance: str) -> list[Json]:
        # Statistics are not trained on a loss: they go by reads, or by their size where that is asked for.
        other = "magnitude" if importance == "magnitude" else "popularity"
        counted = [{"drop_rows": {"target": "statistics.*", "budget": {"uniform": keep}, "importance": other}}]
        return [
            {"drop_rows": {"target": "tables.*", "budget": {"uniform": keep}, "importance": importance}},
            *(counted if statistics else []),
        ]

    found: dict[str, dict[str, list[Json]]] = {
        f"rows by {name.replace('_', ' ')}": {f"{keep:g}": rows(keep, name) for keep in KEEPS}
        for name in ("magnitude", "popularity", "expected_loss")
    }
    found["single weights"] = {
        f"{keep:g}": tables(lambda t, keep=keep: [{"drop_weights": {"target": t, "keep": keep}}]) for keep in KEEPS
    }
    found["columns"] = {f"{keep:g}": [{"drop_axis": {"axis": "* id.factor", "keep": keep}}] for keep in (0.5, 0.25)}
    found["float16"] = {"16 bits": tables(lambda t: [{"cast": {"target": t}}])}
    found["quantize"] = {
        f"{bits} bits": tables(
            lambda t, bits=bits: [{"quantize": {"target": t, "bits": bits, "granularity": "per_column"}}]
        )
        for bits in (8, 4, 2, 1)
    }
    found["codebook"] = {
        f"{bits} bits": tables(lambda t, bits=bits: [{"codebook": {"target": t, "bits": bits}}])
        for bits in (8, 4, 2, 1)
    }
    found["product quantization"] = {
        f"2 x {bits} bits": tables(lambda t, bits=bits: [{"codebook": {"target": t, "bits": bits, "parts": 2}}])
        for bits in (6, 3)
    }
    found["mixed bits"] = {
        f"{bits}": tables(lambda t, bits=bits: [{"mixed": {"target": t, "reads": [0.5, 0.3, 0.2], "bits": list(bits)}}])
        for bits in ((9, 6, 3), (6, 3, 1))
    }
    for by in ("hash", "quotient"):
        found[f"shared rows by {by}"] = {
            f"{keep:g}": tables(lambda t, keep=keep, by=by: [{"share": {"target": t, "keep": keep, "by": by}}])
            for keep in (0.1, 0.03)
        }
    found["low rank"] = {
        f"rank {rank}": [{"factorize": {"target": "tables.*.factor", "rank": rank}}] for rank in (2, 1)
    }
    found["sparsify rows"] = {f"{keep:g}": [{"sparsify": {"target": "tables.*", "keep": keep}}] for keep in (0.1, 0.03)}
    return found


def alone_items(items: int) -> dict[str, dict[str, list[Json]]]:
    def top(count: int, **of: Any) -> list[Json]:
        return [{"keep_top": {"target": "item_weights", "per_column": count, **of}}]

    def whole(verb: str, **of: Any) -> list[Json]:
        return [{verb: {"target": "item_weights", **of}}]

    counts = (400, 200, 64, 32, 16, 8, 4)
    return {
        "pairs, refitted": {f"{count} a column": top(count) for count in counts},
        "largest of each column": {f"{count} a column": top(count, by="column", refit=False, bits=8) for count in counts},
        "float16": {"16 bits": whole("cast")},
        "quantize": {f"{bits} bits": whole("quantize", bits=bits, granularity="per_column") for bits in (8, 4, 2, 1)},
        # The singular values of a matrix of ten thousand items take an hour.
        "low rank": {f"rank {r}": whole("factorize", rank=r) for r in (200, 60, 20) if items < 5000},
    }  # fmt: skip


def alone_towers() -> dict[str, dict[str, list[Json]]]:
    return {
        "float16": {"16 bits": [{"cast": {"target": "*"}}]},
        "quantize": {f"{bits} bits": [{"quantize": {"target": "*", "bits": bits}}] for bits in (8, 4, 3, 2)},
        "product quantization": {
            f"{parts} x {bits} bits": [{"codebook": {"target": "items", "bits": bits, "parts": parts}}]
            for parts, bits in ((16, 8), (8, 8), (8, 6), (4, 6))
        },
        "columns": {f"{keep:g}": [{"drop_axis": {"axis": "factor", "keep": keep}}] for keep in (0.5, 0.25)},
        "hidden units": {
            f"{keep:g}": [{"drop_axis": {"axis": "*hidden,*match,*value", "keep": keep}}] for keep in (0.5, 0.25)
        },
        "low rank": {f"rank {rank}": [{"factorize": {"target": "items", "rank": rank}}] for rank in (32, 16, 8)},
    }


def grid() -> Iterator[Recipe]:
    """As many recipes as the search tries: rows by expected loss, times codes of what is left, alike for all tables."""
    for keep in (1, 0.5, 0.25, 0.1, 0.05, 0.02):
        for bits in (10, 8, 6, 5, 4, 3, 2, 1):
            rows = {"drop_rows": {"target": "tables.*", "budget": {"uniform": keep}, "importance": "expected_loss"}}
            codes = [{"codebook": {"target": target, "bits": bits}} for target in ("tables.*.factor", "tables.*.bias")]
            layers = {"quantize": {"target": "*.weight", "bits": 8}}
            yield Recipe.from_json({"fingerprint": BITS, "steps": [rows, *codes, layers]})


def at_random(space: Space) -> Iterator[Recipe]:
    """As many recipes as the search tries, a choice at random of every knob of its space."""
    rng = np.random.default_rng(0)
    for _ in range(TRIALS):
        yield space.recipe({knob.name: int(rng.integers(len(knob.choices))) for knob in space.knobs})
