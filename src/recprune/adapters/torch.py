"""Any torch module: read its parameters, and rebuild it around smaller ones."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from recprune.adapters.compact import CompactTensor
from recprune.adapters.reads import ReadCounter
from recprune.context import Context
from recprune.errors import RecpruneError, unknown
from recprune.recovery.finetune import call, finetune
from recprune.snapshot import Snapshot
from recprune.weights import Dense, Encoding, Param, Weights

__all__ = ["Batches", "TorchAdapter"]

Model = nn.Module


@dataclass(frozen=True, eq=False)
class Batches:
    """Data for a model of the user's own.

    `batches`: a list or a DataLoader, read once an epoch. Without `loss`, a batch is what the model takes: a tuple or
    list of arguments, a dict of named ones, or the one argument itself. With `loss`, a batch is whatever
    `loss(model, batch)` takes, which gives the scalar to minimize; retraining needs it.
    """

    batches: Collection[Any]
    loss: Callable[[Any, Any], Tensor] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.batches, Iterator):
            raise RecpruneError("batches can be read only once; give a list or a DataLoader")
        if not isinstance(self.batches, Iterable):
            raise RecpruneError(f"batches must be a list or a DataLoader, got {type(self.batches).__name__}")
        if self.loss is not None and not callable(self.loss):
            raise RecpruneError(f"loss must be a function of model and batch, got {type(self.loss).__name__}")

    def run(self, model: Model, batch: Any) -> Any:
        """What the model, or its loss, gives for a batch."""
        return call(model, batch) if self.loss is None else self.loss(model, batch)


@dataclass(frozen=True)
class TorchAdapter:
    """Reads and rebuilds `torch.nn.Module`s.

    Every parameter and every stored float buffer becomes a Param; tables of nn.Embedding and nn.EmbeddingBag have
    their module's path as row axis and their padding row protected. Of everything else no axes are known, unless they
    are declared:

    `axes`: name of a parameter to the names of its axes (see `weights.Param`); equal names are cut together.
    `sizes`: sizes of axes that occur only inside composite ones.
    `protected`: name of a parameter to rows with a meaning of their own (mask, out-of-vocabulary).
    `caches`: attributes of the model in which it keeps outputs; they are None in the rebuilt model.
    """

    axes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    protected: Mapping[str, Sequence[int]] = field(default_factory=dict)
    caches: tuple[str, ...] = ()

    def read(self, model: Model) -> Snapshot:
        """The model's arrays, without a graph (see `arrays`)."""
        return Snapshot(self.arrays(model))

    def arrays(self, model: Model) -> Weights:
        """The model's arrays, as views of its memory where they are plain. Raises RecpruneError for NaN or infinity."""
        groups = _groups(model)
        names = [name for group in groups for name in group.names]
        for given in (*self.axes, *self.protected):
            if given not in names:
                raise unknown("parameter", given, names)
        tables = _tables(model)
        params: dict[str, Param] = {}
        for group in groups:
            value = _encoding(group.name, group.tensor)
            axes = [""] * len(value.shape)
            protected: set[int] = set()
            for name in reversed(group.names):
                if name in tables and len(axes) == 2:
                    axes[0] = tables[name][0]
                    protected |= tables[name][1]
                protected |= {int(row) for row in self.protected.get(name, ())}
            for name in group.names:
                axes = list(self.axes.get(name, axes))
            try:
                params[group.name] = Param(tuple(axes), value, tuple(sorted(protected)), group.trained)
            except RecpruneError as error:
                raise RecpruneError(f"parameter {group.name!r}: {error}") from None
        if not params:
            raise RecpruneError(f"{type(model).__name__} has no parameter to compress")
        return Weights(params, self.sizes)

    def rebuild(self, model: Model, weights: Weights) -> Model:
        """A model of the same class and calls that holds `weights`; nothing of its memory is the given model's."""
        given = self.arrays(model)
        for name in given:
            if name not in weights:
                raise RecpruneError(f"the weights lack parameter {name!r} of {type(model).__name__}")
        for name in weights:
            if name not in given:
                raise unknown("parameter", name, given)
        memo: dict[int, Any] = {}
        changed: dict[str, str] = {}
        for group in _groups(model):
            fresh = _tensor(group.tensor, weights[group.name])
            for name, tensor in zip(group.names, group.tensors, strict=True):
                if id(tensor) not in memo:
                    memo[id(tensor)] = fresh if tensor is group.tensor else _alias(fresh, tensor)
                if fresh.shape != tensor.shape:
                    changed[name] = group.name
        rebuilt: Model = _copy(model, memo)
        for module in rebuilt.modules():
            for name in self.caches:
                if name in vars(module):
                    setattr(module, name, None)
        _resize(rebuilt, changed, given, weights)
        return rebuilt

    def context(
        self, model: Model, data: Any = None, seed: int = 0, say: Callable[[str], None] = lambda line: None
    ) -> Context:
        """Reads of each row by axis, and a trainer. `data`: `Batches`, or just the batches, or None for neither."""
        if data is None:
            return Context(seed=seed, say=say)
        batches = data if isinstance(data, Batches) else Batches(data)
        reads = self.count_reads(model, batches)
        return Context(reads, trainer=_Trainer(self, model, batches, seed), seed=seed, say=say)

    def count_reads(self, model: Model, data: Batches) -> dict[str, npt.NDArray[np.int64]]:
        """How often each row of each named row axis is looked up in one pass over the batches, by axis.

        Look-ups are counted wherever they happen (`F.embedding`, `F.embedding_bag`, `index_select`, indexing); reading
        a whole table counts for no row. The model runs in evaluation mode, as a copy that shares its parameters.
        """
        weights = self.arrays(model)
        twin = _twin(model)
        counter = ReadCounter({g.name: g.tensor for g in _groups(model)})
        _each(twin, data, counter)
        reads: dict[str, npt.NDArray[np.int64]] = {}
        for name, counts in counter.counts.items():
            axis = weights[name].axes[0]
            if axis:
                reads[axis] = reads.get(axis, 0) + counts.numpy()
        return reads

    def check(self, model: Model, weights: Weights, data: Any) -> None:
        """Raise RecpruneError if an axis that `weights` has cut cannot be cut out of this model.

        For each such axis the last positions are zeroed in the whole model, then cut; both must give the same on the
        first batch (1e-5 of the largest value). It catches axes declared in a wrong order, which run without error.
        """
        batches = data if isinstance(data, Batches) else Batches(data)
        given = self.arrays(model)
        for axis in given.atoms():
            size = weights.sizes.get(axis, 0)
            if size == given.sizes[axis]:
                continue
            keep = np.sort(np.random.default_rng(0).permutation(given.sizes[axis])[:size])
            gone = np.setdiff1d(np.arange(given.sizes[axis]), keep)
            zeroed, cut = self.rebuild(model, _zeroed(given, axis, gone)), self.rebuild(model, given.cut(axis, keep))
            try:
                wanted, got = (_first(m, batches) for m in (zeroed, cut))
            except (RuntimeError, IndexError, TypeError, ValueError) as error:
                raise RecpruneError(f"axis {axis!r} cannot be cut: the smaller model does not run: {error}") from error
            if len(wanted) != len(got) or any(a.shape != b.shape for a, b in zip(wanted, got, strict=False)):
                raise RecpruneError(f"axis {axis!r} cannot be cut: the smaller model's output has another shape")
            worst = max(
                (float((a - b).abs().max()) for a, b in zip(wanted, got, strict=True) if a.numel()), default=0.0
            )
            scale = max((float(a.abs().max()) for a in wanted if a.numel()), default=0.0)
            if not worst <= 1e-5 * max(scale, 1.0):
                raise RecpruneError(
                    f"axis {axis!r} cannot be cut: zeroing it and cutting it differ by {worst:.2g}; are the axes right?"
                )

    def left_out(self, model: Model) -> dict[str, str]:
        """What of the model `read` does not give, and why."""
        found: dict[str, str] = {}
        names = {name for group in _groups(model) for name in group.names}
        for name, tensor, buffer in _named(model):
            if name not in names:
                found[name] = _reason(tensor, buffer)
        for path, module in model.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Tensor) and name not in self.caches:
                    found[f"{path}.{name}".lstrip(".")] = "an attribute; if it keeps outputs, name it in caches"
        return found


