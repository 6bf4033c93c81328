"""`recprune compress`: the smaller models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from recprune.cli.common import Config, Runs, TaskName, console, opened, tasks_of

__all__ = ["compress"]


def compress(
    config: Config,
    task: TaskName = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done; nothing is trained.")
    ] = False,
    runs: Runs = Path("runs"),
) -> None:
    """Apply every recipe of each task to its original, and write the artifacts.

    The recipe to ship becomes `<task>/artifact/`. The plan says of every part how it is stored now, or why it is as it was.
    """

    def show(name: str, found: dict[str, Any]) -> None:
        shipped = work.config.tasks[name].ship
        _table(f"{name}: {shipped}", found[shipped]["plan"])
        for recipe, result in found.items():
            valid = ", ".join(f"{metric} {value:.4f}" for metric, value in result["valid"].items())
            console.print(f"[bold]{recipe}[/bold]: {result['size']['disk_bytes']:,} bytes; on validation {valid}")

    def show_plan(name: str, found: dict[str, Any]) -> None:
        for recipe, planned in found.items():
            _table(f"{name}: {recipe}", planned["plan"])
            before, after = planned["bytes_before"], planned["bytes_after"]
            console.print(
                f"[bold]{recipe}[/bold]: {before:,} bytes would become {after:,}, {before / after:.1f} times fewer"
            )
            for line in planned["later"]:
                console.print(f"- not now: {line}")

    with opened(config, runs) as work:
        tasks_of(work, task, "plan" if dry_run else "compress", show_plan if dry_run else show)


def _table(title: str, plan: list[dict[str, Any]]) -> None:
    table = Table("part", "before", "after", "how", title=title)
    for line in sorted(plan, key=lambda entry: -entry["bytes_before"]):
        table.add_row(line["part"], f"{line['bytes_before']:,}", f"{line['bytes_after']:,}", line["how"])
    console.print(table)
