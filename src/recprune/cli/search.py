"""`recprune search`: the best recipe for a constraint."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from recprune.cli.common import Config, Runs, console, open_run, verdict, working
from recprune.errors import RecpruneError

__all__ = ["search"]


def search(
    config: Config,
    task: Annotated[str, typer.Option(help="The task of the run whose model is searched.", show_default=False)],
    size: Annotated[
        str, typer.Option(help="The most that the artifact may have, such as `500kB` or `1MB`.", show_default=False)
    ] = "",
    ratio: Annotated[
        float | None,
        typer.Option(help="How many times smaller the artifact must be, such as `100`.", show_default=False),
    ] = None,
    max_drop: Annotated[
        str, typer.Option(help="What may be lost, such as `auc:0.001,gauc:1%`.", show_default=False)
    ] = "",
    trials: Annotated[int, typer.Option(help="Recipes to try without retraining.", min=1)] = 100,
    retrain: Annotated[int, typer.Option(help="The most promising of them to retrain.", min=0)] = 8,
    time_limit: Annotated[
        str,
        typer.Option(help="Stop after this long, such as `30m` or `2h`; what was tried counts.", show_default=False),
    ] = "",
    workers: Annotated[int, typer.Option(help="Processes that try side by side.", min=1)] = 1,
    runs: Runs = Path("runs"),
) -> None:
    """Find the smallest artifact within a constraint, without a recipe.

    With `--max-drop` the smallest that loses no more; with `--size` or `--ratio` the best that fits. What may be done to
    each part is read off the model. First every choice is measured alone, then the best combinations are tried and others
    near them, nothing retrained; then the most promising are retrained. All choices are made on validation; what was chosen
    is judged on test once.

    Everything tried is kept under `runs/<name>/<task>/search/`: the same command goes on after Ctrl-C, a kill or the time
    limit, and another constraint on the same model starts from what is known. There lie `artifact/`, `family/` (the best at
    10, 30, 100 and 300 times, where reached), `recipe.yaml` to copy into the YAML of the run, and `report.html`. The exit
    status is 1 where what was chosen loses more than `--max-drop` on test.
    """
    from recprune.pipeline.search import search_task
    from recprune.report import write_search_report

    if ratio is None and not (size or max_drop):
        raise RecpruneError("a search needs a constraint: --max-drop, --size or --ratio")
    with working(open_run(config, runs)) as work:
        found = search_task(
            work,
            task,
            max_drop=max_drop or None,
            size=_bytes(size) if size else None,
            ratio=ratio,
            trials=trials,
            retrain=retrain,
            time_limit=_seconds(time_limit) if time_limit else math.inf,
            workers=workers,
        )
        folder = work.folder / task / "search"
        write_search_report(found, folder / "report.html")
    _show(found)
    console.print((folder / "recipe.yaml").read_text(encoding="utf-8"), soft_wrap=True)
    console.print(f"report: {folder / 'report.html'}", soft_wrap=True)
    if not found["gate"]["passed"]:
        raise typer.Exit(1)


def _show(found: dict[str, Any]) -> None:
    metric = found["metric"]
    table = Table(
        "bytes", "times smaller", f"{metric}, validation", "95 %", "µs", "", title="frontier of what was tried"
    )
    for point in found["frontier"]:
        of = point["valid"][metric]
        marks = ["retrained"] if point["retrained"] else []
        marks += ["chosen"] if point["number"] == found["chosen"]["number"] else []
        interval = f"{of['low']:+.4f} to {of['high']:+.4f}"
        table.add_row(
            f"{point['disk_bytes']:,}", f"{point['ratio']:.1f}", f"{of['value']:+.4f}", interval, f"{point['us']:.0f}",
            Text(", ".join(marks), style="bold" if "chosen" in marks else ""),
        )  # fmt: skip
    console.print(table)
    test = Table(
        "on test", "original", "compressed", "difference", "95 %", title=f"{found['chosen']['disk_bytes']:,} bytes"
    )
    for name, of in found["test"]["metrics"].items():
        difference = of["difference"]
        values = [f"{of[side]['value']:.4f}" for side in ("original", "compressed")]
        interval = f"{difference['low']:+.4f} to {difference['high']:+.4f}"
        test.add_row(name, *values, f"{difference['value']:+.4f}", interval)
    console.print(test)
    for ratio, point in found["family"].items():
        of = point["test"][metric]
        console.print(
            f"family/{ratio}x: {point['disk_bytes']:,} bytes, {metric} on test {of['value']:+.4f} "
            f"({of['low']:+.4f} to {of['high']:+.4f})"
        )
    for part, name in found["test"]["worse"]:
        console.print(f"significantly worse on test: {part}: {name}", style="red")
    console.print(found["how"])
    for rule in found["gate"]["rules"]:
        console.print(verdict(rule, " on test"))


_UNITS = {"": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "s": 1, "m": 60, "h": 3600}


def _bytes(text: str) -> int:
    return int(_number(text, "size", ("", "b", "kb", "mb", "gb"), "500kB"))


def _seconds(text: str) -> float:
    return _number(text, "time limit", ("s", "m", "h"), "30m")


def _number(text: str, what: str, units: tuple[str, ...], example: str) -> float:
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([a-zA-Z]*)\s*", text)
    if match is None or match.group(2).lower() not in units:
        raise RecpruneError(f"{what} {text!r} is no number with a unit, such as {example}")
    number = float(match.group(1)) * _UNITS[match.group(2).lower()]
    if not 0 < number < math.inf:
        raise RecpruneError(f"{what} {text!r} must be above zero, such as {example}")
    return number