@dataclass(frozen=True)
class _Trainer:
    adapter: TorchAdapter
    model: Model
    data: Batches
    seed: int = 0

    def __call__(self, weights: Weights, settings: Mapping[str, Any], say: Callable[[str], None]) -> Weights:
        if self.data.loss is None:
            raise RecpruneError(
                "retraining needs a loss; give Batches(batches, loss) with loss(model, batch) -> scalar"
            )
        known = ("epochs", "lr", "distill")
        for name in settings:
            if name not in known:
                raise unknown("setting of retraining", name, known)
        chosen = dict(settings)
        teacher = _twin(self.model) if chosen.get("distill") else None
        rebuilt = self.adapter.rebuild(self.model, weights)
        with _pure(teacher):
            tuned = finetune(
                rebuilt, self.data.batches, self.data.loss, teacher=teacher, seed=self.seed, progress=say, **chosen
            )
        fresh = self.adapter.arrays(tuned)
        for name, param in weights.items():
            value = fresh[name].value
            if isinstance(param.value, Dense):
                value = param.value.recode(value.decode())
            if param.trained:
                weights = weights.replace(name, value)
        return weights


@dataclass(frozen=True)
class _Group:
    """One array and every name under which the model holds it."""

    names: list[str]
    tensors: list[Tensor]
    buffer: bool

    @property
    def name(self) -> str:
        return self.names[0]

    @property
    def tensor(self) -> Tensor:
        return self.tensors[0]

    @property
    def trained(self) -> bool:
        if isinstance(self.tensor, CompactTensor):
            return self.tensor.trained
        return not self.buffer and any(tensor.requires_grad for tensor in self.tensors)


