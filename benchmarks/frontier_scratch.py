"""The peers of `frontier.py` that train the model anew, smaller by a trick of the field.

Where a peer has no file format of its own its content is stored by ours, and what it need not store is not counted.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl
import torch
from frontier_peers import stored
from frontier_recipes import BITS
from torch import nn
from torch.nn import functional as F

from recprune.adapters import adapter_for
from recprune.artifact import Artifact
from recprune.artifact.write import contents
from recprune.pipeline.like import LikeTask
from recprune.pipeline.next_item import NextItemTask
from recprune.pipeline.rankers import NeuralRanker
from recprune.pruning.compress import apply, compress, pack
from recprune.pruning.methods import Quantize
from recprune.pruning.recipe import Recipe
from recprune.recommenders.features import Features
from recprune.recommenders.like import MODELS, LikeData, LikeSettings, soft_targets, train_like
from recprune.recommenders.sequences import SequenceModel
from recprune.recommenders.tables import Table, TableModel, _pool
from recprune.recommenders.training import fit, predict
from recprune.runtime import Scorer
from recprune.text import words
from recprune.weights import Dense, Encoding, Param, Quantized, Rows, Sparse, Weights

WIDE = 500  # ids from which on a column is hashed
HASHED, COMPOSED, PEP = "hashed ids, from scratch", "quotient and remainder, from scratch", "PEP, from scratch"
Made = dict[str, Any]


def from_scratch(task: Any, seed: int) -> Iterator[tuple[str, str, Callable[[], Made]]]:
    """(method, setting, make): the model of `task` trained anew by a trick of the field; bytes, and answers of both parts.

    Nothing where there is no table of ids (an item-item model), or where the rest of the model is too large by itself.
    """
    if isinstance(task, LikeTask) and not task.config.statistics:
        for share in (0.1, 0.03, 0.01):
            yield HASHED, f"{share:g}", partial(hashed, task, share, False, seed)
            yield COMPOSED, f"{share:g}", partial(hashed, task, share, True, seed)
        for strength in (-4.0, -3.0, -2.0):
            yield PEP, f"{strength:g}", partial(pep, task, strength, seed)
    elif isinstance(task, NextItemTask) and isinstance(task.ranker, NeuralRanker):
        # At the original's width the layers alone take more than a tenth of it. Shares that fill what is left.
        for width, shares, halves in ((48, 0.1, 0.1), (32, 0.5, 0.9), (24, 0.8, 0.9)):
            yield HASHED, f"{shares:g}, {width} wide", partial(shared_items, task, width, shares, False)
            yield COMPOSED, f"{halves:g}, {width} wide", partial(shared_items, task, width, halves, True)
        for width, strength in ((32, -5.0), (24, -5.0), (24, -6.0)):
            yield PEP, f"{strength:g}, {width} wide", partial(pep_items, task, width, strength)


# ---- models of ids and statistics


def hashed(task: LikeTask, share: float, compositional: bool, seed: int) -> Made:
    """Ids hashed into `share` as many rows (Weinberger et al. 2009), or by quotient and remainder side by side.

    Shi et al. 2020, with their concatenation. The rows in 8 bits; no id is stored, and none is counted.
    """
    data, settings = task.data, task.settings
    features, _ = Features.fit(data.train, data.implicit, settings.features)
    ids = [name for name in settings.features.ids if len(features.ids[name]) > WIDE]
    maps = {}
    for name in [*ids, *([settings.features.words] if settings.features.words else [])]:
        count = len(features.ids[name])
        if compositional and name in ids:
            side = math.ceil(math.sqrt(count) * share * 10)
            maps[name] = lambda text, side=side, count=count: (hash_of(text) % count // side, hash_of(text) % side)
        else:
            buckets = max(2, math.ceil(count * share))
            maps[name] = lambda text, buckets=buckets: (hash_of(text) % buckets,)
    columns = {name: [f"{name} q", f"{name} r"] if compositional and name in ids else [name] for name in maps}

    def mapped(frame: pl.DataFrame) -> pl.DataFrame:
        made = {}
        for name, of in maps.items():
            if name == settings.features.words:
                texts = [" ".join(f"w{of(w)[0]}" for w in words(text or "")) for text in frame[name].to_list()]
                made[name] = pl.Series(texts)
                continue
            given = frame[name].cast(pl.String).fill_null("")
            known = {text: of(text) for text in given.unique().to_list()}
            for i, column in enumerate(columns[name]):
                made[column] = pl.Series([str(known[text][i]) for text in given.to_list()])
        return frame.with_columns(**made)

    parts = {part: mapped(getattr(data, part)) for part in ("train", "valid", "test", "implicit")}
    other = replace(data, **parts)
    names = tuple(c for name in settings.features.ids for c in columns.get(name, [name]))
    changed = replace(
        settings, features=replace(settings.features, ids=names), sizes=replace(settings.sizes, min_readings=1)
    )
    return coded(train_like(other, changed, seed=seed).model, other, [c for of in columns.values() for c in of])


def hash_of(text: str) -> int:
    return zlib.crc32(text.encode())


def coded(model: TableModel, data: LikeData, free: list[str]) -> Made:
    """Rows and layers in 8 bits; the ids of the columns `free` cost nothing."""
    steps = (
        Quantize("tables.*", granularity="per_column"),
        Quantize("*.weight"),
    )
    adapter = adapter_for(model)
    made = apply(
        adapter.read(model), Recipe(steps, BITS), adapter.context(model, None, 0, lambda _: None), adapter, model
    )
    size = sum(made.parts.values()) - sum(made.parts.get(f"ids of {name}", 0) for name in free)
    encoded = {part: made.model.features.encode(getattr(data, part)) for part in ("valid", "test")}
    return {"bytes": size, **{part: predict(made.model, rows) for part, rows in encoded.items()}}


class PepTable(Table):
    """A table whose entries are thresholded where they are read (Liu et al. 2021, PEP): sign(v) relu(|v| - sigmoid(s))."""

    def __init__(self, readings: torch.Tensor, settings: Any, start: float) -> None:
        super().__init__(readings, settings)
        # Named as a factor is, and so trained at its rate.
        self.start = nn.ParameterDict({"factor": nn.Parameter(torch.full_like(self.factor, start))})
        self.mask: torch.Tensor | None = None

    def thresholded(self, values: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
        return values.sign() * F.relu(values.abs() - torch.sigmoid(start))

    def forward(self, rows: torch.Tensor, offsets: torch.Tensor | None = None) -> tuple[torch.Tensor, ...]:
        rows = self.drop(rows)
        factor = F.embedding(rows, self.factor, sparse=self.training)
        bias = F.embedding(rows, self.bias, sparse=self.training)
        if self.mask is None:
            factor = self.thresholded(factor, F.embedding(rows, self.start["factor"], sparse=self.training))
        else:
            factor = factor * self.mask[rows]
        penalty = factor.new_zeros(())
        if self.training:
            penalty = self.settings.bias_l2 * self._l2(rows, self.readings.index_select(0, rows), bias, self.bias)
        if offsets is not None:
            factor, bias = _pool(factor, offsets), _pool(bias, offsets)
        return factor, bias, penalty


def pep(task: LikeTask, start: float, seed: int) -> Made:
    """PEP as published: thresholds by entry learned from scratch, then the mask retrained from the same start.

    What is left is stored sparse in 8 bits, its ids hashed as ours. `start`: of the thresholds before the sigmoid.
    """
    data, settings = task.data, task.settings
    # No penalty on the factors: the thresholds take its place. Every id has a row.
    sizes = replace(settings.sizes, factor_l2=0.0, min_readings=1)
    features, train = Features.fit(data.train, data.implicit, settings.features)
    targets = soft_targets(data.train["rating"].to_numpy(), settings.features.liked, settings.soft)
    valid = features.encode(data.valid)

    def fresh() -> TableModel:
        torch.manual_seed(seed)
        model = MODELS[settings.model](features, sizes)
        for name, table in list(model.tables.items()):
            torch.manual_seed(seed)
            made = PepTable(torch.from_numpy(features.readings[name]), sizes, start)
            made.load_state_dict(table.state_dict(), strict=False)
            model.tables[name] = made
        return model

    def trained(model: TableModel) -> None:
        fit(model, train, targets, valid, data.labels["valid"], settings.training, seed=seed)

    first, model = fresh(), fresh()
    trained(first)
    for name, table in first.tables.items():
        with torch.no_grad():
            model.tables[name].mask = (table.thresholded(table.factor, table.start["factor"]) != 0).float()
            model.tables[name].start["factor"].requires_grad_(False)
    trained(model)
    return stored_sparse(model, features, data, task.settings, sizes)


def stored_sparse(model: TableModel, features: Features, data: LikeData, settings: LikeSettings, sizes: Any) -> Made:
    plain = MODELS[settings.model](features, sizes)
    state = {name: value for name, value in model.state_dict().items() if ".start." not in name}
    for name, table in model.tables.items():
        state[f"tables.{name}.factor"] = (table.factor * table.mask).detach()
    plain.load_state_dict(state)
    adapter = adapter_for(plain)
    snapshot = adapter.read(plain)
    weights = snapshot.weights
    for name in weights.match("tables.*.factor"):
        weights = weights.replace(name, stored(weights[name].value, lambda array: Sparse.from_dense(array, 8)))
    for name in (n for n in (*weights.match("tables.*.bias"), *weights.match("*.weight"))):
        how = "per_column" if name.startswith("tables.") else "per_row"
        weights = weights.replace(name, stored(weights[name].value, lambda a, how=how: Quantized.encode(a, 8, how)))
    artifact = pack(snapshot.with_weights(weights), Recipe(fingerprint=BITS))
    size = sum(array.nbytes for _, p in artifact.weights.items() for array in p.value.arrays().values())
    size += sum(array.nbytes for v in artifact.vocabularies.values() for array in v.arrays().values())
    return {"bytes": size, **{part: Scorer(artifact).score(getattr(data, part)) for part in ("valid", "test")}}


# ---- models of sequences


class Shared(nn.Module):
    """Items that share rows: each is the rows at `at` (items, parts) of a smaller table, side by side."""

    at: torch.Tensor

    def __init__(self, items: torch.Tensor, at: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("at", torch.from_numpy(at))
        self.rows = nn.Parameter(items[: at.max() + 1, : items.shape[1] // at.shape[1]].detach().clone())

    def forward(self) -> torch.Tensor:
        return self.rows[self.at].flatten(1)


class Thresholded(nn.Module):
    """Entries that are thresholded (Liu et al. 2021, PEP): sign(v) relu(|v| - sigmoid(s)); or those of a mask."""

    def __init__(self, items: torch.Tensor, start: float) -> None:
        super().__init__()
        self.values = nn.Parameter(items.detach().clone())
        self.start = nn.Parameter(torch.full_like(items, start))
        self.mask: torch.Tensor | None = None

    def forward(self) -> torch.Tensor:
        if self.mask is not None:
            return self.values * self.mask
        return self.values.sign() * F.relu(self.values.abs() - torch.sigmoid(self.start))


def shared_items(task: NextItemTask, width: int, share: float, compositional: bool) -> Made:
    """Items hashed into `share` as many rows, or by quotient and remainder side by side; stored in 8 bits."""
    model = fresh(task, width)
    items, rows = len(model.ids), max(2, math.ceil(len(model.ids) * share))
    if compositional:
        place = np.arange(items + 1)
        at = np.stack([place // rows, items // rows + 1 + place % rows], axis=1)
    else:
        at = np.array([[hash_of(item) % rows] for item in model.ids.tolist()] + [[rows]])
    shared = Shared(model.items, at)
    train_items(task, model, shared)
    table = Quantized.encode(shared.rows.detach().numpy(), 8)
    shared.rows.data = torch.from_numpy(table.decode())
    return answers(task, model, table, shared().detach())


def pep_items(task: NextItemTask, width: int, start: float) -> Made:
    """PEP as published: thresholds by entry learned from scratch, then the mask retrained from the same start."""
    first, model = fresh(task, width), fresh(task, width)
    learned, kept = Thresholded(first.items, start), Thresholded(model.items, start)
    train_items(task, first, learned)
    kept.mask = (learned() != 0).float().detach()
    kept.start.requires_grad_(False)
    train_items(task, model, kept)
    table = Sparse.from_dense(kept().detach().numpy(), 8)
    return answers(task, model, table, torch.from_numpy(table.decode()))


def fresh(task: NextItemTask, width: int) -> SequenceModel:
    return task.ranker._fresh(width)


def train_items(task: NextItemTask, model: SequenceModel, table: nn.Module) -> None:
    """Train the model with `table`, which gives its items anew at each pass, in the place of its own."""
    del model.items
    model.table = table
    model.register_forward_pre_hook(lambda model, _: setattr(model, "items", model.table()))
    task.ranker._fitted(model, task._valid, lambda line: None)


def answers(task: NextItemTask, model: SequenceModel, table: Encoding, items: torch.Tensor) -> Made:
    """Lists of both parts by `items`, all else in 8 bits, and the bytes of the whole with `table` in their place."""
    plain = fresh(task, items.shape[1])
    plain.load_state_dict({**model.state_dict(), "items": items}, strict=False)
    steps = (Quantize("*"), Quantize("popularity", granularity="per_tensor"))
    coded = compress(plain, Recipe(steps)).snapshot

    def packed(items: Encoding) -> Artifact:
        return pack(coded.with_weights(coded.weights.replace("items", items)), Recipe())

    if table.shape == items.shape:
        scored = counted = packed(table)
    else:  # which row an item reads follows from its id or its place: it need not be stored, but our formats store it
        scored = packed(Dense(items.numpy()))
        none = Rows.encode(np.zeros(len(items), bool), Dense(np.zeros((1, items.shape[1]), np.float16)), 0)
        counted = packed(none)
        weights = {**dict(counted.weights.items()), "shared rows": Param(("", ""), table)}
        counted = replace(counted, weights=Weights(weights, counted.weights.sizes))
    size = sum(len(content) for content in contents(counted).values())
    return {"bytes": size, **{part: task.lists(scored, part) for part in ("valid", "test")}}
