"""Any torch module: read its parameters, and rebuild it around smaller ones."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from recprune.adapters.compact import CompactTensor
from recprune.adapters.modules import copied, groups, inside, left_out, resize, tables, twin
from recprune.adapters.reads import ReadCounter
from recprune.adapters.torch_calibration import TorchCalibration
from recprune.context import Context
from recprune.errors import RecpruneError, unknown
from recprune.recovery.finetune import call, finetune
from recprune.recovery.seeded import seeded
from recprune.snapshot import Snapshot
from recprune.weights import Dense, Encoding, Param, Weights

__all__ = ["Batches", "TorchAdapter"]


@dataclass(frozen=True, eq=False)
class Batches:
    """Data for a model of the user's own.

    `batches`: a list or a DataLoader, read once an epoch. Without `loss`, a batch is what the model takes: a tuple or
    list of arguments, a dict of named ones, or the one argument itself. With `loss`, a batch is whatever
    `loss(model, batch)` takes, which gives the scalar to minimize; retraining needs it. `valid`: batches of the same
    kind, on which retraining chooses its best epoch.
    """

    batches: Collection[Any]
    loss: Callable[[Any, Any], Tensor] | None = None
    valid: Collection[Any] | None = None

    def __post_init__(self) -> None:
        for name in ("batches", "valid"):
            given = getattr(self, name)
            if isinstance(given, Iterator):
                raise RecpruneError(f"{name} can be read only once; give a list or a DataLoader")
            if not isinstance(given, Iterable) and not (given is None and name == "valid"):
                raise RecpruneError(f"{name} must be a list or a DataLoader, got {type(given).__name__}")
        if self.loss is not None and not callable(self.loss):
            raise RecpruneError(f"loss must be a function of model and batch, got {type(self.loss).__name__}")

    def run(self, model: nn.Module, batch: Any) -> Any:
        """What the model, or its loss, gives for a batch."""
        return call(model, batch) if self.loss is None else self.loss(model, batch)


@dataclass(frozen=True)
class TorchAdapter:
    """Reads and rebuilds any `torch.nn.Module`.

    Every parameter and every stored float buffer becomes a Param; tables of nn.Embedding and nn.EmbeddingBag have
    their module's path as row axis and their padding row protected. Of everything else no axes are known, unless they
    are declared:

    `axes`: name of a parameter to the names of its axes (see `weights.Param`); equal names are cut together.
    `sizes`: sizes of axes that occur only inside composite ones.
    `protected`: name of a parameter to rows with a meaning of their own, such as that of a mask.
    `caches`: attributes in which the model keeps outputs; they are None in the rebuilt model.
    """

    axes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    protected: Mapping[str, Sequence[int]] = field(default_factory=dict)
    caches: tuple[str, ...] = ()

    def read(self, model: nn.Module) -> Snapshot:
        """The model's arrays, as views of its memory where they are plain. Raises RecpruneError for NaN or infinity."""
        found = groups(model)
        names = [name for group in found for name in group.names]
        for given in (*self.axes, *self.protected):
            if given not in names:
                raise unknown("parameter", given, names)
        rows = tables(model)
        params: dict[str, Param] = {}
        for group in found:
            value = _encoding(group.name, group.tensor)
            axes: Sequence[str] = [""] * len(value.shape)
            protected: set[int] = set()
            # Of several names the first counts, and what is declared before what is known of the module.
            for name in reversed(group.names):
                if name in rows:
                    axes = [rows[name][0], *axes[1:]]
                    protected |= set(rows[name][1])
                protected |= set(self.protected.get(name, ()))
            for name in reversed(group.names):
                axes = self.axes.get(name, axes)
            try:
                params[group.name] = Param(
                    tuple(axes), value, tuple(sorted(protected)), group.trained, has_unknown=False
                )
            except RecpruneError as error:
                raise RecpruneError(f"parameter {group.name!r}: {error}") from None
        if not params:
            raise RecpruneError(f"{type(model).__name__} has no parameter to compress")
        return Snapshot(Weights(params, self.sizes))

    def rebuild(self, model: nn.Module, weights: Weights) -> Any:
        """A model of the same class and calls that holds `weights`; nothing in its memory is the given model's."""
        found = groups(model)
        expected = [group.name for group in found]
        for name in weights:
            if name not in expected:
                raise unknown("parameter", name, expected)
        for name in expected:
            if name not in weights:
                raise RecpruneError(f"the weights lack parameter {name!r} of {type(model).__name__}")
        memo: dict[int, Any] = {}
        old: dict[str, torch.Size] = {}
        for group in found:
            fresh = _tensor(group.tensor, weights[group.name])
            for name, tensor in zip(group.names, group.tensors, strict=True):
                memo.setdefault(id(tensor), fresh if tensor is group.tensor else _alias(fresh, tensor))
                old[name] = tensor.shape
        rebuilt: nn.Module = copied(model, memo)
        for module in rebuilt.modules():
            for name in self.caches:
                if name in vars(module):
                    setattr(module, name, None)
        resize(rebuilt, old)
        return rebuilt

    def context(self, model: nn.Module, data: Any, seed: int, say: Callable[[str], None]) -> Context:
        """Reads of each row by axis, and a trainer. `data`: `Batches`, or just the batches, or None."""
        if data is None:
            return Context(seed=seed, say=say)
        batches = data if isinstance(data, Batches) else Batches(data)
        trainer = _Trainer(self, model, batches, seed)
        calibration = TorchCalibration(lambda weights: self.rebuild(model, weights), batches, self.read(model))
        return Context(
            self.count_reads(model, batches),
            trainer=trainer,
            calibration=calibration,
            seed=seed,
            say=say,
            given="a torch module",
        )

    def count_reads(self, model: nn.Module, data: Batches) -> dict[str, npt.NDArray[np.int64]]:
        """How often each row of each table with a named row axis is looked up in one pass over the batches, by axis.

        Tables are those of embedding modules, and whatever else has rows that are looked up: layers are not.
        Look-ups are counted wherever they happen (`F.embedding`, `F.embedding_bag`, `index_select`, indexing); reading
        a whole table counts for no row. The model runs in evaluation mode, as a copy that shares its parameters.
        """
        weights = self.read(model).weights
        running = twin(model)
        arrays, known = groups(running), tables(running)
        counter = ReadCounter({group.name: group.tensor for group in arrays})
        number = 0
        with torch.no_grad(), seeded(0), counter:
            for batch in data.batches:
                number += 1
                try:
                    data.run(running, batch)
                except Exception as error:  # whatever a model of the user's own raises
                    what = f"batch {number}, of type {type(batch).__name__}"
                    why = f"{type(error).__name__}: {' '.join(str(error).split())}"
                    raise RecpruneError(f"{type(model).__name__} cannot be run on {what}: {why}") from error
        if not number:
            raise RecpruneError("the data has no batches, so no reads could be counted")
        reads: dict[str, npt.NDArray[np.int64]] = {}
        for group in arrays:
            axis, counts = weights[group.name].axes[0], counter.counts.get(group.name)
            if axis and counts is not None and (counts.any() or any(name in known for name in group.names)):
                reads[axis] = reads.get(axis, 0) + counts.numpy()
        return reads

    def check(self, model: nn.Module, weights: Weights, data: Any) -> None:
        """Raise RecpruneError if an axis that `weights` has cut cannot be cut out of this model.

        For each such axis some positions are zeroed in the whole model, and cut out of another copy: both must give the
        same for the first batch (1e-5 of the largest value). This finds axes declared in a wrong order, which would run
        without an error and be wrong.
        """
        batches = data if isinstance(data, Batches) else Batches(data)
        given = self.read(model).weights
        for axis in given.atoms():
            size = given.sizes[axis]
            if weights.sizes.get(axis, size) == size:
                continue
            keep = np.sort(np.random.default_rng(0).permutation(size)[: weights.sizes[axis]])
            gone = np.setdiff1d(np.arange(size), keep)
            try:
                wanted = _outputs(self.rebuild(model, _zeroed(given, axis, gone)), batches)
                got = _outputs(self.rebuild(model, given.cut(axis, keep)), batches)
            except (RuntimeError, IndexError, TypeError, ValueError) as error:
                raise RecpruneError(f"axis {axis!r} cannot be cut: {error}") from error
            if [tensor.shape for tensor in wanted] != [tensor.shape for tensor in got]:
                raise RecpruneError(f"axis {axis!r} cannot be cut: the smaller model's outputs have other shapes")
            pairs = [pair for pair in zip(wanted, got, strict=True) if pair[0].numel()]
            if not pairs:
                raise RecpruneError(f"axis {axis!r} cannot be checked: the model gives no floats for the first batch")
            apart = max(float((a - b).abs().max()) for a, b in pairs)
            largest = max(float(a.abs().max()) for a, _ in pairs)
            if not apart <= 1e-5 * max(largest, 1.0):
                raise RecpruneError(
                    f"axis {axis!r} cannot be cut: zeroing and cutting it differ by {apart:.2g}; are its axes right?"
                )

    def left_out(self, model: nn.Module) -> dict[str, str]:
        """What of the model `read` does not give, and why."""
        return {name: why for name, why in left_out(model).items() if name.rpartition(".")[2] not in self.caches}


