"""The peers of `frontier.py` after training: what other libraries make of the trained model.

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
import torch
from frontier_recipes import BITS
from torch import nn

from recprune.artifact import Artifact
from recprune.bits import pack as pack_bits
from recprune.pipeline.like import LikeTask
from recprune.pruning.compress import pack
from recprune.pruning.recipe import Recipe
from recprune.snapshot import Snapshot
from recprune.weights import Codebook, Columns, Dense, Encoding, Param, Quantized, Rows, Sparse, Weights


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
