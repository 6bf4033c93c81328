"""Item-item models: one square matrix, and how often each item was read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from recprune.adapters.histories import item_products
from recprune.context import Context
from recprune.errors import RecpruneError
from recprune.recommenders.ease import ItemItem
from recprune.recommenders.next_item_data import NextItemData, item_snapshot
from recprune.snapshot import Snapshot
from recprune.weights import Weights

__all__ = ["ItemAdapter"]


class ItemAdapter:
    """Reads and rebuilds `ItemItem`s."""

    def read(self, model: ItemItem) -> Snapshot:
        """The matrix, the popularity, and the graph that scores a history."""
        return item_snapshot(model.item_weights, model.shares, model.ids)

    def rebuild(self, model: ItemItem, weights: Weights) -> ItemItem:
        """The same items with another matrix."""
        shares = weights["popularity"].value.decode()[: len(model.ids)].reshape(-1)
        return replace(model, item_weights=weights["item_weights"].value, shares=shares)

    def context(self, model: ItemItem, data: NextItemData | None, seed: int, say: Callable[[str], None]) -> Context:
        """Readers of each item, each a user of its own, and with data the products of items that refits need."""
        if data is None:
            return Context(seed=seed, say=say)
        if not isinstance(data, NextItemData):
            raise RecpruneError(f"the data of this model is a NextItemData, got {type(data).__name__}")
        counts = np.append(data.counts[: data.catalogue], 0)
        products = item_products(data.user_items, say)
        return Context(
            {"item": counts}, users={"item": counts}, gram=products, seed=seed, say=say, given="a model in closed form"
        )

    def check(self, model: ItemItem, weights: Weights, data: Any) -> None:
        """Nothing to check: the only structure is the items themselves."""
