"""The splits of an ensemble of trees."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt

from recprune.bits import pack, packed_bytes, unpack_first
from recprune.errors import RecpruneError, unknown
from recprune.weights.cuts import Cuts
from recprune.weights.encoding import Encoding

__all__ = ["Mode", "Trees"]

Array = npt.NDArray[Any]
Mode = Literal["sum", "mean"]
_WIDEST = 24  # bits that `pack` can hold
_BLOCK = 1 << 18  # rows x trees that are walked at once


@dataclass(frozen=True, eq=False)
class Trees(Encoding):
    """The shape of every tree and the test of every split; the values of the leaves are a parameter of their own.

    Nodes lie in pre-order, one tree after the other, so that one bit a node (1: a split) says all about children: they can
    neither lie outside nor form a cycle. After a split stands what passes its test, then what does not. `cuts`: the number
    of each split's test, packed. `outputs`: how many numbers a row gets; a leaf as wide holds all of them, one of width 1
    that of its tree's turn, `tree % outputs`. `mode`: whether trees are added up or averaged.

    As an array: the number of the test of each split.
    """

    kind: ClassVar[str] = "trees"
    nodes: npt.NDArray[np.uint8]
    cuts: npt.NDArray[np.uint8]
    tests: Cuts
    trees: int
    splits: int
    outputs: int
    mode: Mode

    @classmethod
    def encode(cls, nodes: Array, tests: Cuts, trees: int, outputs: int, mode: Mode) -> Trees:
        """From the test of each node in pre-order, -1 for a leaf."""
        nodes = np.asarray(nodes)
        inner = nodes >= 0
        width = _width(len(tests.thresholds))
        return cls(np.packbits(inner), pack(nodes[inner], width), tests, trees, int(inner.sum()), outputs, mode)

    def __post_init__(self) -> None:
        for name, least in (("trees", 1), ("splits", 0), ("outputs", 1)):
            if type(value := getattr(self, name)) is not int or not least <= value < 2**40:
                raise RecpruneError(f"{name} of an ensemble must be a count of {least} or more, got {value!r}")
        if self.mode not in get_args(Mode):
            raise unknown("mode", str(self.mode), get_args(Mode))
        if not isinstance(self.tests, Cuts):
            raise RecpruneError("the tests of trees must be stored as cuts")
        count, width = 2 * self.splits + self.trees, _width(len(self.tests.thresholds))
        for name, array, size in (
            ("nodes", self.nodes, packed_bytes(count, 1)),
            ("cuts", self.cuts, packed_bytes(self.splits, width)),
        ):
            if array.dtype != np.uint8 or array.shape != (size,):
                raise RecpruneError(f"{name} of {self.trees} trees with {self.splits} splits must be {size} bytes")
        depth = self._open
        if depth[-1] != -self.trees or (depth[:-1] <= -self.trees).any():
            raise RecpruneError(f"the nodes are not those of {self.trees} whole trees")
        if self.splits and int(self._made.max()) >= len(self.tests.thresholds):
            raise RecpruneError(f"a split makes a test beyond the {len(self.tests.thresholds)} there are")

    @property
    def shape(self) -> tuple[int, ...]:
        """One number a split."""
        return (self.splits,)

    def fits(self, inputs: int, leaves: tuple[int, ...]) -> bool:
        """Whether vectors of this width and a table of leaves of this shape belong to these trees."""
        if len(self.tests.counts) != inputs or len(leaves) != 2 or leaves[0] != self.splits + self.trees:
            return False
        return 0 < leaves[1] <= self.outputs and not (
            self.outputs % leaves[1] or self.trees % (self.outputs // leaves[1])
        )

    @property
    def resident_bytes(self) -> int:
        """What is stored, and what is unpacked to walk the trees."""
        return self.nbytes + self.right.nbytes + self.test.nbytes + self.leaf.nbytes + self.starts.nbytes

    def take(self, rows: Array) -> npt.NDArray[np.float32]:
        """Numbers of tests."""
        return self._made[rows].astype(np.float32)

    def recode(self, array: Array) -> Encoding:
        """Trees have one form only."""
        raise RecpruneError("the splits of trees cannot be stored another way")

    def map_dense(self, function: Any) -> Encoding:
        """No values to round."""
        return self

    @cached_property
    def _made(self) -> npt.NDArray[np.int32]:
        return unpack_first(self.cuts, self.splits, _width(len(self.tests.thresholds))).astype(np.int32)

    @cached_property
    def _open(self) -> npt.NDArray[np.int64]:
        """Splits less leaves up to each node: a tree ends where this falls below all that was before."""
        inner = np.unpackbits(self.nodes, count=2 * self.splits + self.trees)
        return np.cumsum(2 * inner.astype(np.int8) - 1, dtype=np.int64)

    @cached_property
    def test(self) -> npt.NDArray[np.int32]:
        """The test of each node, -1 for a leaf."""
        inner = np.unpackbits(self.nodes, count=2 * self.splits + self.trees).astype(bool)
        found = np.full(len(inner), -1, np.int32)
        found[inner] = self._made
        return found

    @cached_property
    def leaf(self) -> npt.NDArray[np.int32]:
        """The number of the leaf that each node is, or of the first one below it."""
        leaves = self.test < 0
        return (np.cumsum(leaves) - leaves).astype(np.int32)

    @cached_property
    def starts(self) -> npt.NDArray[np.int64]:
        """The first node of each tree."""
        lowest = np.minimum.accumulate(np.minimum(self._open, 0))
        ends = np.flatnonzero(np.diff(lowest, prepend=0) < 0) + 1
        return np.concatenate([[0], ends[:-1]]).astype(np.int64)

    @cached_property
    def right(self) -> npt.NDArray[np.int32]:
        """The node that a row goes to when it does not pass: behind all that lies below the node after the split."""
        depth, count = self._open, len(self._open)
        keys = (depth + self.trees + 1) * count + np.arange(count)
        inner = np.flatnonzero(self.test >= 0)
        # The subtree of the next node ends at the first node after it whose depth is one less than that of the split.
        order = np.sort(keys)
        ends = order[np.searchsorted(order, keys[inner] - count)] % count
        found = np.zeros(count, np.int32)
        found[inner] = ends + 1
        return found

    def reach(self, x: Array) -> npt.NDArray[np.int32]:
        """The leaf that each row of `x` (rows, inputs) reaches in each tree, (rows, trees)."""
        result = np.empty((len(x), self.trees), np.int32)
        step = max(1, _BLOCK // self.trees)
        for start in range(0, len(x), step):
            result[start : start + step] = self._walk(x[start : start + step])
        return result

    def _walk(self, x: Array) -> Array:
        """All rows through all trees at once, level by level."""
        node = np.tile(self.starts, len(x))
        row = np.repeat(np.arange(len(x)) * x.shape[1], self.trees)
        values = np.ascontiguousarray(x).reshape(-1)
        active = np.flatnonzero(self.test[node] >= 0)
        while len(active):
            at = node[active]
            tests = self.test[at]
            left = self.tests.passes(tests, values[row[active] + self.tests.inputs[tests]])
            moved = np.where(left, at + 1, self.right[at])
            node[active] = moved
            active = active[self.test[moved] >= 0]
        return self.leaf[node].reshape(len(x), self.trees)


def _width(tests: int) -> int:
    width = max(1, (tests - 1).bit_length())
    if width > _WIDEST:
        raise RecpruneError(f"an ensemble may make up to {1 << _WIDEST:,} different tests, this one makes {tests:,}")
    return width
