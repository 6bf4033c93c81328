"""The `recprune` command."""

from __future__ import annotations

import sys

import typer
from rich.text import Text

from recprune.cli.analyze import analyze
from recprune.cli.audit import audit
from recprune.cli.bom import bom
from recprune.cli.common import progress
from recprune.cli.compress import compress
from recprune.cli.data import data
from recprune.cli.evaluate import evaluate
from recprune.cli.forget import forget
from recprune.cli.keygen import keygen
from recprune.cli.recommend import recommend
from recprune.cli.report import report
from recprune.cli.run import run
from recprune.cli.search import search
from recprune.cli.sign import sign
from recprune.cli.train import train
from recprune.cli.verify import verify
from recprune.errors import RecpruneError, one_line

__all__ = ["app", "main"]

app = typer.Typer(
    help="Make trained recommender models small and fast, prove that they are still good, ship one artifact.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
for command in (
    run,
    data,
    train,
    analyze,
    compress,
    evaluate,
    search,
    audit,
    forget,
    report,
    recommend,
    keygen,
    sign,
    verify,
    bom,
):
    app.command()(command)


def main() -> None:
    """Run the command line; an error that the user can mend is one line, and a status of 2."""
    status, line = 2, ""
    try:
        app(standalone_mode=True)
        return
    except RecpruneError as error:
        line = str(error)
    except OSError as error:
        line = one_line(f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error))
    except MemoryError:
        line = "not enough memory"
    except KeyboardInterrupt:
        status = 130
    except SystemExit as ended:
        if ended.code != 130:  # which is what typer makes of Ctrl-C
            raise
        status = 130
    if line:
        progress.print(Text.assemble(("error:", "bold red"), f" {line}"), soft_wrap=True)
    else:
        said = "interrupted: finished stages are kept, the same command goes on from there"
        progress.print(said, soft_wrap=True)
    sys.exit(status)  # outside of `except`: the error holds what the work held open


if __name__ == "__main__":
    main()
