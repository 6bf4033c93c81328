"""`recprune run`: everything, end to end."""

from __future__ import annotations

from pathlib import Path

import typer

from recprune.cli.common import Config, Runs, console, open_run, working

__all__ = ["run"]


def run(config: Config, runs: Runs = Path("runs")) -> None:
    """Train, compress, evaluate and report everything in a YAML.

    Writes `<task>/artifact/` for each task, `summary.json` and `report.html` into the run's folder, and prints a table.
    Finished stages are kept: after a change or an interruption only what is affected is done again. The exit status is 1
    where a task fails its gate.
    """
    from recprune.report import summary_table, write_report

    with working(open_run(config, runs)) as work:
        summary = work.summary()
        write_report(summary, work.folder / "report.html")
    console.print(summary_table(summary))
    console.print(f"report: {work.folder / 'report.html'}", soft_wrap=True)
    if not all(task["gate"]["passed"] for task in summary["tasks"].values()):
        raise typer.Exit(1)
