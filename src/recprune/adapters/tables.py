"""recprune's own models over tables of ids and statistics: their axes, their graph, and how they are retrained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from recprune.adapters.calibration import GraphCalibration
from recprune.adapters.statistics import ids_of, pair_reads, row_of, statistic_axes, users_by_row, with_unseen
from recprune.adapters.torch import TorchAdapter
from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.graph import Graph, Op
from recprune.recommenders.deepfm import DeepFm
from recprune.recommenders.features import SEPARATOR, Encoded, Features
from recprune.recommenders.like import LikeData, soft_targets
from recprune.recommenders.tables import TableModel
from recprune.recommenders.training import predict, tensors
from recprune.recovery.finetune import finetune
from recprune.runtime.scorer import column
from recprune.snapshot import Snapshot
from recprune.weights import Encoding, LowRank, Param, Rows, Weights

__all__ = ["TableAdapter"]

Array = npt.NDArray[Any]
_CALIBRATION = 10_000  # validation rows on which steps see what the model does


@dataclass(frozen=True)
class TableAdapter:
    """Reads and rebuilds `TableModel`s (DCN-v2, DeepFM).

    In the snapshot a table has a row for every id of its vocabulary, ids that the model merges into the
    out-of-vocabulary row marked as dropped; the module itself stores the kept ones only. Column axes are named
    `<field> id.factor`, `<field> id.bias` and `<key> history.count`, so that a block is dropped by its name.
    """

    def read(self, model: TableModel) -> Snapshot:
        """The model's arrays with their axes, its graph, and the ids of its tables."""
        given = TorchAdapter().read(model).weights
        features = model.features
        params: dict[str, Param] = {}
        inputs = "+".join(_input_axes(model))
        for name, param in given.items():
            kind, _, rest = name.partition(".")
            if kind == "tables":
                field, _, part = rest.rpartition(".")
                rows = len(features.readings[field])
                value = _spread(param.value, rows)
                params[name] = Param((field, f"{field} id.{part}"), value, (rows - 1,), True)
            elif kind == "statistics":
                axes = (rest, "+".join(statistic_axes(features, rest)))
                params[name] = Param(axes, param.value, (param.shape[0] - 1,), False)
            else:
                params[name] = Param(_layer_axes(model, name, inputs), param.value, (), True)
        sizes = {axis: 1 for key in features.tables for axis in statistic_axes(features, key)}
        ids = ids_of(features, {*model.tables, *features.tables})
        return Snapshot(Weights(params, sizes | {"logit": 1}), _graph(model), ids)

    def rebuild(self, model: TableModel, weights: Weights) -> TableModel:
        """A model of the same class over smaller tables; ids that it drops read the out-of-vocabulary row."""
        given = TorchAdapter().read(model).weights
        params = {}
        for name, param in weights.items():
            value = param.value
            if name.startswith("tables."):
                stored = given[name].shape[0]
                value = value.cut(0, np.append(np.arange(stored - 1), param.shape[0] - 1))
            params[name] = Param(("",) * len(param.shape), value, (), param.trained)
        rebuilt: TableModel = TorchAdapter().rebuild(model, Weights(params))
        return rebuilt

    def check(self, model: TableModel, weights: Weights, data: Any) -> None:
        """RecpruneError where columns of one field were cut that a factorization machine multiplies with another's.

        All else is safe: the axes are the adapter's own, and its tests compare cut with zeroed models.
        """
        if isinstance(model, DeepFm):
            for field in model.tables:
                if 0 < weights.sizes[f"{field} id.factor"] < model.settings.width:
                    raise RecpruneError(
                        f"columns of {field!r} are multiplied with those of the other fields; drop all of them or none"
                    )

    def context(self, model: TableModel, data: LikeData | None, seed: int, say: Callable[[str], None]) -> Context:
        """Reads of each row in the training rows; where there is data, a trainer and requests to calibrate with."""
        features = model.features
        popularity = {name: with_unseen(counts) for name, counts in features.readings.items()}
        if data is None:
            return Context(popularity, seed=seed, say=say)
        if not isinstance(data, LikeData):
            raise RecpruneError(f"the data of this model is a LikeData, got {type(data).__name__}")
        _, train = data.fitted(features.settings)
        for pair in features.pairs:
            popularity[pair] = pair_reads(pair, features, train)
        trainer = _Trainer(self, model, data, train, seed)

        def columns(graph: Graph) -> dict[str, Array]:
            return {name: column(data.valid.head(_CALIBRATION), name) for name in graph.columns}

        calibration = GraphCalibration(lambda: self.read(model), columns, trainer.gradients)
        users = users_by_row(data.train["user"].to_numpy(), features, train)
        return Context(
            popularity,
            users=users,
            trainer=trainer,
            calibration=calibration,
            seed=seed,
            say=say,
            given="a model of tables of ids",
        )


