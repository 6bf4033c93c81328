"""DCN-v2 over tables of ids and statistics (Wang, Shivanna, Cheng, Jain, Lin, Hong and Chi, WWW 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recprune.recommenders.features import Features
from recprune.recommenders.tables import ModelSettings, TableModel

__all__ = ["Dcn"]


class Dcn(TableModel):
    """Cross layers beside a deep tower, both over all factors and statistics, and the sum of all biases.

    logit = output([cross, deep]) + sum of biases, where with x0 = [factors, statistics] each cross layer computes
    x <- x0 * (W x + b) + x.
    """

    def __init__(self, features: Features, settings: ModelSettings) -> None:
        super().__init__(features, settings)
        width = self.inputs
        cross = [nn.Linear(width, width) for _ in range(settings.cross)]
        for layer in cross:
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)
        self.cross = nn.ModuleList(cross)
        sizes = (width, *settings.deep)
        self.deep = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.output = nn.Linear(width + sizes[-1], 1)

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Logits, shape (batch,)."""
        factors, biases, statistics = self.read(batch)
        first = torch.cat([*factors, *statistics], dim=1)
        crossed = deep = first
        for layer in self.cross:
            crossed = first * layer(crossed) + crossed
        for layer in self.deep:
            deep = F.dropout(F.relu(layer(deep)), self.settings.dropout, self.training)
        logit = self.output(torch.cat([crossed, deep], dim=1))
        total: Tensor = logit + self.total(biases)
        return total.squeeze(1)
