"""What the commands share: the options, the consoles, and how progress is shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from recprune.pipeline.run import Run

__all__ = ["Config", "Runs", "TaskName", "console", "open_run", "progress", "results", "verdict", "working"]

# Results go to stdout; what happens, and errors, to stderr. A slice may be called country:canada: or [/new] books.
console = Console(highlight=False, emoji=False, markup=False)
progress = Console(highlight=False, emoji=False, markup=False, stderr=True)

Config = Annotated[Path, typer.Argument(help="YAML of the run, such as examples/books.yaml.", show_default=False)]
Runs = Annotated[Path, typer.Option("--runs", help="Folder for results; those of a run lie in a folder of its name.")]
TaskName = Annotated[str, typer.Option("--task", help="Only this task of the run. [default: all]", show_default=False)]


def open_run(config: Path, runs: Path) -> Run:
    """The run of a configuration."""
    from recprune.pipeline.config import read_config
    from recprune.pipeline.run import Run

    return Run(read_config(config), runs)


@contextmanager
def working(run: Run) -> Iterator[Run]:
    """Show what happens in a run, in one moving line and a line for each finished stage."""
    with progress.status("starting", spinner="dots") as status:

        def say(task: str, line: str) -> None:
            said = Text.assemble((task, "bold"), f"  {line}")
            if ": done in " in line or line.endswith("as before") or not progress.is_terminal:
                progress.print(said)
            else:
                status.update(said)

        run.say = say
        yield run


def results(run: Run, task: str, *stages: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Do stages for one task or all; give the name of each with what they found, while no line moves."""
    for name in [task] if task else list(run.config.tasks):
        found: dict[str, Any] = {}
        with working(run):
            for stage in stages:
                found |= run.stage(name, stage)
        yield name, found


def verdict(rule: Mapping[str, Any], where: str = "") -> Text:
    """Whether a rule of a gate holds, in a line."""
    said, colour = ("passed", "green") if rule["passed"] else ("failed", "red")
    drops = f"dropped by {rule['drop']:.4f}, at worst {rule['worst']:.4f}"
    return Text.assemble((said, colour), f"{where}: {rule['rule']} ({drops})")
