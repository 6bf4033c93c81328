"""What the commands share: the options, the console, and how progress is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from recprune.pipeline.run import Run

__all__ = ["Config", "Runs", "TaskName", "console", "opened", "tasks_of"]

console = Console(highlight=False, emoji=False)  # a slice may be called country:canada:

Config = Annotated[Path, typer.Argument(help="YAML of the run, such as examples/books.yaml.", show_default=False)]
Runs = Annotated[Path, typer.Option("--runs", help="Folder for results; those of a run lie in a folder of its name.")]
TaskName = Annotated[str, typer.Option("--task", help="Only this task of the run. [default: all]", show_default=False)]


@contextmanager
def opened(config: Path, runs: Path) -> Iterator[Run]:
    """The run of a configuration, with what happens shown in one moving line and a line for each finished stage."""
    from recprune.pipeline.config import read_config
    from recprune.pipeline.run import Run

    with console.status("starting", spinner="dots") as status:

        def say(task: str, line: str) -> None:
            if ": done in " in line or line.endswith("as before") or not console.is_terminal:
                console.print(f"[bold]{task}[/bold]  {line}")
            else:
                status.update(f"[bold]{task}[/bold]  {line}")

        yield Run(read_config(config), runs, say)


def tasks_of(run: Run, task: str, stage: str, show: Callable[[str, dict[str, object]], None]) -> None:
    """Do a stage for one task or all, and show each result."""
    for name in [task] if task else list(run.config.tasks):
        show(name, run.stage(name, stage))
