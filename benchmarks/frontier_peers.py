"""The peers of `frontier.py`: what other libraries make of the trained model, and the tricks that train it anew.

faiss-cpu and torchao are installed by `make evidence` alone. Wherever a peer has no file format of its own its content is
stored by ours, ids hashed as ours are: every byte that it saves against its own is in its favour.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import nn
from torch.nn import functional as F

from recprune.adapters import adapter_for
from recprune.artifact import Artifact
from recprune.bits import pack as pack_bits
from recprune.pipeline.like import LikeTask
from recprune.pruning.compress import apply, pack
from recprune.pruning.methods import Quantize
from recprune.pruning.recipe import Recipe
from recprune.recommenders.features import Features
from recprune.recommenders.like import MODELS, LikeData, LikeSettings, soft_targets, train_like
from recprune.recommenders.tables import Table, TableModel, _pool
from recprune.recommenders.training import fit, predict
from recprune.snapshot import Snapshot
from recprune.text import words
from recprune.weights import Codebook, Columns, Dense, Encoding, Param, Quantized, Rows, Sparse, Weights

BITS = 8  # of the hash of an id
WIDE = 500  # ids from which on a column is hashed
Made = dict[str, Any]


# ---- after training


def after_training(task: Any, snapshot: Snapshot) -> Iterator[tuple[str, str, Callable[[], tuple[Artifact, ...]]]]:
    """(method, setting, make): `make` gives the artifact, and where its bytes are another's, that one."""
    tables = [name for name, p in snapshot.weights.items() if len(p.shape) == 2 and p.protected]
    tables = [name for name in tables if name not in ("item_weights", "popularity")]
    hashes = BITS if isinstance(task, LikeTask) else None
    for keep in (0.3, 0.1, 0.03, 0.01):
        if tables:
            yield "torch.nn.utils.prune", f"{keep:g}", partial(pruned_globally, snapshot, tables, keep, hashes)
    for bits in (8, 4, 2):
        if tables:
            yield "torchao", f"{bits} bits", partial(torchao_int, snapshot, tables, bits, hashes)
    wide = tables or ["item_weights"]
    for parts, bits in ((8, 8), (4, 8), (2, 8), (1, 8), (1, 4)) if tables else ((312, 8),):
        yield "faiss PQ", f"{parts} x {bits} bits", partial(faiss_pq, snapshot, wide, parts, bits, hashes)
    for rank in (32, 16, 8, 4):
        if tables:
            yield "tensor train", f"rank {rank}", partial(tensor_train, snapshot, tables, rank, hashes)


def artifact_of(snapshot: Snapshot, values: dict[str, Encoding], hashes: int | None) -> Artifact:
    weights = snapshot.weights
    for name, value in values.items():
        weights = weights.replace(name, value)
    return pack(snapshot.with_weights(weights), Recipe(fingerprint=hashes))


def stored(value: Encoding, change: Callable[[np.ndarray], Encoding]) -> Encoding:
    """Change what a table stores; rows that the model merges stay merged."""
    if isinstance(value, Rows):
        return Rows(value.kept, change(value.inner.decode()), value.default, value.rows)
    return change(value.decode())


def pruned_globally(snapshot: Snapshot, tables: list[str], keep: float, hashes: int | None) -> tuple[Artifact, ...]:
    """The largest single weights over all tables together, stored sparse in 8 bits."""
    from torch.nn.utils import prune

    modules = {}
    for name in tables:
        value = snapshot.weights[name].value
        inner = value.inner if isinstance(value, Rows) else value
        modules[name] = nn.Embedding.from_pretrained(torch.from_numpy(inner.decode().copy()))
    prune.global_unstructured(
        [(module, "weight") for module in modules.values()], prune.L1Unstructured, amount=1 - keep
    )
    found = {}
    for name, module in modules.items():
        array = module.weight.detach().numpy()
        found[name] = stored(snapshot.weights[name].value, lambda _, array=array: Sparse.from_dense(array, 8))
    return (artifact_of(snapshot, found, hashes),)


