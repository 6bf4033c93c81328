"""The task `next book`: what a reader reads next, judged on held-out items over the whole catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from recprune.data.log import Log
from recprune.data.splits import hold_out_per_user
from recprune.errors import RecpruneError
from recprune.graph import Graph, Op
from recprune.snapshot import Snapshot
from recprune.weights import Dense, Encoding, Param, Weights

__all__ = ["NextItemData", "item_snapshot", "next_item_data", "shares_of", "with_unknown"]


@dataclass(frozen=True, eq=False)
class NextItemData:
    """Histories and what was held out from them.

    `users`: ids, one a row. `items`: ids of all items, sorted text: first the `catalogue` items that models may recommend,
    then those that are too rare or never in training, which count as misses where they are held out.
    `counts`: training interactions of each item. `user_items`: CSR of ones, users x catalogue. `relevant`: for each part
    (`valid`, `test`) the held-out item rows of each user, perhaps none. `histories`: the catalogue rows of each user's
    training items, the oldest first where the log has times (`timed`), else in the order of their rows. `before_test`: the
    same with the items of validation behind them, where the log has times: what is known when the test is asked for.
    """

    users: npt.NDArray[Any]
    items: npt.NDArray[Any]
    catalogue: int
    counts: npt.NDArray[np.int64]
    user_items: Any
    relevant: dict[str, list[npt.NDArray[np.int64]]]
    histories: list[npt.NDArray[np.int64]]
    before_test: list[npt.NDArray[np.int64]]
    timed: bool

    def before(self, part: str) -> list[npt.NDArray[np.int64]]:
        """What is known of each user when `part` is asked for."""
        return self.before_test if part == "test" else self.histories

    def judged(self, part: str) -> tuple[npt.NDArray[np.int64], list[npt.NDArray[np.int64]]]:
        """Rows of the users with something held out in `part`, and what it is."""
        held = self.relevant[part]
        rows = np.array([i for i, items in enumerate(held) if len(items)], dtype=np.int64)
        return rows, [held[i] for i in rows]


def next_item_data(
    log: Log, *, fraction: float = 0.2, min_interactions: int = 5, min_reads: int = 10, seed: int = 0
) -> NextItemData:
    """Hold out `fraction` of the items of each user with `min_interactions`: half to validate, half to test.

    The catalogue is the items with at least `min_reads` training interactions, whatever their rating. Raises RecpruneError
    where none has.
    """
    from scipy.sparse import csr_array

    timed = "time" in log.interactions.columns
    part = hold_out_per_user(log, fraction, seed, min_interactions, latest=timed)
    rows = log.interactions.select("user", "item", *(["time"] if timed else [])).with_columns(part=pl.Series(part))
    rows = rows.sort("time", maintain_order=True) if timed else rows
    rows = rows.filter(pl.col("part") != "none").unique(["user", "item"], keep="first", maintain_order=True)
    counted = rows.group_by("item").agg(count=(pl.col("part") == "train").sum())
    counted = counted.with_columns(rare=pl.col("count") < min_reads).sort("rare", "item")
    users = rows["user"].unique().sort()
    catalogue = int((~counted["rare"]).sum())
    if not catalogue:
        raise RecpruneError(f"no item has {min_reads} training interactions; lower min_reads")
    user = rows.join(pl.DataFrame({"user": users}).with_row_index("row"), on="user", maintain_order="left")["row"]
    item = rows.join(counted.select("item").with_row_index("row"), on="item", maintain_order="left")["row"]
    u, i, name = user.to_numpy().astype(np.int64), item.to_numpy().astype(np.int64), rows["part"].to_numpy()
    train = (name == "train") & (i < catalogue)
    shape = (len(users), catalogue)
    user_items = csr_array((np.ones(int(train.sum()), np.float32), (u[train], i[train])), shape=shape)
    user_items.sort_indices()
    relevant = {}
    for which in ("valid", "test"):
        mine = np.flatnonzero(name == which)
        mine = mine[np.argsort(i[mine], kind="stable")]
        relevant[which] = _by_user(u[mine], i[mine], len(users))
    counts = counted["count"].to_numpy().astype(np.int64)
    known = train | ((name == "valid") & (i < catalogue)) if timed else train
    histories, before_test = (_by_user(u[of], i[of], len(users)) for of in (train, known))
    ids = counted["item"].to_numpy()
    return NextItemData(users.to_numpy(), ids, catalogue, counts, user_items, relevant, histories, before_test, timed)


def _by_user(user: npt.NDArray[np.int64], item: npt.NDArray[np.int64], users: int) -> list[npt.NDArray[np.int64]]:
    """Items of each user, in the order given."""
    order = np.argsort(user, kind="stable")
    return np.split(item[order], np.cumsum(np.bincount(user, minlength=users))[:-1])


def with_unknown(user_items: Any) -> Any:
    """One empty column more, the out-of-vocabulary row of an item-item model: fit on this what becomes a snapshot."""
    from scipy.sparse import csr_array

    users, items = user_items.shape
    return csr_array((user_items.data, user_items.indices, user_items.indptr), shape=(users, items + 1))


def shares_of(user_items: Any, scale: float = 0.8) -> npt.NDArray[np.float32]:
    """What popularity adds to a score: `scale` times the share of users who read the item, (items,)."""
    reads = np.asarray(user_items.sum(axis=0), dtype=np.float64).reshape(-1)
    shares: npt.NDArray[np.float32] = (scale * reads / max(user_items.shape[0], 1)).astype(np.float32)
    return shares


def item_snapshot(item_weights: Encoding, shares: npt.NDArray[Any], ids: npt.NDArray[Any]) -> Snapshot:
    """An item-item model as arrays and a graph: scores are the sum of the history's rows, plus `popularity`.

    `item_weights`: (items + 1, items + 1), the last row and column those of unknown ids. `shares`: (items,), what popularity
    adds to every score: it orders what the history says nothing about, and answers where there is no history.
    """
    popularity = np.append(np.asarray(shares, dtype=np.float32), np.float32(0))[:, None]
    weights = Weights(
        {
            "item_weights": Param(("item", "item"), item_weights, protected=(len(ids),)),
            "popularity": Param(("item", ""), Dense(popularity), protected=(len(ids),), trained=False),
        }
    )
    ops = (
        Op("history", "history", ("items",), attrs={"vocabulary": "item"}),
        Op("pool", "similar", ("history",), ("item_weights",), {"mode": "sum"}),
        Op("shift", "scores", ("similar",), ("popularity",)),
    )
    return Snapshot(weights, Graph(("items",), ops, "scores", "item", "popularity"), {"item": ids})
