"""Where the parameters of a model are, and which of them are redundant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.context import Context
from recprune.pruning.budgets import Uniform
from recprune.pruning.measure import Measure, Probe
from recprune.pruning.methods import DropRows, Quantize
from recprune.pruning.methods.drop_fields import fields_of
from recprune.pruning.rank_importances import rank_importances
from recprune.runtime.reference import execute
from recprune.snapshot import Snapshot
from recprune.vocabulary import ListedVocabulary
from recprune.weights import Dense, Granularity, Param, Weights

__all__ = ["Analysis", "analyze"]

Array = npt.NDArray[Any]
_KEEPS = (0.3, 0.1, 0.03)
_BITS = (8, 4, 2)
_LARGE = 50_000_000  # values; a matrix of items by items is judged by steps made for it


@dataclass(frozen=True)
class Analysis:
    """What was found; every field is JSON (`blocks`, `axes`, `findings`, `sensitivity` as in docs/summary.md)."""

    blocks: list[dict[str, Any]] = field(default_factory=list)
    axes: list[dict[str, Any]] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    sensitivity: list[dict[str, Any]] = field(default_factory=list)
    importance: list[dict[str, Any]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return {name: getattr(self, name) for name in ("blocks", "axes", "findings", "sensitivity", "importance")}


def analyze(
    snapshot: Snapshot,
    context: Context,
    probe: Probe | None = None,
    *,
    noise: float = 0.0005,
    importance: bool = False,
) -> Analysis:
    """Bytes by block, rows never and rarely read, spectra, duplicates, constant columns, dead neurons; with a probe also
    what cutting each part alone costs on validation, and what shuffling its values does; with `importance` also how well
    each importance predicts such costs (see `rank_importances`).

    A block is called redundant where replacing it by its mean (nothing retrained) costs less than `noise` of the metric.
    """
    weights = snapshot.weights
    measure = Measure(snapshot, probe) if probe is not None else None
    base = measure(weights) if measure else 0.0
    analysis = Analysis(axes=list(_axes(weights, context)), findings=list(_redundancies(weights, context)))
    if probe is not None and snapshot.graph is not None:
        analysis.findings.extend(_dead(snapshot, probe))
    analysis.blocks.extend(_blocks(weights, context, measure, base, probe.metric if probe else "", noise))
    for block in analysis.blocks:
        if block.get("redundant"):
            analysis.findings.append(f"block {block['name']} is redundant: {block['why']}")
    if measure and probe:
        analysis.sensitivity.extend(_sensitivity(weights, context, measure, base, probe.metric))
    if probe and importance:
        analysis.importance.extend(rank_importances(snapshot, context, probe))
    return analysis


def _axes(weights: Weights, context: Context) -> Iterator[dict[str, Any]]:
    """Of each axis with counted reads: rows never read, read once or twice, and how many hold half of the reads."""
    for axis, counts in context.popularity.items():
        if axis not in weights.sizes:
            continue
        reads = np.sort(np.asarray(counts)[: weights.sizes[axis] - 1])[::-1]
        half = int(np.searchsorted(np.cumsum(reads), reads.sum() / 2)) + 1 if reads.sum() else 0
        yield {
            "axis": axis,
            "rows": len(reads),
            "never": int((reads == 0).sum()),
            "rarely": int(((reads > 0) & (reads <= 2)).sum()),
            "half": half,
        }


def _redundancies(weights: Weights, context: Context) -> Iterator[str]:
    for name, param in weights.items():
        if len(param.shape) != 2 or not 0 < np.prod(param.shape) < _LARGE:
            continue
        table = param.value.decode()
        sample = table[:: max(1, len(table) // 20000)].astype(np.float64)
        if 1 < table.shape[1] <= 1024 and len(sample) >= table.shape[1]:
            energy = np.linalg.svd(sample - sample.mean(axis=0), compute_uv=False) ** 2
            if energy.sum() > 0:
                rank = int(np.searchsorted(np.cumsum(energy) / energy.sum(), 0.95)) + 1
                if rank <= 0.6 * table.shape[1]:
                    yield f"{name}: {rank} of {table.shape[1]} directions hold 95 % of its variance"
        spread = table.std(axis=0)
        constant = int((spread <= 1e-6 * max(float(np.abs(table).max()), 1e-12)).sum())
        if constant and len(table) > 1:
            yield f"{name}: {constant} of {table.shape[1]} columns are constant"
        if param.protected and table.shape[1] > 1:
            repeated = len(table) - len(np.unique(table, axis=0))
            if repeated > 0.01 * len(table):
                yield f"{name}: {repeated:,} of {len(table):,} rows repeat another row"


def _dead(snapshot: Snapshot, probe: Probe) -> Iterator[str]:
    """Neurons that no validation row wakes."""
    assert snapshot.graph is not None
    vocabularies = {axis: ListedVocabulary(ids) for axis, ids in snapshot.ids.items()}
    for op in snapshot.graph.ops:
        if op.kind == "relu":
            active = (
                execute(replace(snapshot.graph, output=op.output), snapshot.weights, vocabularies, probe.columns) > 0
            )
            dead = int((~active.any(axis=0)).sum())
            if dead:
                yield f"{op.output}: {dead} of {active.shape[1]} neurons are dead on {len(active):,} validation rows"


def _blocks(
    weights: Weights,
    context: Context,
    measure: Measure | None,
    base: float,
    metric: str,
    noise: float,
) -> Iterator[dict[str, Any]]:
    """One entry for each field, each block of columns, each kind of block over all fields, and all dense layers."""
    taken: set[str] = set()
    for label, blocks in _named_blocks(weights).items():
        columns = {
            name: np.unique(np.concatenate([_columns(weights, name, block) for block in blocks]))
            for name, param in weights.items()
            if param.protected
        }
        names = [name for name, found in columns.items() if len(found)]
        if not names:
            continue
        shares = {name: len(columns[name]) / weights[name].shape[1] for name in names}
        size = round(sum(weights[name].nbytes * share for name, share in shares.items()))
        count = sum(weights[name].shape[0] * len(columns[name]) for name in names)
        taken.update(names)
        entry: dict[str, Any] = {"name": label, "bytes": size, "parameters": count}
        if measure:
            flat = weights
            for name in names:
                flat = flat.replace(name, _mean_only(weights[name], columns[name], context))
            lost = measure(flat) - base
            entry |= {"metric": metric, "difference": {"value": lost, "low": lost, "high": lost}}
            entry["shuffled"] = measure.shuffled({name: columns[name] for name in names}) - base
            entry["redundant"] = bool(lost > -noise)
            earns = -lost / max(size / 1e6, 1e-9)
            entry["why"] = (
                f"replacing it by its mean changes {metric} by {lost:+.4f} on validation, nothing retrained; "
                f"it earns {earns:.4f} a megabyte"
            )
        yield entry
    rest = [n for n in weights if n not in taken]
    if rest:
        count = sum(int(np.prod(weights[n].shape)) for n in rest)
        yield {"name": "dense layers", "bytes": sum(weights[n].nbytes for n in rest), "parameters": count}


def _named_blocks(weights: Weights) -> dict[str, list[str]]:
    """What is judged as one: every field and block, then the same kind of block over all fields (`all id`, `all pairs`)."""
    columns = {axis for param in weights.values() for axis in _column_axes(param)}
    single = [block for block in fields_of(weights) if block not in columns or "." not in block]
    found = {block: [block] for block in single}
    kinds: dict[str, list[str]] = {}
    for block in single:
        if " x " in block:
            kinds.setdefault("all pairs", []).append(block)
        elif " " in block:
            kinds.setdefault(f"all {block.rpartition(' ')[2]}", []).append(block)
    return found | {kind: blocks for kind, blocks in kinds.items() if len(blocks) > 1}


def _column_axes(param: Param) -> list[str]:
    return param.axes[1].split("+") if len(param.axes) == 2 else []


def _columns(weights: Weights, name: str, block: str) -> Array:
    """Columns of a table that belong to a field (all, where its rows do) or a block of columns."""
    param = weights[name]
    if len(param.shape) != 2:
        return np.zeros(0, np.int64)
    if param.axes[0] == block:
        return np.arange(param.shape[1])
    mine = [axis for axis in param.axes[1].split("+") if axis and block in (axis, axis.rpartition(".")[0])]
    found = [weights.positions(param.axes[1], a, np.arange(weights.sizes[a]), only=True) for a in mine]
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def _mean_only(param: Param, columns: Array, context: Context) -> Dense:
    table = param.value.decode().copy()
    reads = context.popularity.get(param.axes[0])
    shares = np.ones(len(table)) if reads is None else np.asarray(reads, np.float64) + 1e-9
    table[:, columns] = shares @ table[:, columns] / shares.sum()
    return Dense(table)


def _sensitivity(
    weights: Weights, context: Context, measure: Measure, base: float, metric: str
) -> Iterator[dict[str, Any]]:
    """Curves of quality on validation against what is left of one part, everything else untouched."""
    whole = weights.nbytes
    for name, param in weights.items():
        if param.nbytes < 0.002 * whole or len(param.shape) != 2 or not 0 < np.prod(param.shape) < _LARGE:
            continue
        ways: list[tuple[str, list[tuple[float, Weights]]]] = []
        if param.protected and param.axes[0] in context.popularity:
            cut = [(k, DropRows(name, Uniform(k))(weights, context)) for k in _KEEPS]
            ways.append(("rows kept by expected loss", cut))
        granularity: Granularity = "per_column" if param.shape[1] == 1 else "per_row"
        coded = [(b / 32, Quantize(name, b, granularity)(weights, context)) for b in _BITS]
        ways.append(("bits of a value (of 32)", coded))
        for how, tried in ways:
            points = [{"keep": 1.0, "difference": 0.0, "bytes": param.nbytes}]
            points += [{"keep": k, "difference": measure(w) - base, "bytes": w[name].nbytes} for k, w in tried]
            yield {"part": name, "metric": metric, "how": how, "points": points}
