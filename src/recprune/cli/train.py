"""`recprune train`: the original models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recprune.cli.common import Config, Runs, TaskName, console, opened, tasks_of

__all__ = ["train"]


def train(config: Config, task: TaskName = "", runs: Runs = Path("runs")) -> None:
    """Train the original model of each task, and write its artifact with nothing compressed.

    Choices (when to stop, which epoch to keep) are made on validation rows; the test is not read. Training that was
    interrupted goes on from its last epoch.
    """

    def show(name: str, found: dict[str, Any]) -> None:
        size = found["size"]["disk_bytes"]
        console.print(f"[bold]{name}[/bold]: {found['original']}; {size:,} bytes in {work.folder / name / 'original'}")

    with opened(config, runs) as work:
        tasks_of(work, task, "train", show)