def _input_axes(model: TableModel) -> Iterator[str]:
    for field in model.tables:
        yield f"{field} id.factor"
    yield from _statistic_inputs(model)


def _statistic_inputs(model: TableModel) -> Iterator[str]:
    for key in model.features.tables:
        yield from statistic_axes(model.features, key)


def _layer_axes(model: TableModel, name: str, inputs: str) -> tuple[str, ...]:
    layers = len(model.deep)
    last = f"deep{layers - 1}" if layers else inputs
    kind, _, rest = name.partition(".")
    if kind == "output":
        first = "+".join(_statistic_inputs(model)) if isinstance(model, DeepFm) else inputs
        both = f"{first}+{last}" if first else last
        return ("logit", both) if rest == "weight" else ("logit",)
    i = int(rest.partition(".")[0])
    if kind == "cross":
        return (inputs, inputs) if rest.endswith("weight") else (inputs,)
    before = inputs if i == 0 else f"deep{i - 1}"
    return (f"deep{i}", before) if rest.endswith("weight") else (f"deep{i}",)


def _graph(model: TableModel) -> Graph:
    """The model's forward pass, for scoring, as operations."""
    features, settings = model.features, model.features.settings
    ops: list[Op] = []

    def op(kind: str, output: str, inputs: list[str], params: tuple[str, ...] = (), **attrs: Any) -> str:
        ops.append(Op(kind, output, tuple(inputs), params, attrs))
        return output

    rows: dict[str, str] = {}
    needed = dict.fromkeys([*model.tables, *model.features.tables])
    for field in needed:
        ops.append(row_of(features, field))
        rows[field] = ops[-1].output
    factors: list[str] = []
    biases: list[str] = []
    for field in model.tables:
        for part, found in (("factor", factors), ("bias", biases)):
            name = f"tables.{field}.{part}"
            if field == settings.words:
                found.append(op("pool", f"{field} {part}", [rows[field]], (name,), mode="mean"))
            else:
                found.append(op("take", f"{field} {part}", [rows[field]], (name,)))
    statistics = [op("take", f"{key} statistics", [rows[key]], (f"statistics.{key}",)) for key in model.features.tables]
    first = op("concat", "inputs", [*factors, *statistics])
    deep = first
    for i in range(len(model.deep)):
        linear = op("linear", f"deep{i} linear", [deep], (f"deep.{i}.weight", f"deep.{i}.bias"))
        deep = op("relu", f"deep{i}", [linear])
    logits = []
    if isinstance(model, DeepFm):
        top = op("concat", "top", [*statistics, deep])
        if factors:
            logits.append(op("fm", "fm", factors))
    else:
        crossed = first
        for i in range(len(model.cross)):
            crossed = op("cross", f"cross{i}", [first, crossed], (f"cross.{i}.weight", f"cross.{i}.bias"))
        top = op("concat", "top", [crossed, deep])
    logits.append(op("linear", "output", [top], ("output.weight", "output.bias")))
    if biases:
        logits.append(op("sum", "bias", [op("concat", "biases", biases)]))
    score = op("sigmoid", "score", [op("add", "logit", logits)])
    columns = tuple(dict.fromkeys(part for field in needed for part in field.split(SEPARATOR)))
    return Graph(columns, tuple(ops), score)


def _spread(value: Encoding, rows: int) -> Encoding:
    """A table of the module, m + 1 rows, as one of the vocabulary, n + 1: ids from m on read the last."""
    stored = value.shape[0]
    if stored == rows:
        return value
    if isinstance(value, LowRank):
        return LowRank(_spread(value.left, rows), value.right)
    inner, mask, default = value, np.ones(stored, dtype=bool), stored - 1
    if isinstance(value, Rows):
        inner, mask, default = value.inner, value.mask(), value.default
    kept = np.concatenate([mask[:-1], np.zeros(rows - stored, dtype=bool), [True]])
    return Rows.encode(kept, inner, default)


