"""Proximal steps in the training of a torch model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from recprune.errors import RecpruneError
from recprune.recovery.sparsity import Part, Pool, Sparsity

__all__ = ["Shrinker"]

_TICKS = 100  # proximal steps in a training
_LEARN = 0.1  # how far a threshold may move between two of them, as a logarithm


class Shrinker:
    """Applies the proximal steps of a `Sparsity` to the leaves of a model, by name of their parameter.

    They come a hundred times in a training, each with the strength of all optimizer steps since the last. For rows that
    were not read in between this is the same as a step after every batch (lazy updates: Duchi and Singer 2009), and no
    batch has to touch a whole table.

    Under the penalty `threshold` the strengths of rows and columns against each other are learned: they grow where the
    gradient says that smaller values would lower the loss, and fall where it says that larger ones would.

    A row that has become equal to its anchor, the shared row, is read as that row: its gradient is the shared row's too.
    """

    def __init__(self, leaves: Mapping[str, Sequence[Tensor]], sparsity: Sparsity) -> None:
        self.sparsity, self.done = sparsity, 0.0
        self.leaves: dict[str, Tensor] = {}
        self.tied: list[tuple[Tensor, int, Tensor]] = []
        self.learned: dict[str, _Thresholds] = {}
        for part in (part for pool in sparsity.pools for part in pool.parts):
            found = leaves.get(part.name, ())
            if len(found) != 1:
                raise RecpruneError(
                    f"{part.name!r} cannot be trained to zeros: it is not stored as one array of floats"
                )
            (leaf,) = found
            _check(part, leaf)
            self.leaves[part.name] = leaf
            if sparsity.penalty == "threshold":
                self.learned[part.name] = _Thresholds(part, leaf)
            if part.anchor is not None:
                self.tied.append((leaf, part.anchor, torch.zeros(len(leaf), dtype=torch.bool, device=leaf.device)))

    @property
    def ramping(self) -> bool:
        """Whether zeros are still to come."""
        return not self.sparsity.reached(self.done)

    @torch.no_grad()
    def share_gradients_(self) -> None:
        """Learn thresholds from the gradients, and add those of tied rows to that of their anchor."""
        for thresholds in self.learned.values():
            thresholds.see_()
        for leaf, anchor, tied in self.tied:
            grad = leaf.grad
            if grad is None:
                continue
            if not grad.is_sparse:
                grad[anchor] += grad[tied].sum(0)
                continue
            grad = grad.coalesce()
            rows, values = grad.indices()[0], grad.values()
            more = values[tied[rows]].sum(0, keepdim=True)
            rows = torch.cat([rows, rows.new_tensor([anchor])])
            with torch.sparse.check_sparse_tensor_invariants(False):  # type: ignore[no-untyped-call]  # or it warns
                leaf.grad = torch.sparse_coo_tensor(rows[None], torch.cat([values, more]), leaf.shape)

    @torch.no_grad()
    def step_(self, done: float, *, last: bool) -> None:
        """The proximal step that is due when the share `done` of the training is over; `last` of an epoch always is."""
        if int(done * _TICKS) == int(self.done * _TICKS) and not last:
            return
        self.done = done
        for leaf, anchor, tied in self.tied:
            leaf[tied] = leaf[anchor].clone()  # the anchor has moved on
        for pool in self.sparsity.pools:
            self._shrink_(pool)
        for leaf, anchor, tied in self.tied:
            torch.all(leaf == leaf[anchor], dim=1, out=tied)
            tied[anchor] = False

    def _shrink_(self, pool: Pool) -> None:
        arrays = {part.name: self.leaves[part.name].detach().cpu().numpy() for part in pool.parts}
        norms = pool.norms(arrays)
        for part in pool.parts:
            if part.name in self.learned:
                norms = norms / self.learned[part.name].move_(pool.count)
        factor = self.sparsity.factors(norms, self.done)
        for name, array in pool.scaled(arrays, factor).items():
            leaf = self.leaves[name]
            leaf.copy_(torch.from_numpy(np.ascontiguousarray(array)).to(leaf.device))


def _check(part: Part, leaf: Tensor) -> None:
    size = leaf.numel() if part.axis is None else leaf.shape[part.axis]
    if part.axis is not None and len(part.unit) != size:
        raise RecpruneError(f"{part.name!r} has {size} positions in training, {len(part.unit)} in its plan")


class _Thresholds:
    """Soft thresholds of one parameter, learned as logarithms: of each row, and for single weights of each column."""

    def __init__(self, part: Part, leaf: Tensor) -> None:
        self.part, self.leaf = part, leaf
        shape = leaf.shape if part.axis is None else leaf.shape[:1]
        self.log = [torch.zeros(n, device=leaf.device) for n in shape]
        self._forget_()

    def _forget_(self) -> None:
        # Sums of gradient times value, and of its absolute value.
        self.seen = [(torch.zeros_like(log), torch.zeros_like(log)) for log in self.log]

    @torch.no_grad()
    def see_(self) -> None:
        """Take in the gradient of a batch."""
        grad = self.leaf.grad
        if grad is None:
            return
        rows, values = torch.arange(len(self.leaf), device=self.leaf.device), grad
        if grad.is_sparse:
            grad = grad.coalesce()
            rows, values = grad.indices()[0], grad.values()
        apart = self.leaf[rows]
        if self.part.anchor is not None:
            apart = apart - self.leaf[self.part.anchor]
        along = (values * apart).reshape(len(rows), -1)
        for total, part in zip(self.seen[0], (along.sum(1), along.abs().sum(1)), strict=True):
            total.index_add_(0, rows, part)
        if self.part.axis is None:
            for total, part in zip(self.seen[1], (along.sum(0), along.abs().sum(0)), strict=True):
                total.add_(part)

    def move_(self, count: int) -> npt.NDArray[np.float64]:
        """Move by what was seen since the last time, and give the threshold of each unit."""
        for log, (total, size) in zip(self.log, self.seen, strict=True):
            log.add_(_LEARN * total / size.clamp(min=1e-12))
        self._forget_()
        rows, *columns = (log.double().exp().cpu().numpy() for log in self.log)
        if columns:
            return np.outer(rows, columns[0]).reshape(-1)
        found, inside = np.ones(count), self.part.unit >= 0
        found[self.part.unit[inside]] = rows[inside]
        return found