def _named(model: Model) -> Iterator[tuple[str, Tensor, bool]]:
    if not isinstance(model, nn.Module):
        raise RecpruneError(f"a torch model must be an nn.Module, got {type(model).__name__}")
    if isinstance(model, torch.jit.ScriptModule):
        raise RecpruneError("a scripted module cannot be rebuilt; give the module that it was made from")
    for name, tensor in model.named_parameters(remove_duplicate=False):
        if isinstance(tensor, nn.UninitializedParameter) or tensor.is_meta:
            raise RecpruneError(f"parameter {name!r} has no values yet")
        yield name, tensor, False
    for path, module in model.named_modules(remove_duplicate=False):
        for name, tensor in module.named_buffers(recurse=False, remove_duplicate=False):
            if name not in module._non_persistent_buffers_set:
                yield f"{path}.{name}".lstrip("."), tensor, True


def _reason(tensor: Tensor, buffer: bool) -> str:
    """Why a tensor is not read; empty for one that is."""
    if not tensor.is_floating_point():
        return f"{tensor.dtype}, not floats"
    if tensor.layout != torch.strided:
        return f"stored as {tensor.layout}"
    if buffer and not isinstance(tensor, CompactTensor) and not bool(torch.isfinite(tensor).all()):
        return "a buffer that holds infinities, such as a mask"
    return ""


def _groups(model: Model) -> list[_Group]:
    found: dict[Any, _Group] = {}
    for name, tensor, buffer in _named(model):
        if _reason(tensor, buffer):
            continue
        key: Any
        if isinstance(tensor, CompactTensor):
            key = tensor.identity
        elif not tensor.numel():
            key = id(tensor)
        else:
            memory = tensor.untyped_storage().data_ptr()
            key = (memory, tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype)
        group = found.setdefault(key, _Group([], [], buffer))
        group.names.append(name)
        group.tensors.append(tensor)
    return list(found.values())


def _tables(model: Model) -> dict[str, tuple[str, set[int]]]:
    """Row axis and protected rows of the table of every embedding module."""
    found = {}
    for path, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            # `+` and `*` join axes, so they cannot stay in the name of one.
            axis = path.replace("+", "_").replace("*", "_") or "rows"
            protected = set() if module.padding_idx is None else {int(module.padding_idx)}
            found[f"{path}.weight".lstrip(".")] = (axis, protected)
    return found


def _encoding(name: str, tensor: Tensor) -> Encoding:
    if isinstance(tensor, CompactTensor):
        return tensor.encoding()
    plain = tensor.detach().cpu()
    if plain.dtype not in (torch.float16, torch.float32, torch.float64):
        # numpy has no bfloat16. As float16 it costs the same bytes, and differs by less than 3e-8 below 65504.
        small = plain.dtype == torch.bfloat16 and float(plain.abs().max() if plain.numel() else 0) < 65504
        plain = plain.to(torch.float16 if small else torch.float32)
    try:
        return Dense(plain.numpy())
    except RecpruneError as error:
        raise RecpruneError(f"parameter {name!r}: {error}") from None


def _tensor(old: Tensor, param: Param) -> Tensor:
    """What takes the place of `old`."""
    value = param.value
    is_param = isinstance(old, nn.Parameter)
    if isinstance(value, Dense) and value.values.dtype.itemsize >= old.element_size():
        plain = torch.tensor(value.values, dtype=old.dtype, device=old.device)
        trained = old.trained if isinstance(old, CompactTensor) else old.requires_grad
        return nn.Parameter(plain, requires_grad=trained) if is_param else plain
    compact = CompactTensor.of(value, old.dtype, old.device, trained=param.trained)
    return nn.Parameter(compact, requires_grad=False) if is_param else compact