@dataclass(frozen=True, eq=False)
class _Trainer:
    """Retrains on the model's own loss, early stopping on validation."""

    adapter: TableAdapter
    model: TableModel
    data: LikeData
    train: Encoded
    seed: int

    def __call__(self, weights: Weights, settings: Mapping[str, Any], say: Callable[[str], None]) -> Weights:
        """Weights stored as before, with the values of the epoch that was best on validation (or those given)."""
        smaller = self.adapter.rebuild(self.model, weights)
        for table in smaller.tables.values():
            table.centred = settings.get("sparsity") is not None  # type: ignore[assignment]
        features = self.model.features
        targets = soft_targets(self.data.train["rating"].to_numpy(), features.settings.liked, 0.5)
        if settings["distill"]:
            taught = predict(self.model, self.train)
            targets = ((1 - settings["distill"]) * targets + settings["distill"] * taught).astype(np.float32)
        best = finetune(
            smaller,
            _Batches(_as_stored(self.train, weights, self.model.features), targets, 1024),
            _loss if settings["distill"] < 1 else _error,
            valid=_Batches(features.encode(self.data.valid), self.data.labels["valid"], 8192),
            epochs=settings["epochs"],
            lr=settings["lr"],
            seed=self.seed,
            progress=say,
            sparsity=settings.get("sparsity"),
        )
        fresh = TorchAdapter().read(best).weights
        for name, param in weights.items():
            if param.trained:
                value = fresh[name].value
                weights = weights.replace(name, _spread(value, param.shape[0]) if name.startswith("tables.") else value)
        return weights

    def gradients(self, weights: Weights) -> dict[str, Array]:
        """Gradient of the loss summed over the training rows; statistics, which are counted, have none."""
        model = self.adapter.rebuild(self.model, weights.decoded()).eval()
        targets = soft_targets(self.data.train["rating"].to_numpy(), self.model.features.settings.liked, 0.5)
        for batch, wanted in _Batches(_as_stored(self.train, weights, self.model.features), targets, 8192):
            F.binary_cross_entropy_with_logits(model(batch), wanted, reduction="sum").backward()  # type: ignore[no-untyped-call]
        found = {}
        for name, tensor in model.named_parameters():
            grad = np.zeros(weights[name].shape, np.float32)
            mine = tensor.grad.numpy() if tensor.grad is not None else np.zeros(tensor.shape, np.float32)
            if name.startswith("tables."):
                grad[: len(mine) - 1], grad[-1] = mine[:-1], mine[-1]
            else:
                grad = mine
            found[name] = grad
        return found


def _error(model: Any, batch: tuple[dict[str, Tensor], Tensor]) -> Tensor:
    rows, targets = batch
    return F.binary_cross_entropy_with_logits(model(rows), targets)


def _loss(model: Any, batch: tuple[dict[str, Tensor], Tensor]) -> Tensor:
    loss = _error(model, batch)
    total: Tensor = loss + model.penalty() / len(batch[1]) if model.training else loss
    return total


def _as_stored(train: Encoded, weights: Weights, features: Features) -> Encoded:
    """Out-of-fold statistics as the compressed tables give them.

    No dropped column; for dropped ids the shared row's; for the others what their codes changed is added.
    """
    if train.statistics is None:
        return train
    found = {}
    for key, values in train.statistics.items():
        param = weights[f"statistics.{key}"]
        columns = [i for i, axis in enumerate(param.axes[1].split("+")) if weights.sizes[axis]]
        changed = param.value.decode() - features.tables[key][:, columns]
        values = values[:, columns] + changed[train.rows[key]]
        table = param.value.left if isinstance(param.value, LowRank) else param.value
        if isinstance(table, Rows):
            gone = ~table.mask()[train.rows[key]]
            shared = param.value.take(np.array([param.shape[0] - 1]))
            values = np.where(gone[:, None], shared, values)
        found[key] = values.astype(np.float32)
    return replace(train, statistics=found)


class _Batches:
    """Rows with what is wanted of them, shuffled anew each time they are read."""

    def __init__(self, rows: Encoded, targets: Array, size: int) -> None:
        self.rows, self.targets, self.size = rows, torch.from_numpy(targets), size

    def __len__(self) -> int:
        return -(-len(self.rows) // self.size)

    def __iter__(self) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        order = torch.randperm(len(self.rows)).numpy()
        for start in range(0, len(order), self.size):
            index = order[start : start + self.size]
            yield tensors(self.rows.take(index)), self.targets[index]

    def __contains__(self, item: object) -> bool:
        return False
