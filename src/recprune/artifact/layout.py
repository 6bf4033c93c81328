"""From a compressed snapshot to what is shipped: ids that no table tells apart leave the vocabulary, rows are renumbered."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.snapshot import Snapshot
from recprune.vocabulary import ExactVocabulary, FingerprintVocabulary, Vocabulary
from recprune.weights import Encoding, LowRank, Param, Rows, Stacked, Weights

__all__ = ["lay_out"]

Array = npt.NDArray[Any]


def lay_out(snapshot: Snapshot, fingerprint: int | None = None) -> tuple[Snapshot, dict[str, Vocabulary]]:
    """Renumber every axis with a vocabulary, and drop what nothing reads.

    Ids whose rows are stored alike (kept here, dropped there, of this group) become neighbours, so that a table says which
    rows it keeps in a few bytes; an id whose row is kept by no table is unknown from now on and reads the
    out-of-vocabulary row, which is the row that it read before.
    """
    snapshot = _without_dead(snapshot)
    weights = snapshot.weights
    vocabularies: dict[str, Vocabulary] = {}
    for axis, ids in snapshot.ids.items():
        columns = any(
            axis in expression.replace("*", "+").split("+") for p in weights.values() for expression in p.axes[1:]
        )
        groups = _groups([weights[name].value for name in weights.tables(axis)], len(ids), keep_all=columns)
        listed = [ids[group] for group in groups] or [ids[:0]]
        # A model that answers with ids needs the ids.
        exact = fingerprint is None or (snapshot.graph is not None and snapshot.graph.items == axis)
        vocabulary: Vocabulary
        if exact:
            vocabulary, orders = ExactVocabulary.build(listed)
        else:
            vocabulary, orders = FingerprintVocabulary.build(listed, int(fingerprint or 0))
        order = np.concatenate([group[chosen] for group, chosen in zip(groups, orders, strict=False)] + [[len(ids)]])
        vocabularies[axis] = vocabulary
        weights = weights.cut(axis, order.astype(np.int64))
    return replace(snapshot, weights=weights, ids={}), vocabularies


def _groups(tables: list[Encoding], ids: int, keep_all: bool) -> list[Array]:
    """Ids by the way their rows are stored, those kept by most tables first."""
    if not tables:
        return [np.arange(ids)]
    marks = np.stack([_marks(table)[:ids] for table in tables])
    kept = np.ones(ids, dtype=bool) if keep_all else (marks >= 0).any(axis=0)
    signatures, group = np.unique(marks[:, kept], axis=1, return_inverse=True)
    rows = np.flatnonzero(kept)
    order = sorted(range(signatures.shape[1]), key=lambda g: (-(signatures[:, g] >= 0).sum(), tuple(signatures[:, g])))
    return [rows[group.reshape(-1) == g] for g in order]


def _marks(table: Encoding) -> Array:
    """For each row: -1 where it is dropped, else the number of the group it is stored in."""
    if isinstance(table, Rows):
        return np.where(table.mask(), 0, -1)
    if isinstance(table, LowRank):
        return _marks(table.left)
    if isinstance(table, Stacked):
        return np.repeat(np.arange(len(table.parts)), [part.shape[0] for part in table.parts])
    return np.zeros(table.shape[0], dtype=np.int64)


def _without_dead(snapshot: Snapshot) -> Snapshot:
    """Leave out the operations on tables of width 0, and the parameters and ids that nothing reads."""
    graph = snapshot.graph
    if graph is None:
        return snapshot
    weights = snapshot.weights
    dead = [op.output for op in graph.ops if op.kind in ("take", "pool") and 0 in weights[op.params[0]].shape[1:]]
    graph = graph.without(dead)
    params: dict[str, Param] = {name: weights[name] for name in graph.params}
    ids = {axis: snapshot.ids[axis] for axis in graph.vocabularies}
    return Snapshot(Weights(params, weights.sizes), graph, ids)
