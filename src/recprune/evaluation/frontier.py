"""Size against quality: the advantage over what could be trained small from scratch."""

from collections.abc import Mapping, Sequence
from typing import Any

from recprune.errors import RecpruneError

__all__ = ["advantage"]


def advantage(
    frontier: Sequence[Mapping[str, Any]], metric: str, drop: float, *, higher_is_better: bool = True
) -> dict[str, Any] | None:
    """Bytes of the smallest peer at equal quality / our bytes: one entry of `advantage` in summary.json.

    `frontier` as in summary.json: points of kind `ours` or `peer` with `disk_bytes` and `differences` to the original.
    On both sides the smallest point counts whose value is worse than the original's by at most `drop`. None where one
    side has no such point.

    >>> ours = {"name": "96x", "kind": "ours", "disk_bytes": 10, "differences": {"auc": {"value": -0.001}}}
    >>> peer = {"name": "width 2", "kind": "peer", "disk_bytes": 25, "differences": {"auc": {"value": 0.0}}}
    >>> advantage([ours, peer], "auc", 0.001)["value"]
    2.5
    """
    if drop < 0:
        raise RecpruneError(f"drop must be 0 or more, got {drop}")
    sign = 1.0 if higher_is_better else -1.0
    best: dict[str, Mapping[str, Any]] = {}
    for point in frontier:
        difference = point["differences"].get(metric)
        if difference is None or sign * difference["value"] < -drop:
            continue
        kind = point["kind"]
        if kind not in best or point["disk_bytes"] < best[kind]["disk_bytes"]:
            best[kind] = point
    if set(best) != {"ours", "peer"}:
        return None
    ours, peer = best["ours"], best["peer"]
    return {
        "metric": metric,
        "drop": drop,
        "ours": ours["name"],
        "ours_bytes": ours["disk_bytes"],
        "peer": peer["name"],
        "peer_bytes": peer["disk_bytes"],
        "value": peer["disk_bytes"] / ours["disk_bytes"],
    }
