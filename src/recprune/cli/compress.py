"""`recprune compress`: the smaller models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table

from recprune.cli.common import Config, Runs, TaskName, console, opened, tasks_of

__all__ = ["compress"]


def compress(config: Config, task: TaskName = "", runs: Runs = Path("runs")) -> None:
    """Apply every recipe of each task to its original, and write the artifacts.

    The recipe to ship becomes `<task>/artifact/`. The plan says of every part how it is stored now, or why it is as it was.
    """

    def show(name: str, found: dict[str, Any]) -> None:
        shipped = work.config.tasks[name].ship
        table = Table("part", "before", "after", "how", title=f"{name}: {shipped}")
        for line in sorted(found[shipped]["plan"], key=lambda entry: -entry["bytes_before"]):
            table.add_row(line["part"], f"{line['bytes_before']:,}", f"{line['bytes_after']:,}", line["how"])
        console.print(table)
        for recipe, result in found.items():
            valid = ", ".join(f"{metric} {value:.4f}" for metric, value in result["valid"].items())
            console.print(f"[bold]{recipe}[/bold]: {result['size']['disk_bytes']:,} bytes; on validation {valid}")

    with opened(config, runs) as work:
        tasks_of(work, task, "compress", show)
