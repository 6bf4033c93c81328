"""Models that read a history and score every item: what the two-tower model and SASRec share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from recprune.recommenders.device import device_of, moved

__all__ = ["SequenceModel", "padded"]

Array = npt.NDArray[Any]


class SequenceModel(nn.Module):
    """Base of the two-tower model and SASRec: the score of an item is its vector times the user's.

    `items` (n + 1, width): a row for each item, that of unknown ids last; it is read for the history and for what is scored,
    so there is one table and not two. `popularity` (n + 1, 1): the share of users who took the item, which answers where
    there is no history. `ids` (n,): of the items. `length`: how many of the latest items a history counts.

    Rows of histories are (batch, time), the latest item last, padded in front with n.
    """

    popularity: Tensor

    def __init__(self, ids: Array, shares: Array, width: int, length: int) -> None:
        super().__init__()
        self.ids, self.length = ids, length
        self.items = nn.Parameter(torch.randn(len(ids) + 1, width) * 0.02)
        shared = torch.from_numpy(np.append(shares, 0).astype(np.float32))
        self.register_buffer("popularity", shared[:, None])

    def user_vectors(self, rows: Tensor) -> Tensor:
        """(batch, time, width): at each time, of the user with the history up to there."""
        raise NotImplementedError

    def item_vectors(self) -> Tensor:
        """(n + 1, width)."""
        raise NotImplementedError

    def forward(self, rows: Tensor, at: Tensor) -> Tensor:
        """Scores (asked, n + 1) at the flat places `at` of (batch, time)."""
        scores: Tensor = self.user_vectors(rows).flatten(0, 1)[at] @ self.item_vectors().T
        return scores

    @torch.no_grad()
    def inherit(self, older: SequenceModel) -> None:
        """Take the weights of a model that was trained on more histories, some of which are to be forgotten.

        Each item takes its row, drawn to a fresh one by the share of its readers who are gone, as popularity tells it.
        """
        rows = {item: row for row, item in enumerate(older.ids.tolist())}
        known = [(row, rows[item]) for row, item in enumerate(self.ids.tolist()) if item in rows]
        mine, theirs = (torch.tensor(side, dtype=torch.int64) for side in (list(zip(*known, strict=True)) or ((), ())))
        left = (self.popularity[mine] / older.popularity[theirs].clamp(min=1e-12)).clamp(max=1.0)
        self.items[mine] += left * (older.items[theirs] - self.items[mine])
        layers = {k: v for k, v in older.state_dict().items() if k not in ("items", "popularity")}
        self.load_state_dict(layers, strict=False)

    @torch.no_grad()
    def scores(self, histories: Sequence[Array], batch: int = 256) -> npt.NDArray[np.float32]:
        """Scores (histories, n) of lists of item rows, the latest last; popularity where a list is empty."""
        self.eval()
        found = np.repeat(self.popularity[:-1].cpu().numpy().T, len(histories), axis=0)
        some = [i for i, history in enumerate(histories) if len(history)]
        for start in range(0, len(some), batch):
            part = some[start : start + batch]
            rows = padded([histories[i][-self.length :] for i in part], len(self.ids))
            last = torch.arange(1, len(part) + 1) * rows.shape[1] - 1
            found[part] = self(*moved((rows, last), device_of(self)))[:, :-1].cpu().numpy()
        return found


def padded(histories: Sequence[Array], fill: int) -> Tensor:
    """(batch, time): histories of different lengths, `fill` in front of the shorter ones."""
    rows = np.full((len(histories), max(map(len, histories))), fill, np.int64)
    for row, history in zip(rows, histories, strict=True):
        row[len(row) - len(history) :] = history
    return torch.from_numpy(rows)
