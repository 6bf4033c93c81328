"""`recprune train`: the original models."""

from __future__ import annotations

from pathlib import Path

from rich.text import Text

from recprune.cli.common import Config, Runs, TaskName, console, open_run, results

__all__ = ["train"]


def train(config: Config, task: TaskName = "", runs: Runs = Path("runs")) -> None:
    """Train the original model of each task, and write its artifact with nothing compressed.

    Choices (when to stop, which epoch to keep) are made on validation rows; the test is not read. Training that was
    interrupted goes on from its last epoch.
    """
    work = open_run(config, runs)
    for name, found in results(work, task, "train"):
        size = found["size"]["disk_bytes"]
        where = work.folder / name / "original"
        console.print(Text.assemble((name, "bold"), f": {found['original']}; {size:,} bytes in {where}"))
