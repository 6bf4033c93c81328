"""`recprune evaluate`: is the smaller model as good?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from recprune.cli.common import Config, Runs, TaskName, console, opened, tasks_of

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

    def show(name: str, found: dict[str, Any]) -> None:
        nonlocal failed
        table = Table("metric", "original", "compressed", "difference", "95 %", title=name)
        for metric, of in found["metrics"].items():
            difference = of["difference"]
            interval = f"{difference['low']:+.4f} to {difference['high']:+.4f}"
            values = [f"{of[side]['value']:.4f}" for side in ("original", "compressed")]
            table.add_row(metric, *values, f"{difference['value']:+.4f}", interval)
        console.print(table)
        for part, metric in found["worse"]:
            of = (found["metrics"] if part == "all" else found["slices"][part]["metrics"])[metric]
            console.print(f"[red]significantly worse: {part}: {metric} {of['difference']['value']:+.4f}[/red]")
        gate = given or Gate.parse(work.config.tasks[name].gate)
        for rule in gate.check(found["metrics"])["rules"]:
            verdict = "[green]passed[/green]" if rule["passed"] else "[red]failed[/red]"
            console.print(f"{verdict}: {rule['rule']} (dropped by {rule['drop']:.4f}, at worst {rule['worst']:.4f})")
            failed |= not rule["passed"]

    with opened(config, runs) as work:
        tasks_of(work, task, "evaluate", show)
    if failed:
        raise typer.Exit(1)