@dataclass(frozen=True)
class _Trainer:
    """Retrains weights in the model that they came from, which is the teacher."""

    adapter: TorchAdapter
    model: nn.Module
    data: Batches
    seed: int

    def __call__(self, weights: Weights, settings: Mapping[str, Any], say: Callable[[str], None]) -> Weights:
        if self.data.loss is None:
            raise RecpruneError(
                "retraining needs a loss: give Batches(batches, loss), where loss(model, batch) is a scalar"
            )
        teacher = twin(self.model) if settings.get("distill") else None
        rebuilt = self.adapter.rebuild(self.model, weights)
        with _pure(teacher):
            tuned = finetune(
                rebuilt,
                self.data.batches,
                self.data.loss,
                valid=self.data.valid,
                teacher=teacher,
                seed=self.seed,
                progress=say,
                **settings,
            )
        fresh = self.adapter.read(tuned).weights
        for name, param in weights.items():
            # Buffers too: normalization keeps its running means there.
            value = fresh[name].value
            plain = isinstance(param.value, Dense) and isinstance(value, Dense)
            weights = weights.replace(name, param.value.recode(value.decode()) if plain else value)
        return weights


def _encoding(name: str, tensor: Tensor) -> Encoding:
    if isinstance(tensor, CompactTensor):
        return tensor.encoding()
    plain = tensor.detach().cpu()
    if plain.dtype == torch.float64:
        raise RecpruneError(f"parameter {name!r} is float64, and values are stored as float32: give model.float()")
    if plain.dtype not in (torch.float16, torch.float32):
        # numpy has no bfloat16. As float16 it costs the same bytes and differs by less than 3e-8, below 65504.
        small = plain.dtype == torch.bfloat16 and float(plain.abs().max() if plain.numel() else 0) < 65504
        plain = plain.to(torch.float16 if small else torch.float32)
    try:
        return Dense(plain.numpy())
    except RecpruneError as error:
        raise RecpruneError(f"parameter {name!r}: {error}") from None


