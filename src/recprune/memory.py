"""How much memory there is, asked before an allocation that cannot succeed."""

from __future__ import annotations

import os
from pathlib import Path

from recprune.errors import RecpruneError

__all__ = ["free_bytes", "require"]

_MEMINFO = Path("/proc/meminfo")


def free_bytes() -> int | None:
    """Bytes that can be had without swapping; None where this system does not say."""
    try:
        for line in _MEMINFO.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
        return int(os.sysconf("SC_AVPHYS_PAGES")) * int(os.sysconf("SC_PAGE_SIZE"))
    except (OSError, ValueError, IndexError, AttributeError):
        return None


def require(needed: int, what: str, instead: str) -> None:
    """Raise RecpruneError, with the numbers, where `what` needs more bytes than are free; `instead`: what could be done."""
    free = free_bytes()
    if free is not None and needed > free:
        raise RecpruneError(f"{what} needs {needed / 1e9:,.1f} GB of memory, {free / 1e9:,.1f} GB are free; {instead}")