def torchao_int(snapshot: Snapshot, tables: list[str], bits: int, hashes: int | None) -> tuple[Artifact, ...]:
    """Weight-only integers of every table, a scale a row; what it holds in whole bytes is counted in bits."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torchao.quantization import IntxWeightOnlyConfig, quantize_
        from torchao.quantization.granularity import PerAxis

    config = IntxWeightOnlyConfig(weight_dtype=getattr(torch, f"int{bits}"), granularity=PerAxis(0))
    values, sizes = {}, {}
    for name in tables:
        value = snapshot.weights[name].value

        if value.shape[1] == 1:  # it has no codes for tables of one column: ours, in its favour
            values[name] = sizes[name] = stored(value, lambda array: Quantized.encode(array, bits, "per_column"))
            continue

        def quantized(array: np.ndarray) -> Encoding:
            module = nn.Sequential(nn.Embedding.from_pretrained(torch.from_numpy(array.copy())))
            quantize_(module, config, filter_fn=lambda m, _: isinstance(m, nn.Embedding))
            return Dense(module[0].weight.dequantize().detach().numpy().astype(np.float32))

        values[name] = stored(value, quantized)
        sizes[name] = stored(value, lambda array: Quantized.encode(array, bits, "per_row"))
    return artifact_of(snapshot, values, hashes), artifact_of(snapshot, sizes, hashes)


def tensor_train(snapshot: Snapshot, tables: list[str], rank: int, hashes: int | None) -> tuple[Artifact, ...]:
    """Three cores of float16 for each table of ten thousand numbers or more (TT-SVD: Oseledets 2011; of tables: Yin et al.,
    TT-Rec, MLSys 2021); tables of one column, for which it has nothing to offer, in 8 bits, in its favour.
    """
    values, sizes = {}, {}
    cores: dict[str, Param] = {}
    for name in tables:
        value = snapshot.weights[name].value
        if value.shape[1] == 1:
            values[name] = sizes[name] = stored(value, lambda array: Quantized.encode(array, 8, "per_column"))
            continue

        def train(array: np.ndarray, name: str = name) -> Encoding:
            if array.size < 10_000:
                return Dense(array)
            made, near = tt_svd(array, rank)
            cores[f"cores of {name}"] = Param(("",), Dense(np.concatenate([c.reshape(-1) for c in made])))
            return Dense(near)

        values[name] = sizes[name] = stored(value, train)
        if f"cores of {name}" in cores:  # counted apart; what tells merged rows from others is left out, in its favour
            sizes[name] = Rows.encode(
                np.zeros(value.shape[0], bool), Dense(np.zeros((1, value.shape[1]), np.float16)), 0
            )
    counted = artifact_of(snapshot, sizes, hashes)
    whole = Weights({**dict(counted.weights.items()), **cores}, counted.weights.sizes)
    counted = replace(counted, weights=whole)
    return artifact_of(snapshot, values, hashes), counted


def tt_svd(array: np.ndarray, rank: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Cores of float16 of a table, and the table that they give."""
    rows, columns = array.shape
    widths = [2, 2, -(-columns // 4)] if columns > 2 else [1, 1, columns]
    side = math.ceil(rows ** (1 / 3))
    heights = [side, side, -(-rows // side**2)]
    padded = np.zeros((math.prod(heights), math.prod(widths)), np.float32)
    padded[:rows, :columns] = array
    order = (0, 3, 1, 4, 2, 5)
    rest = padded.reshape(*heights, *widths).transpose(order).reshape(heights[0] * widths[0], -1)
    cores, before = [], 1
    for height, width in zip(heights[:2], widths[:2], strict=True):
        left, values, right = np.linalg.svd(rest.reshape(before * height * width, -1), full_matrices=False)
        kept = min(rank, len(values))
        cores.append(left[:, :kept].reshape(before, height * width, kept).astype(np.float16))
        rest, before = values[:kept, None] * right[:kept], kept
    cores.append(rest.reshape(before, -1, 1).astype(np.float16))
    near = np.einsum("aib,bjc,ckd->ijk", *(core.astype(np.float32) for core in cores), optimize=True)
    shape = [n for pair in zip(heights, widths, strict=True) for n in pair]
    near = near.reshape(shape).transpose(0, 2, 4, 1, 3, 5).reshape(padded.shape)
    return cores, np.ascontiguousarray(near[:rows, :columns], dtype=np.float32)


def faiss_pq(snapshot: Snapshot, tables: list[str], parts: int, bits: int, hashes: int | None) -> tuple[Artifact, ...]:
    """Product quantization of the rows of every table that is wide and long enough."""
    import faiss

    faiss.omp_set_num_threads(1)
    values = {}
    for name in tables:

        def quantized(array: np.ndarray) -> Encoding:
            width = array.shape[1]
            if len(array) < 1 << bits:
                return Dense(array)
            many = min(parts, width)
            columns = -(-width // many) * many  # faiss wants parts of one width: padded with zeros
            padded = np.zeros((len(array), columns), np.float32)
            padded[:, :width] = array
            coder = faiss.ProductQuantizer(columns, many, bits)
            coder.train(padded)
            codes = np.asarray(coder.compute_codes(padded))
            books = faiss.vector_to_array(coder.centroids).reshape(many, 1 << bits, columns // many)
            if bits == 4:
                codes = np.stack([codes & 15, codes >> 4], axis=2).reshape(len(codes), -1)[:, :many]
            used = [min(columns // many, width - i * (columns // many)) for i in range(many)]
            coded = tuple(
                Codebook(pack_bits(codes[:, i].astype(np.int64), bits), books[i, :, :n].astype(np.float16), bits, len(array))
                for i, n in enumerate(used)
                if n > 0
            )  # fmt: skip
            return Columns(coded) if len(coded) > 1 else coded[0]

        values[name] = stored(snapshot.weights[name].value, quantized)
    return (artifact_of(snapshot, values, hashes),)


# ---- from scratch


def from_scratch(task: Any, seed: int) -> Iterator[tuple[str, str, Callable[[], Made]]]:
    """(method, setting, make): the model of `task` trained anew by a trick of the field; bytes, and scores of both parts."""
    if not isinstance(task, LikeTask) or task.config.statistics:
        return
    for share in (0.1, 0.03, 0.01):
        yield "hashed ids, from scratch", f"{share:g}", partial(hashed, task, share, False, seed)
        yield "quotient and remainder, from scratch", f"{share:g}", partial(hashed, task, share, True, seed)
    for strength in (-4.0, -3.0, -2.0):
        yield "PEP, from scratch", f"{strength:g}", partial(pep, task, strength, seed)


def hashed(task: LikeTask, share: float, compositional: bool, seed: int) -> Made:
    """Ids hashed into `share` as many rows (Weinberger et al. 2009), or by quotient and remainder side by side.

    Shi et al. 2020, with their concatenation. The rows in 8 bits; no id is stored, and none is counted.
    """
    data, settings = task.data, task.settings
    features, _ = Features.fit(data.train, data.implicit, settings.features)
    ids = [name for name in settings.features.ids if len(features.ids[name]) > WIDE]
    maps, names = {}, []
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
    import zlib

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
    from recprune.runtime import Scorer

    artifact = pack(snapshot.with_weights(weights), Recipe(fingerprint=BITS))
    size = sum(array.nbytes for _, p in artifact.weights.items() for array in p.value.arrays().values())
    size += sum(array.nbytes for v in artifact.vocabularies.values() for array in v.arrays().values())
    return {"bytes": size, **{part: Scorer(artifact).score(getattr(data, part)) for part in ("valid", "test")}}
