"""Factor models without a table of users: a user's factors are solved from the history when they are asked for."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from recprune.errors import RecpruneError
from recprune.graph import Graph, Op
from recprune.runtime.solve import solve_users
from recprune.snapshot import Snapshot
from recprune.weights import Dense, Encoding, LowRank, Param, Weights

__all__ = ["FactorModel", "Fold", "factor_snapshot", "narrow", "users_for"]

Array = npt.NDArray[Any]
_FITTED_ON = 500  # users whose trained factors a fold is fitted to


@dataclass(frozen=True)
class Fold:
    """How a user is folded in: what every item weighs, what a read one weighs beyond that, the score that a read item is
    to get, and the penalty of the factors (`recprune.runtime.solve` has the formula).

    `Fold.confidence(c, l2)` is the step of alternating least squares (Hu, Koren, Volinsky 2008); `Fold()` the projection
    on the factors, as for a truncated SVD; `Fold.fitted` comes nearest to factors of users that were trained otherwise.
    """

    whole: float = 1.0
    read: float = 0.0
    target: float = 1.0
    l2: float = 1e-6

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            least = "above 0" if name in ("target", "l2") else "0 or more"
            if not (np.isfinite(value) and (value > 0 or (value == 0 and name in ("whole", "read")))):
                raise RecpruneError(f"{name} of a fold must be {least}, got {value!r}")
            object.__setattr__(self, name, float(value))

    @classmethod
    def confidence(cls, confidence: float, l2: float) -> Fold:
        """Of implicit feedback: a read item counts `confidence` times as much as one that was not read."""
        if not confidence >= 1:
            raise RecpruneError(f"the confidence of a read item must be 1 or more, got {confidence!r}")
        return cls(1.0, confidence - 1.0, 1.0, max(l2, 1e-6))

    @classmethod
    def fitted(cls, item_factors: Array, user_factors: Array, user_items: Any) -> Fold:
        """The fold whose factors have the least squared distance to the trained `user_factors` (users, width).

        `user_items`: scipy CSR, users x items, what they were trained on. Tried on 500 users that read something: weights
        and penalties that are powers of ten, each with the target that fits best.
        """
        rows, trained = _known_users(user_items, user_factors)
        table, offsets = Dense(_with_unknown(item_factors)), rows.indptr.astype(np.int64)
        scale = float(np.square(item_factors).sum(axis=1).mean())
        best: tuple[float, Fold] | None = None
        for whole, l2 in product((0.0, 0.001, 0.01, 0.1, 1.0), (0.1, 1.0, 10.0, 100.0)):
            fold = cls(whole, 1.0, 1.0, l2 * scale)
            found = solve_users(table, rows.indices.astype(np.int64), offsets, **asdict(fold)).astype(np.float64)
            target = float((found * trained).sum() / max(np.square(found).sum(), 1e-30))
            error = float(np.square(target * found - trained).sum())
            if target > 0 and (best is None or error < best[0]):
                best = error, cls(whole, 1.0, target, l2 * scale)
        if best is None:
            raise RecpruneError("no fold comes near these factors of users: are they of these items and this matrix?")
        return best[1]


@dataclass(frozen=True, eq=False)
class FactorModel:
    """Scores of a history: its folded-in factors times those of each item, plus `bias`.

    `item_factors`: (items + 1, width), the last row that of unknown ids. `ids`, `shares`, `bias`: (items,); `shares` is the
    popularity that answers where there is no history.
    """

    item_factors: Encoding
    ids: Array
    shares: Array
    fold: Fold
    bias: Array | None = None

    @classmethod
    def of(
        cls, item_factors: Array, ids: Any, fold: Fold, *, shares: Array | None = None, bias: Array | None = None
    ) -> FactorModel:
        """From plain arrays: `item_factors` (items, width), an id for each item.

        Raises RecpruneError where they do not fit together, or hold NaN or infinity.
        """
        factors, names = np.asarray(item_factors, dtype=np.float32), np.asarray(ids)
        if factors.ndim != 2 or not factors.size:
            raise RecpruneError(f"item factors are a matrix, items x width, got shape {factors.shape}")
        given = {"ids": names, "shares": np.zeros(len(factors)) if shares is None else np.asarray(shares)}
        given |= {} if bias is None else {"bias": np.asarray(bias)}
        for name, value in given.items():
            if value.shape != (len(factors),):
                raise RecpruneError(f"{name} of {len(factors)} items have shape {value.shape}")
        floats = {name: value.astype(np.float32) for name, value in given.items() if name != "ids"}
        return cls(Dense(_with_unknown(factors)), names.astype(np.str_), fold=fold, **floats)

    def users(self, histories: Any) -> npt.NDArray[np.float32]:
        """Factors (users, width) of histories, scipy CSR of ones, users x items."""
        rows, offsets = histories.indices.astype(np.int64), histories.indptr.astype(np.int64)
        return solve_users(self.item_factors, rows, offsets, **asdict(self.fold))

    def scores(self, histories: Any) -> npt.NDArray[np.float32]:
        """Scores (users, items) of histories, scipy CSR of ones, users x items."""
        found: npt.NDArray[np.float32] = self.users(histories) @ self.item_factors.decode()[:-1].T
        return found if self.bias is None else found + self.bias


def factor_snapshot(
    item_factors: Encoding, ids: Array, shares: Array, fold: Fold, bias: Array | None = None
) -> Snapshot:
    """A factor model as arrays and a graph; shapes as those of `FactorModel`."""
    unknown = (len(ids),)

    def by_item(values: Array) -> Dense:
        return Dense(np.append(np.asarray(values, dtype=np.float32), np.float32(0))[:, None])

    params = {"item_factors": Param(("item", "factor"), item_factors, unknown)}
    params["popularity"] = Param(("item", ""), by_item(shares), unknown, trained=False)
    ops = [
        Op("history", "history", ("items",), attrs={"vocabulary": "item"}),
        Op("solve", "user", ("history",), ("item_factors",), asdict(fold)),
        Op("every", "all items", (), ("item_factors",)),
        Op("dot", "match", ("user", "all items")),
    ]
    if bias is not None:
        params["bias"] = Param(("item", ""), by_item(bias), unknown)
        ops.append(Op("shift", "scores", ("match",), ("bias",)))
    graph = Graph(("items",), tuple(ops), ops[-1].output, "item", "popularity")
    return Snapshot(Weights(params), graph, {"item": ids})


def narrow(value: Encoding) -> npt.NDArray[np.float32]:
    """The rows of a table as stored, as narrow as it is stored: a product of low rank is turned to its own directions.

    Scores and folded-in users are those of the whole table: lengths and products of rows stay what they were.
    """
    if not isinstance(value, LowRank):
        return value.decode()
    _, triangle = np.linalg.qr(value.right.decode().T.astype(np.float64))
    rows: npt.NDArray[np.float32] = (value.left.decode() @ triangle.T).astype(np.float32)
    return rows


def users_for(user_factors: Array, before: Array, after: Array) -> npt.NDArray[np.float32]:
    """Users' factors for items whose factors were `before` (items, width) and are `after`: the scores change least.

    The minimum of `|U before.T - V after.T|^2` over V, with a hair of ridge.
    """
    old, new = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    gram = new.T @ new
    gram[np.diag_indices(len(gram))] += 1e-9 * max(float(np.trace(gram)), 1e-30)
    turned: npt.NDArray[np.float32] = (user_factors @ np.linalg.solve(gram, new.T @ old).T).astype(np.float32)
    return turned


def _with_unknown(factors: Array) -> npt.NDArray[np.float32]:
    return np.concatenate([factors, np.zeros((1, factors.shape[1]))]).astype(np.float32)


def _known_users(user_items: Any, user_factors: Array) -> tuple[Any, Array]:
    from scipy.sparse import csr_array

    matrix, trained = csr_array(user_items), np.asarray(user_factors, dtype=np.float64)
    if matrix.shape[0] != len(trained):
        raise RecpruneError(f"factors of {len(trained)} users do not fit a matrix of {matrix.shape[0]} users")
    some = np.flatnonzero(np.diff(matrix.indptr))
    some = some[:: max(1, len(some) // _FITTED_ON)][:_FITTED_ON]
    return matrix[some], trained[some]
