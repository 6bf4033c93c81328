"""Deterministic splits: a row's part depends on its ids and the seed only, never on the order of the rows.

The hash is our own, so that it is the same on every machine and with every version of every library: FNV-1a (64 bits)
over the UTF-8 bytes of the id, mixed by the finalizer of splitmix64 (Steele and others, 2014). Integer ids are hashed
as their decimal text, so `7` and `"7"` fall into the same part.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recprune.data.log import Log
from recprune.errors import RecpruneError

__all__ = ["PARTS", "hash_ids", "hold_out_per_user", "labels_at_least", "split_by_hash", "split_by_time"]

PARTS = ("train", "valid", "test")
"""The three parts, as every split names them."""

_FNV_OFFSET, _FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of splitmix64: a bijection on 64 bits."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _seeded(seed: int) -> NDArray[np.uint64]:
    return _mix(np.array([seed & 0xFFFFFFFFFFFFFFFF], np.uint64))


def hash_ids(ids: pl.Series, seed: int = 0) -> NDArray[np.uint64]:
    """Hash ids (text or integers) to 64 bits: shape (rows,).

    >>> int(hash_ids(pl.Series(["a"]))[0]) == int(hash_ids(pl.Series(["b", "a"]))[1])
    True
    """
    if ids.null_count():
        raise RecpruneError(f"column {ids.name!r} has {ids.null_count()} missing ids")
    codes, unique = _codes(ids.cast(pl.String))
    texts = [text.encode() for text in unique]
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    order = np.argsort(-lengths, kind="stable")  # longest first: those still being read are a prefix
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])[order] if len(texts) else lengths
    stream = np.frombuffer(b"".join(texts), np.uint8)
    sizes = lengths[order]
    state = np.full(len(texts), _FNV_OFFSET, np.uint64)
    for position in range(int(sizes[0]) if len(sizes) else 0):
        active = int(np.searchsorted(-sizes, -position, side="left"))
        state[:active] = (state[:active] ^ stream[starts[:active] + position]) * _FNV_PRIME
    result = np.empty_like(state)
    result[order] = _mix(state ^ _seeded(seed))
    return result[codes]


def _codes(ids: pl.Series) -> tuple[NDArray[np.int64], list[str]]:
    unique = ids.unique(maintain_order=True)
    table = pl.DataFrame({"id": unique, "code": np.arange(len(unique))})
    codes = pl.DataFrame({"id": ids}).join(table, on="id", how="left", maintain_order="left")["code"]
    return codes.to_numpy(), unique.to_list()


def _pair_hash(frame: pl.DataFrame, seed: int) -> NDArray[np.uint64]:
    """Hash (user, item): not symmetric, so that (1, 2) and (2, 1) differ."""
    return _mix(_mix(hash_ids(frame["user"], seed)) ^ hash_ids(frame["item"], seed))


def _unit(hashes: NDArray[np.uint64]) -> NDArray[np.float64]:
    """The upper 53 bits as a number in [0, 1)."""
    return (hashes >> np.uint64(11)).astype(np.float64) * np.float64(2.0**-53)


def _frame(data: Log | pl.DataFrame, *columns: str) -> pl.DataFrame:
    frame = data.interactions if isinstance(data, Log) else data
    if missing := [name for name in columns if name not in frame.columns]:
        raise RecpruneError(f"cannot split: no column {missing[0]!r}; columns are: {', '.join(frame.columns)}")
    return frame


def _check_fractions(fractions: Sequence[float]) -> None:
    if len(fractions) != 3 or not all(each > 0 for each in fractions) or abs(sum(fractions) - 1) > 1e-9:
        raise RecpruneError(f"fractions must be three positive numbers that sum to 1, got {tuple(fractions)}")


def _named(codes: NDArray[np.integer]) -> NDArray[np.str_]:
    """Names of the parts, each of which must have a row."""
    counts = np.bincount(codes, minlength=3)
    if not counts[:3].all():
        empty = PARTS[int(np.argmin(counts[:3]))]
        raise RecpruneError(f"split {empty!r} is empty: {len(codes):,} rows are too few for these fractions")
    names: NDArray[np.str_] = np.array([*PARTS, "none"])
    return np.take(names, codes)


def split_by_hash(
    data: Log | pl.DataFrame, fractions: Sequence[float] = (0.8, 0.1, 0.1), seed: int = 0
) -> NDArray[np.str_]:
    """Split rows by a hash of (user, item): an array of 'train', 'valid' and 'test', shape (rows,).

    All rows of one pair fall into one part. The parts have about the fractions asked for, not exactly.

    Raises `RecpruneError` on a missing column, bad fractions, or a part without rows.
    """
    _check_fractions(fractions)
    unit = _unit(_pair_hash(_frame(data, "user", "item"), seed))
    return _named(np.searchsorted(np.cumsum(fractions)[:2], unit, side="right"))


def hold_out_per_user(
    data: Log | pl.DataFrame,
    fraction: float = 0.2,
    seed: int = 0,
    min_interactions: int = 5,
    *,
    latest: bool = False,
) -> NDArray[np.str_]:
    """Hold out a fraction of each user's items, in the order of a hash: half 'valid', half 'test'.

    With `latest` the order is that of `time`, and of the hash among items of one time: the last items are 'test', those
    before them 'valid'. The rest is 'train'. Counts are of distinct items and rounded to the nearest; at least one is held
    out and one is kept; where an odd number is held out, a hash of the user says which half gets one more. Rows of users
    with fewer than `min_interactions` items are 'none': in no part. Shape (rows,).

    Raises `RecpruneError` on a missing column, a fraction outside (0, 1), or a part without rows.
    """
    if not 0 < fraction < 1:
        raise RecpruneError(f"fraction must be in (0, 1), got {fraction}")
    if min_interactions < 2:
        raise RecpruneError(
            f"min_interactions must be at least 2 (one is held out, one is kept), got {min_interactions}"
        )
    frame = _frame(data, "user", "item", *(["time"] if latest else []))
    users = hash_ids(frame["user"], seed)
    ranked = pl.DataFrame({"user": frame["user"], "hash": _pair_hash(frame, seed), "odd": users & np.uint64(1)})
    # An item that a user took twice has the time of the first; what is drawn by hash has no time.
    times = _times(frame) if latest else pl.repeat(0, len(frame), eager=True)
    ranked = ranked.with_columns(time=times).with_columns(pl.col("time").min().over("user", "hash"))
    order = ranked.unique(["user", "hash"]).sort("user", "time", "hash", descending=[False, latest, False])
    order = order.select("user", "hash", rank=pl.int_range(pl.len()).over("user"), count=pl.len().over("user"))
    ranked = ranked.join(order, on=["user", "hash"], how="left", maintain_order="left").with_columns(
        pl.col("rank", "count").cast(pl.Int64)
    )
    if not (ranked["count"] >= min_interactions).any():
        raise RecpruneError(f"no user has {min_interactions} items; nothing can be held out")
    held = (pl.col("count") * fraction + 0.5).floor().cast(pl.Int64).clip(1, pl.col("count") - 1)
    first = (held + pl.col("odd").cast(pl.Int64)) // 2
    rank, few = pl.col("rank"), pl.col("count") < min_interactions
    one, other = (2, 1) if latest else (1, 2)
    code = pl.when(few).then(3).when(rank < first).then(one).when(rank < held).then(other).otherwise(0)
    return _named(ranked.select(code=code)["code"].to_numpy())


def split_by_time(data: Log | pl.DataFrame, fractions: Sequence[float] = (0.8, 0.1, 0.1)) -> NDArray[np.str_]:
    """Split rows by `time`: the earliest are 'train', the latest 'test'; rows of one time stay together. Shape (rows,).

    Raises `RecpruneError` on a missing column, missing times, bad fractions, or a part without rows.
    """
    _check_fractions(fractions)
    values = _times(_frame(data, "time")).to_numpy()
    if not len(values):
        return _named(np.zeros(0, np.int64))
    cuts = np.ceil(np.cumsum(fractions)[:2] * len(values) - 1e-6).astype(np.int64) - 1
    return _named(np.searchsorted(np.sort(values)[cuts.clip(0)], values, side="left"))


def _times(frame: pl.DataFrame) -> pl.Series:
    time = frame["time"]
    if missing := time.null_count() + (int(time.is_nan().sum()) if time.dtype.is_float() else 0):
        raise RecpruneError(f"cannot split by time: {missing} rows have no time")
    return time.to_physical()


def labels_at_least(ratings: pl.Series, threshold: float, split: NDArray[np.str_] | None = None) -> NDArray[np.float32]:
    """Label ratings: 1 where they reach the threshold, else 0. Shape (rows,).

    Raises `RecpruneError` where the labels, or those of one part of `split`, are all of one class: nothing can be
    learnt or measured there.
    """
    if bad := ratings.null_count() + int((~ratings.cast(pl.Float64).drop_nulls().is_finite()).sum()):
        raise RecpruneError(f"column {ratings.name!r} has {bad} ratings that are missing or not finite")
    labels = (ratings >= threshold).cast(pl.Float32).to_numpy()
    for part in (None,) if split is None else PARTS:
        mine = labels if part is None or split is None else labels[split == part]
        if len(mine) and mine.min() == mine.max():
            where = "" if part is None else f" in {part!r}"
            raise RecpruneError(
                f"labels are of one class{where}: all {len(mine):,} are {int(mine[0])} at threshold {threshold:g};"
                f" all ratings run from {ratings.min()!s} to {ratings.max()!s}"
            )
    return labels
