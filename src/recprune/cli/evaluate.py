"""`recprune evaluate`: is the smaller model as good?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from recprune.cli.common import Config, Runs, TaskName, console, open_run, results, verdict

__all__ = ["evaluate"]


def evaluate(
    config: Config,
    task: TaskName = "",
    max_drop: Annotated[
        str,
        typer.Option(
            help="What may be lost, such as `auc:0.001` or `ndcg@10:1%`. [default: each task's gate]",
            show_default=False,
        ),
    ] = "",
    runs: Runs = Path("runs"),
) -> None:
    """Judge original and compressed on the same test rows, with paired 95 % intervals by resampling users.

    Slices (popular and rare items, cold and warm users, countries, ages) that got significantly worse are named in red. The
    exit status is 1 where a metric falls by more than is allowed.
    """
    from recprune.evaluation import Gate

    failed = False
    given = Gate.parse(max_drop) if max_drop else None
    work = open_run(config, runs)
    for name, found in results(work, task, "evaluate"):
        table = Table("metric", "original", "compressed", "difference", "95 %", title=name)
        for metric, of in found["metrics"].items():
            difference = of["difference"]
            interval = f"{difference['low']:+.4f} to {difference['high']:+.4f}"
            values = [f"{of[side]['value']:.4f}" for side in ("original", "compressed")]
            table.add_row(metric, *values, f"{difference['value']:+.4f}", interval)
        console.print(table)
        for part, metric in found["worse"]:
            of = (found["metrics"] if part == "all" else found["slices"][part]["metrics"])[metric]
            console.print(f"significantly worse: {part}: {metric} {of['difference']['value']:+.4f}", style="red")
        gate = given or Gate.parse(work.config.tasks[name].gate)
        for rule in gate.check(found["metrics"])["rules"]:
            console.print(verdict(rule))
            failed |= not rule["passed"]
    if failed:
        raise typer.Exit(1)
