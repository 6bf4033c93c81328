"""From a compressed snapshot to what is shipped: ids that no table tells apart leave the vocabulary, rows are renumbered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.artifact.unread import without_unread
from recprune.bits import packed_bytes
from recprune.snapshot import Snapshot
from recprune.vocabulary import ExactVocabulary, FingerprintVocabulary, IntegerVocabulary, Vocabulary
from recprune.weights import Encoding, LowRank, Rows, Stacked, Weights

__all__ = ["lay_out", "without_dead"]

Array = npt.NDArray[Any]


def lay_out(
    snapshot: Snapshot, fingerprint: int | Mapping[str, int] | None = None
) -> tuple[Snapshot, dict[str, Vocabulary]]:
    """Renumber every axis with a vocabulary, and drop what nothing reads.

    Ids whose rows are stored alike (kept here, dropped there, of this group where ids are whole) become neighbours, so that
    a table says which rows it keeps in a few bytes; an id that reads the out-of-vocabulary row of every table leaves the
    vocabulary (unless the model answers with ids): as an unknown id it reads the same rows. With `fingerprint`, ids are
    stored as that many bits of a hash, or whole where they are numbers and that takes no more; a mapping gives the bits by
    patterns of names, the first that matches counts.
    """
    snapshot = without_dead(snapshot)
    weights = snapshot.weights
    vocabularies: dict[str, Vocabulary] = {}
    for axis, ids in snapshot.ids.items():
        tables = [weights[name].value for name in weights.tables(axis)]
        # A model that answers with ids needs the ids, and leaves unknown ones out of a history.
        answers = snapshot.graph is not None and snapshot.graph.items == axis
        bits = None if answers else _bits(axis, fingerprint)
        keep_all = not tables or answers or _beside_tables(weights, axis)
        groups = _groups(tables, len(ids), keep_all, hashed=bits is not None)
        listed = [ids[group] for group in groups]
        vocabulary: Vocabulary
        if bits is None:
            vocabulary, orders = ExactVocabulary.build(listed)
        else:
            vocabulary, orders = _compact(listed, bits)
        order = [group[chosen] for group, chosen in zip(groups, orders, strict=True)]
        vocabularies[axis] = vocabulary
        weights = weights.cut(axis, np.concatenate([*order, [len(ids)]]).astype(np.int64))
    return replace(snapshot, weights=weights, ids={}), vocabularies


def _bits(axis: str, fingerprint: int | Mapping[str, int] | None) -> int | None:
    if not isinstance(fingerprint, Mapping):
        return fingerprint
    return next((bits for pattern, bits in fingerprint.items() if fnmatchcase(axis, pattern)), None)


def _compact(groups: list[Array], bits: int) -> tuple[Vocabulary, list[npt.NDArray[np.int64]]]:
    """Ids as `bits` of a hash, or whole where that takes no more bytes."""
    if whole := IntegerVocabulary.build(groups):
        hashed = sum(packed_bytes(len(group), bits) + packed_bytes(len(group), 2) for group in groups)
        if sum(array.nbytes for array in whole[0].arrays().values()) <= hashed:
            return whole
    return FingerprintVocabulary.build(groups, bits)


def _beside_tables(weights: Weights, axis: str) -> bool:
    """Whether an axis is more than the rows of tables: columns of an item-item model, part of a fused table."""
    return any(
        axis in expression.replace("*", "+").split("+") and (i > 0 or expression != axis)
        for param in weights.values()
        for i, expression in enumerate(param.axes)
    )


_UNKNOWN, _SHARED = -2, -1


def _groups(tables: list[Encoding], ids: int, keep_all: bool, hashed: bool) -> list[Array]:
    """Ids by the way their rows are stored, those kept by most tables first; at least one group, perhaps an empty one."""
    marks = np.zeros((1, ids), np.int64) if not tables else np.stack([_marks(table, hashed)[:ids] for table in tables])
    rows = np.arange(ids) if keep_all else np.flatnonzero((marks != _UNKNOWN).any(axis=0))
    if not len(rows):
        return [rows]
    group = np.zeros(len(rows), np.int64)
    for mark in marks[:, rows]:  # numpy compares whole columns many times slower
        _, first, group = np.unique(
            group * (np.ptp(mark) + 1) + mark - mark.min(), return_index=True, return_inverse=True
        )
    signatures = marks[:, rows[first]]

    def rank(signature: Array) -> tuple[Any, ...]:
        return -int((signature >= 0).sum()), tuple(signature)

    order = sorted(range(signatures.shape[1]), key=lambda g: rank(signatures[:, g]))
    return [rows[group == g] for g in order]


def _marks(table: Encoding, hashed: bool) -> Array:
    """For each row: the number of the group it is stored in, or how it was dropped.

    Where ids are hashed, a table says itself which group a row is in: a bit or two a row, where each group of ids more adds
    its share of unknown ids taken for known ones, which would take as many bits to make up for.
    `_UNKNOWN`: it reads the row of unknown ids, the last. `_SHARED`: it reads another row together with others.
    """
    if isinstance(table, Rows):
        at = table.position(np.arange(table.rows))
        return np.where(table.mask(), _marks(table.inner, hashed)[at], np.where(at == at[-1:], _UNKNOWN, _SHARED))
    if isinstance(table, LowRank):
        return _marks(table.left, hashed)
    if isinstance(table, Stacked):
        which, place = table.position(np.arange(table.shape[0]))
        marks = which.copy()
        for i, part in enumerate(table.parts):
            # What reads the last row of a part reads that of unknown ids only where this lies in the part.
            inside = _marks(part, hashed)[place[which == i]]
            marks[which == i] = np.where((inside == _UNKNOWN) & (i == which[-1]), _UNKNOWN, 0 if hashed else i)
        return marks
    return np.zeros(table.shape[0], dtype=np.int64)


def without_dead(snapshot: Snapshot) -> Snapshot:
    """Leave out tables of width 0, inputs of trees that no split reads, and parameters and ids that nothing reads."""
    graph = snapshot.graph
    if graph is None:
        return snapshot
    weights = snapshot.weights
    dead = [
        op.output
        for op in graph.ops
        if op.kind in ("take", "pool", "every", "solve") and 0 in weights[op.params[0]].shape[1:]
    ]
    graph, weights = without_unread(graph.without(dead), weights)
    params = {name: weights[name] for name in graph.params}
    ids = {axis: snapshot.ids[axis] for axis in graph.vocabularies}
    return Snapshot(Weights(params, weights.sizes), graph, ids)
