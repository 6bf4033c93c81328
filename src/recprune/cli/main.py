"""The `recprune` command."""

from __future__ import annotations

import sys

import typer
from rich.markup import escape

from recprune.cli.analyze import analyze
from recprune.cli.common import console
from recprune.cli.compress import compress
from recprune.cli.data import data
from recprune.cli.evaluate import evaluate
from recprune.cli.report import report
from recprune.cli.run import run
from recprune.cli.train import train
from recprune.errors import RecpruneError

__all__ = ["app", "main"]

app = typer.Typer(
    help="Make trained recommender models small and fast, prove that they are still good, ship one artifact.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
for command in (run, data, train, analyze, compress, evaluate, report):
    app.command()(command)


def main() -> None:
    """Run the command line; an error that the user can mend is one line, and a status of 2."""
    try:
        app(standalone_mode=True)
    except RecpruneError as error:
        console.print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        console.print("interrupted: finished stages are kept, the same command goes on from there")
        sys.exit(130)
    except MemoryError:
        console.print("[bold red]error:[/] not enough memory")
        sys.exit(2)


if __name__ == "__main__":
    main()
