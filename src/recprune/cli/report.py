"""`recprune report`: the page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recprune.cli.common import console

__all__ = ["report"]


def report(
    summary: Annotated[Path, typer.Argument(help="A run's summary.json.", show_default=False)],
    out: Annotated[
        Path, typer.Option(help="Where the page goes. [default: report.html beside it]", show_default=False)
    ] = Path(),
) -> None:
    """Write the page of a run from its summary.json, and print the table.

    One self-contained file: no script, nothing fetched.
    """
    from recprune.evaluation import read_summary
    from recprune.report import summary_table, write_report

    found = read_summary(summary)
    target = out if out != Path() else summary.with_name("report.html")
    write_report(found, target)
    console.print(summary_table(found))
    console.print(f"report: {target}", soft_wrap=True)
