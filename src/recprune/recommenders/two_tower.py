"""Two towers: one makes a vector of a history, the other of an item (Yi et al., RecSys 2019)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from recprune.recommenders.sequences import Array, SequenceModel

__all__ = ["TwoTower"]


class TwoTower(SequenceModel):
    """The user's tower reads the mean of the history's rows, the item's tower its row; each adds a layer of neurons."""

    def __init__(self, ids: Array, shares: Array, *, width: int = 64, length: int = 20, dropout: float = 0.3) -> None:
        super().__init__(ids, shares, width, length)
        self.dropout = dropout
        self.user_rise, self.user_fall = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.item_rise, self.item_fall = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def user_vectors(self, rows: Tensor) -> Tensor:
        """(batch, time, width)."""
        known = (rows != len(self.ids)).unsqueeze(-1)
        x = F.embedding(rows, self.items) * known
        mean = x.cumsum(1) / known.cumsum(1).clamp(min=1)
        return mean + self._layer(self.user_rise, self.user_fall, mean)

    def item_vectors(self) -> Tensor:
        """(n + 1, width)."""
        return self.items + self._layer(self.item_rise, self.item_fall, self.items)

    def _layer(self, rise: nn.Module, fall: nn.Module, x: Tensor) -> Tensor:
        hidden: Tensor = fall(F.dropout(F.relu(rise(x)), self.dropout, self.training))
        return hidden
