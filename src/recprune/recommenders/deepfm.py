"""DeepFM over tables of ids and statistics (Guo, Tang, Ye, Li and He, IJCAI 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recprune.recommenders.features import Features
from recprune.recommenders.tables import ModelSettings, TableModel

__all__ = ["DeepFm"]


class DeepFm(TableModel):
    """Products of all pairs of factors, a deep tower over factors and statistics, and the sum of all biases.

    logit = output([statistics, deep]) + fm(factors) + sum of biases.
    """

    def __init__(self, features: Features, settings: ModelSettings) -> None:
        super().__init__(features, settings)
        sizes = (self.inputs, *settings.deep)
        self.deep = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.output = nn.Linear(self.inputs - settings.width * len(self.tables) + sizes[-1], 1)

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Logits, shape (batch,)."""
        factors, biases, statistics = self.read(batch)
        deep = torch.cat([*factors, *statistics], dim=1)
        for layer in self.deep:
            deep = F.dropout(F.relu(layer(deep)), self.settings.dropout, self.training)
        logit = self.output(torch.cat([*statistics, deep], dim=1))
        if factors:
            width = max(factor.shape[1] for factor in factors)
            # Tables that were cut are zero in the columns that they lack.
            wide = torch.stack([F.pad(factor, (0, width - factor.shape[1])) for factor in factors])
            total, squares = wide.sum(0), wide.square().sum(0)
            logit = logit + 0.5 * (total.square() - squares).sum(1, keepdim=True)
        result: Tensor = logit + self.total(biases)
        return result.squeeze(1)
