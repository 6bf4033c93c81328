"""The two-tower model and SASRec: their axes, their graphs, and how they are retrained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from recprune.adapters.calibration import GraphCalibration
from recprune.adapters.modules import twin
from recprune.adapters.torch import TorchAdapter
from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.graph import Graph, Op
from recprune.recommenders.device import moved, on_fastest_device
from recprune.recommenders.next_item import Batch, Windows, held_out, next_item_loss
from recprune.recommenders.next_item_data import NextItemData
from recprune.recommenders.sasrec import Block, SasRec
from recprune.recommenders.sequences import SequenceModel
from recprune.recovery.finetune import finetune
from recprune.recovery.seeded import seeded
from recprune.snapshot import Snapshot
from recprune.weights import Dense, Param, Weights

__all__ = ["SequenceAdapter"]

_CALIBRATION = 1000  # users of validation on whose histories steps see what the model does


class SequenceAdapter:
    """Reads and rebuilds `SequenceModel`s.

    The table `items` is one parameter, read by the history and by the scores. Axes that can be cut: `factor`, the columns
    of the tables and all that stands in their place between the blocks; `user hidden`, `item hidden`, `block0 hidden`, the
    neurons; `block0 head`, and within each head `block0 match` (of queries and keys) and `block0 value`.
    """

    def read(self, model: SequenceModel) -> Snapshot:
        """The model's arrays with their axes, its graph, and the items."""
        sizes: dict[str, int] = {}
        for i, block in enumerate(_blocks(model)):
            widths = {"match": block.query.out_features, "value": block.value.out_features}
            sizes |= {f"block{i} {axis}": width // block.heads for axis, width in widths.items()}
            sizes[f"block{i} head"] = block.heads
        given = TorchAdapter(_axes(model), sizes).read(model).weights
        # The last row is that of unknown items, and of places too far back.
        params = {
            name: Param(param.axes, param.value, (param.shape[0] - 1,) if _is_table(param) else (), param.trained)
            for name, param in given.items()
        }
        return Snapshot(Weights(params, sizes), _graph(model), {"item": model.ids})

    def rebuild(self, model: SequenceModel, weights: Weights) -> SequenceModel:
        """A model of the same class with smaller parts."""
        plain = {name: Param(("",) * len(p.shape), p.value, (), p.trained) for name, p in weights.items()}
        rebuilt: SequenceModel = TorchAdapter().rebuild(model, Weights(plain))
        for i, block in enumerate(_blocks(rebuilt)):
            block.heads = weights.sizes[f"block{i} head"]
        return rebuilt

    def check(self, model: SequenceModel, weights: Weights, data: Any) -> None:
        """Nothing to check: the axes are the adapter's own, and its tests compare cut with zeroed models."""

    def context(
        self, model: SequenceModel, data: NextItemData | None, seed: int, say: Callable[[str], None]
    ) -> Context:
        """Reads of each item and place, and a trainer where there is data."""
        if data is None:
            return Context(seed=seed, say=say)
        if not isinstance(data, NextItemData):
            raise RecpruneError(f"the data of this model is a NextItemData, got {type(data).__name__}")
        popularity = {"item": np.append(data.counts[: data.catalogue], 0)}
        if isinstance(model, SasRec):
            lengths = np.array([len(history) for history in data.histories])
            popularity["place"] = np.append((lengths[:, None] > np.arange(model.length)).sum(axis=0), 0)
        trainer = _Trainer(self, model, data, seed)
        users = data.judged("valid")[0][:_CALIBRATION]

        def columns(_: Graph) -> dict[str, Any]:
            return {"items": [list(model.ids[data.histories[user]]) for user in users]}

        calibration = GraphCalibration(lambda: self.read(model), columns, trainer.gradients)
        # A history holds an item once, so what is read once a history is read once a user.
        return Context(
            popularity,
            users=popularity,
            trainer=trainer,
            calibration=calibration,
            seed=seed,
            say=say,
            given="a model of sequences",
        )


def _blocks(model: SequenceModel) -> list[Block]:
    blocks = model.blocks if isinstance(model, SasRec) else ()
    return [block for block in blocks if isinstance(block, Block)]


def _is_table(param: Param) -> bool:
    return param.axes[0] in ("item", "place")


def _axes(model: SequenceModel) -> dict[str, tuple[str, ...]]:
    axes: dict[str, tuple[str, ...]] = {"items": ("item", "factor"), "popularity": ("item", "")}

    def layer(name: str, out: str, inputs: str) -> None:
        axes[f"{name}.weight"], axes[f"{name}.bias"] = (out, inputs), (out,)

    if not isinstance(model, SasRec):
        for tower in ("user", "item"):
            layer(f"{tower}_rise", f"{tower} hidden", "factor")
            layer(f"{tower}_fall", "factor", f"{tower} hidden")
        return axes
    axes["positions"] = ("place", "factor")
    norms = ["last"]
    for i in range(len(_blocks(model))):
        block, match, value = f"blocks.{i}", f"block{i} head*block{i} match", f"block{i} head*block{i} value"
        norms += [f"{block}.before", f"{block}.between"]
        layer(f"{block}.query", match, "factor")
        layer(f"{block}.key", match, "factor")
        layer(f"{block}.value", value, "factor")
        layer(f"{block}.mix", "factor", value)
        layer(f"{block}.rise", f"block{i} hidden", "factor")
        layer(f"{block}.fall", "factor", f"block{i} hidden")
    for norm in norms:
        axes[f"{norm}.scale"] = axes[f"{norm}.shift"] = ("factor",)
    return axes


def _graph(model: SequenceModel) -> Graph:
    """The model's forward pass, for scoring, as operations."""
    ops: list[Op] = []

    def op(kind: str, output: str, inputs: list[str], *params: str, **attrs: Any) -> str:
        ops.append(Op(kind, output, tuple(inputs), params, attrs))
        return output

    def linear(name: str, x: str) -> str:
        return op("linear", name, [x], f"{name}.weight", f"{name}.bias")

    def tower(name: str, x: str) -> str:
        fall = linear(f"{name}_fall", op("relu", f"{name} hidden", [linear(f"{name}_rise", x)]))
        return op("add", name, [x, fall])

    recent = op("recent", "recent", [op("history", "history", ["items"], vocabulary="item")], length=model.length)
    every = op("every", "all items", [], "items")
    if isinstance(model, SasRec):
        user, items = _attended(model, recent, op, linear), every
    else:
        user, items = tower("user", op("pool", "mean", [recent], "items", mode="mean")), tower("item", every)
    scores = op("dot", "scores", [user, items])
    return Graph(("items",), tuple(ops), scores, "item", "popularity")


def _attended(model: SasRec, recent: str, op: Callable[..., str], linear: Callable[[str, str], str]) -> str:
    def norm(name: str, x: str, width: int) -> str:
        return op("layer_norm", name, [x], f"{name}.scale", f"{name}.shift", width=width)

    places = op("places", "places", [recent], length=model.length)
    x = op("add", "x", [op("take", "taken", [recent], "items"), op("take", "placed", [places], "positions")])
    for i, block in enumerate(_blocks(model)):
        name = f"blocks.{i}"
        y = norm(f"{name}.before", x, block.before.width)
        parts = [linear(f"{name}.{part}", y) for part in ("query", "key", "value")]
        seen = op("attention", f"{name} seen", [*parts, recent], heads=f"block{i} head", factor=block.factor)
        x = op("add", f"{name} attended", [x, linear(f"{name}.mix", seen)])
        y = linear(f"{name}.rise", norm(f"{name}.between", x, block.between.width))
        x = op("add", f"{name} out", [x, linear(f"{name}.fall", op("relu", f"{name} hidden", [y]))])
    return op("last", "user", [norm("last", x, model.last.width), recent])


@dataclass(frozen=True, eq=False)
class _Trainer:
    """Retrains on the model's own loss, beside the original's shares of the catalogue; validation says when to stop."""

    adapter: SequenceAdapter
    model: SequenceModel
    data: NextItemData
    seed: int

    def __call__(self, weights: Weights, settings: Mapping[str, Any], say: Callable[[str], None]) -> Weights:
        """Weights stored as before, with the values of the epoch that was best on validation (or those given)."""
        teacher, share = twin(self.model), settings["distill"]

        def loss(model: SequenceModel, batch: Batch) -> Tensor:
            if not model.training or not share:
                return next_item_loss(model, batch)
            rows, at, targets = batch
            scores = model(rows, at)[:, :-1]
            taught = F.cross_entropy(scores, teacher(rows, at)[:, :-1].detach().softmax(1))
            total: Tensor = (1 - share) * F.cross_entropy(scores, targets) + share * taught
            return total

        smaller = self.adapter.rebuild(self.model, weights)
        with on_fastest_device(smaller) as device, on_fastest_device(teacher):
            best = finetune(
                smaller,
                Windows(self.data.histories, self.model.length, len(self.model.ids), device=device),
                loss,
                valid=[moved(batch, device) for batch in held_out(self.data, "valid", self.model.length)],
                epochs=settings["epochs"],
                lr=settings["lr"],
                seed=self.seed,
                progress=say,
                sparsity=settings.get("sparsity"),
            )
        fresh = self.adapter.read(best).weights  # type: ignore[arg-type]
        for name, param in weights.items():
            if param.trained:
                value = fresh[name].value
                plain = isinstance(param.value, Dense) and isinstance(value, Dense)
                weights = weights.replace(name, param.value.recode(value.decode()) if plain else value)
        return weights

    def gradients(self, weights: Weights) -> dict[str, npt.NDArray[Any]]:
        """Gradient of the loss summed over what came next in training; popularity, which is counted, has none."""
        model = self.adapter.rebuild(self.model, weights.decoded()).eval()
        with seeded(self.seed):
            for rows, at, targets in Windows(self.data.histories, model.length, len(model.ids)):
                loss = F.cross_entropy(model(rows, at)[:, :-1], targets, reduction="sum")
                torch.autograd.backward(loss)
        named = dict(model.named_parameters())
        return {
            name: p.grad.numpy() if p.grad is not None else np.zeros(p.shape, np.float32) for name, p in named.items()
        }
