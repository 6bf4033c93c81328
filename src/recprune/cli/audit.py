"""`recprune audit`: what does the model tell of the people it was trained on?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recprune.cli.common import Config, Runs, console, open_run, working

__all__ = ["audit"]


def audit(
    config: Config,
    task: Annotated[str, typer.Option(help="The task of the run whose models are attacked.", show_default=False)],
    shadows: Annotated[int, typer.Option(help="Shadow models to train; more make the attack stronger.", min=4)] = 16,
    rows: Annotated[int, typer.Option(help="Interactions to tell apart, half of them of test.", min=20)] = 10_000,
    users: Annotated[int, typer.Option(help="Users to tell apart, at most.", min=0)] = 500,
    min_users: Annotated[int, typer.Option(help="Count the rows of tables that rest on fewer users.", min=1)] = 5,
    workers: Annotated[int, typer.Option(help="Shadow models to train side by side.", min=1)] = 1,
    runs: Runs = Path("runs"),
) -> None:
    """Attack the original and the compressed model of a task alike, and say what is learned from either and from both.

    Was this interaction, was this user in the training data (membership inference, by the loss and by likelihood ratios with
    shadow models)? What country, what age group do the users' rows tell? How many rows rest on a handful of users?

    Shadow models are kept one by one under `runs/<name>/<task>/audit/`: the same command goes on after Ctrl-C or a kill, and
    more of them can be asked for later. There lies `audit.json`; where the run has a summary.json, its page gets a section.
    """
    from recprune.evaluation import read_summary, write_summary
    from recprune.pipeline.audit import audit_task
    from recprune.report import audit_table, write_report

    with working(open_run(config, runs)) as work:
        found = audit_task(
            work, task, shadows=shadows, rows=rows, users=users, min_users=min_users, workers=workers
        )  # fmt: skip
        folder = work.folder
    console.print(audit_table(found))
    console.print(f"audit: {folder / task / 'audit' / 'audit.json'}", soft_wrap=True)
    summary = folder / "summary.json"
    if summary.exists():
        whole = read_summary(summary)
        if task in whole["tasks"]:
            whole["tasks"][task]["privacy"] = found
            write_summary(whole, summary)
            write_report(whole, folder / "report.html")
            console.print(f"report: {folder / 'report.html'}", soft_wrap=True)