def _alias(fresh: Tensor, old: Tensor) -> Tensor:
    """Another tensor over the same memory, as `old` was."""
    if not isinstance(old, nn.Parameter):
        return fresh.detach()
    return nn.Parameter(fresh.detach(), requires_grad=old.requires_grad and fresh.requires_grad)


def _copy(model: Model, memo: dict[int, Any]) -> Any:
    """Deep copy with the tensors in `memo` replaced; what training left behind is not taken along."""
    for module in model.modules():
        for value in _inside(list(vars(module).values()), 0):
            trainer = isinstance(value, torch.optim.Optimizer | torch.optim.lr_scheduler.LRScheduler)
            if id(value) not in memo and (trainer or (isinstance(value, Tensor) and value.grad_fn is not None)):
                memo[id(value)] = None
    try:
        return copy.deepcopy(model, memo)
    except (TypeError, RuntimeError) as error:
        raise RecpruneError(f"{type(model).__name__} cannot be copied: {error}") from error


def _inside(values: Iterable[Any], depth: int) -> Iterator[Any]:
    for value in values:
        yield value
        if depth < 3 and type(value) in (list, tuple, dict):
            yield from _inside(value.values() if isinstance(value, dict) else value, depth + 1)


def _twin(model: Model) -> Any:
    """A copy to run that shares the parameters and nothing else."""
    return _copy(model, {id(tensor): tensor for tensor in model.parameters()}).eval()


def _pure(model: Model | None) -> AbstractContextManager[Any]:
    """Keeps the look-ups of `model` from changing its tables."""
    limits = model is not None and any(getattr(module, "max_norm", None) is not None for module in model.modules())
    return ReadCounter({}) if limits else nullcontext()


def _zeroed(weights: Weights, axis: str, gone: npt.NDArray[np.int64]) -> Weights:
    for name in weights.atoms()[axis]:
        values = weights[name].value.decode().copy()
        for i, expression in enumerate(weights[name].axes):
            if axis in expression.replace("*", "+").split("+"):
                values[(slice(None),) * i + (weights.positions(expression, axis, gone),)] = 0
        weights = weights.replace(name, Dense(values))
    return weights


def _first(model: Model, data: Batches) -> list[Tensor]:
    """Float outputs of the first batch."""
    found: list[Tensor] = []

    def keep(_: Any, __: Any, output: Any) -> None:
        found.extend(v.detach() for v in _inside([output], 0) if isinstance(v, Tensor) and v.is_floating_point())

    model.eval()
    handle = model.register_forward_hook(keep)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        result = data.run(model, next(iter(data.batches)))
    handle.remove()
    return [*found, result.detach()] if isinstance(result, Tensor) and data.loss else found


def _each(model: Model, data: Batches, counter: ReadCounter) -> None:
    with torch.no_grad(), torch.random.fork_rng(devices=[]), counter:
        for batch in data.batches:
            data.run(model, batch)


_SIZED: tuple[type[Any], ...] = (nn.Embedding, nn.EmbeddingBag, nn.Linear, nn.LayerNorm, nn.BatchNorm1d)


def _resize(model: Model, changed: Mapping[str, str], given: Weights, weights: Weights) -> None:
    """Tell the modules the sizes of parameters that were cut."""
    for path, module in model.named_modules():
        local = [name for name in changed if name.rpartition(".")[0] == path]
        if not local:
            continue
        what = f"{path or 'the model'} ({type(module).__name__})"
        known = isinstance(module, _SIZED)
        if not known and any(
            cls.__module__.startswith("torch.nn.modules.") for cls in type(module).__mro__[:-2] if cls is not nn.Module
        ):
            raise RecpruneError(
                f"{what} cannot be cut; of torch's modules these can: " + ", ".join(c.__name__ for c in _SIZED)
            )
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            name = changed[local[0]]
            module.num_embeddings, module.embedding_dim = module.weight.shape
            if module.padding_idx is not None and weights[name].shape[0] != given[name].shape[0]:
                before, after = given[name].protected, weights[name].protected
                if len(before) != len(after):
                    raise RecpruneError(f"{what}: its padding row was cut")
                module.padding_idx = after[before.index(module.padding_idx)]
        elif isinstance(module, nn.Linear):
            module.out_features, module.in_features = module.weight.shape
        elif isinstance(module, nn.LayerNorm):
            module.normalized_shape = tuple(module.weight.shape)
        elif isinstance(module, nn.BatchNorm1d):
            module.num_features = len(module.weight)
        if known and not isinstance(module, nn.Embedding | nn.EmbeddingBag):
            rows = {
                len(t)
                for n, t in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
                if t.dim()
            }
            if len(rows) > 1:
                raise RecpruneError(f"{what}: its arrays do not fit each other after the cut; declare the axes of each")