def _tensor(old: Tensor, param: Param) -> Tensor:
    """What takes the place of `old`: a plain tensor where that is as small, else a compact one."""
    value = param.value
    is_param = isinstance(old, nn.Parameter)
    if isinstance(value, Dense) and value.values.dtype.itemsize >= old.element_size():
        plain = torch.tensor(value.values, dtype=old.dtype, device=old.device)
        trained = old.trained if isinstance(old, CompactTensor) else old.requires_grad
        return nn.Parameter(plain, requires_grad=trained) if is_param else plain
    compact = CompactTensor.of(value, old.dtype, old.device, trained=param.trained)
    return nn.Parameter(compact, requires_grad=False) if is_param else compact


def _alias(fresh: Tensor, old: Tensor) -> Tensor:
    """Another tensor over the memory of `fresh`, as `old` was another over its first."""
    if not isinstance(old, nn.Parameter):
        return fresh.detach()
    return nn.Parameter(fresh.detach(), requires_grad=old.requires_grad and fresh.requires_grad)


def _pure(model: nn.Module | None) -> AbstractContextManager[Any]:
    """Keeps the look-ups of `model` from changing its tables."""
    limits = model is not None and any(getattr(module, "max_norm", None) is not None for module in model.modules())
    return ReadCounter({}) if limits else nullcontext()


def _zeroed(weights: Weights, axis: str, gone: npt.NDArray[np.int64]) -> Weights:
    for name in weights.atoms()[axis]:
        values = weights[name].value.decode().copy()
        for i, expression in enumerate(weights[name].axes):
            if axis in expression.replace("*", "+").split("+"):
                values[(slice(None),) * i + (weights.positions(expression, axis, gone, only=True),)] = 0
        weights = weights.replace(name, Dense(values))
    return weights


def _outputs(model: nn.Module, data: Batches) -> list[Tensor]:
    """Every float that the model, or its loss, gives for the first batch."""
    found: list[Tensor] = []
    model.eval()
    handle = model.register_forward_hook(lambda _, __, output: found.extend(_floats(output)))
    with torch.no_grad(), seeded(0), _pure(model):
        result = data.run(model, next(iter(data.batches)))
    handle.remove()
    return found + _floats(result)


def _floats(output: Any) -> list[Tensor]:
    return [v.detach() for v in inside([output]) if isinstance(v, Tensor) and v.is_floating_point()]
