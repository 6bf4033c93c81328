"""`recprune forget`: users leave the log and every model of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recprune.cli.common import Config, Runs, console, open_run, working

__all__ = ["forget"]


def forget(
    config: Config,
    user: Annotated[list[str], typer.Option(help="Id of a user; may be given several times.", show_default=False)],
    key: Annotated[
        Path | None,
        typer.Option(help="Private key that signs what is new, where the YAML names none.", show_default=False),
    ] = None,
    models: Annotated[
        int,
        typer.Option(help="Models without the user to compare with, trained from scratch; 0 compares nothing.", min=0),
    ] = 4,
    runs: Runs = Path("runs"),
) -> None:
    """Remove users from the artifacts, vocabularies and caches of a run, and show that its models do not tell them apart.

    Models that learn by gradients are trained for one epoch more, without the users, and from scratch where a user is still
    told apart after that; others are fitted again. Recipes are applied again, artifacts signed again; searches and audits,
    which were made with the users, are removed.

    Until all is done the run is as it was, and the same command goes on after Ctrl-C or a kill.
    """
    from recprune.evaluation import read_summary
    from recprune.pipeline.forget import forget as work_on
    from recprune.report import forgetting_table, write_report

    with working(open_run(config, runs)) as work:
        found = work_on(work, user, models=models, key=key or "")
        folder = work.folder
    for name, task in found["tasks"].items():
        if "evidence" in task:
            console.print(forgetting_table(task["evidence"]))
        else:
            console.print(f"{name}: {task['how']}; nothing was compared")
    if (folder / "summary.json").exists() and found["forgotten"]:
        summary = read_summary(folder / "summary.json")
        write_report(summary, folder / "report.html")
        for name, task in summary["tasks"].items():
            if not task["gate"]["passed"]:
                console.print(f"{name} does not pass its gate any more: see {folder / 'report.html'}", style="red")
    for part in found["removed"]:
        console.print(f"removed, and not made again: {folder / part}", soft_wrap=True)
    for part in found["kept"]:
        console.print(f"left alone, none of recprune's: {folder / part}", soft_wrap=True)
    for file in found["files"]:
        console.print(f"still in {file}, which is not recprune's to change: delete the user there", soft_wrap=True)
    if found["forgotten"]:
        many = f"{found['forgotten']} user" + ("s" if found["forgotten"] > 1 else "")
        done = (
            "; ".join(f"{name}: {task['how']}" for name, task in found["tasks"].items())
            or f"nothing was trained yet in {folder}"
        )
        console.print(f"forgotten: {many}; {done}", soft_wrap=True)
    else:
        console.print("already forgotten: nothing to do", soft_wrap=True)
