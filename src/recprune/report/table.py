"""The summary as a table for the terminal. It reads summary.json and nothing else."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from recprune.evaluation import validate
from recprune.report.words import (
    MINUS,
    at_quality,
    interval,
    is_worse,
    metric_name,
    micros,
    number,
    signed,
    size,
    times,
    worse_slices,
)

if TYPE_CHECKING:
    from rich.console import Group

__all__ = ["summary_table"]


def summary_table(summary: Mapping[str, Any]) -> "Group":
    """One table a task: original | compressed | change, in bytes, quality with 95 % intervals, slices, time.

    Give it to `rich.print` or a `rich.console.Console`. Slices that got significantly worse are red and say so.
    """
    from rich.console import Group, RenderableType
    from rich.text import Text

    validate(summary)
    blocks: list[RenderableType] = []
    for name, task in summary["tasks"].items():
        blocks.append(_table(name, task))
        for rule in task["gate"]["rules"]:
            verdict = "passed" if rule["passed"] else "FAILED"
            line = f"  gate {rule['rule']}: {verdict} (drop {number(rule['drop'])}, allowed {number(rule['limit'])})"
            blocks.append(Text(_plain(line), style="green" if rule["passed"] else "bold red"))
        for a in task["advantage"]:
            line = f"  advantage with {at_quality(a)}: {times(a['value'])} times smaller"
            sizes = f"{size(a['peer_bytes'])} against {size(a['ours_bytes'])}"
            blocks.append(Text(_plain(f"{line} than {a['peer']} ({sizes})")))
        for part, metric, found in worse_slices(task):
            change = f"{signed(found['difference']['value'])} ({interval(found['difference'], sign=True)})"
            blocks.append(
                Text(_plain(f"  significantly worse: {part}, {metric_name(metric)} {change}"), style="bold red")
            )
        blocks.append(Text(""))
    return Group(*blocks)


def _table(name: str, task: Mapping[str, Any]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(name), title_justify="left")
    table.add_column("", overflow="fold")
    for column in ("original", "compressed", "change"):
        table.add_column(column, justify="right")

    def row(label: str, original: str, compressed: str, change: str, style: str = "") -> None:
        table.add_row(*(Text(_plain(cell)) for cell in (label, original, compressed, change)), style=style)

    sizes = task["size"]
    for label, key in (
        ("bytes on disk", "disk_bytes"),
        ("  weights", "weights_bytes"),
        ("bytes in memory", "resident_bytes"),
    ):
        before, after = sizes["original"][key], sizes["compressed"][key]
        row(label, size(before), size(after), f"{times(before / after)} x smaller" if after else "")
    table.add_section()
    for metric, found in task["metrics"].items():
        row(metric_name(metric), *_cells(found, whole=True), "red" if is_worse(found) else "")
    headline = next(iter(task["metrics"]))
    parts = {part: found["metrics"][headline] for part, found in task["slices"].items() if headline in found["metrics"]}
    if parts:
        table.add_section()
        row(f"{metric_name(headline)} by slice", "", "", "")
        for part, found in parts.items():
            row(f"  {part}", *_cells(found, whole=False), "bold red" if is_worse(found) else "")
    table.add_section()
    scoring = task["scoring"]
    for label, key in (("time p50", "p50_us"), ("time p99", "p99_us")):
        before, after = scoring["original"][key], scoring["compressed"][key]
        row(
            label,
            micros(before),
            micros(after),
            f"{times(before / after)} x faster" if after and before >= after else "slower",
        )
    return table


def _cells(found: Mapping[str, Any], whole: bool) -> tuple[str, str, str]:
    def side(name: str) -> str:
        value = found[name]
        return f"{number(value['value'])} {_ends(value)}" if whole else number(value["value"])

    difference = found["difference"]
    worse = " worse" if is_worse(found) else ""
    change = f"{signed(difference['value'])} {_ends(difference, signed)}{worse}"
    return side("original"), side("compressed"), change


def _ends(value: Mapping[str, float], show: Callable[[float], str] = number) -> str:
    """Both ends without a space, so that a narrow terminal never breaks them apart."""
    return f"[{show(value['low'])},{show(value['high'])}]"


def _plain(text: str) -> str:
    return text.replace(MINUS, "-").replace("µ", "u").replace("→", "->")
