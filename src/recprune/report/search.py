"""`write_search_report`: the page of a search, from its search.json."""

import math
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from recprune.files import write_bytes
from recprune.report.charts import frontier_chart
from recprune.report.html import esc, html_table
from recprune.report.words import interval, metric_name, number, signed, size

__all__ = ["write_search_report"]


def write_search_report(found: Mapping[str, Any], path: Path) -> None:
    """One self-contained page, atomically: the frontier, what was chosen, what it gives on test, and the family."""
    write_bytes(path, _page(found).encode())


def _page(found: Mapping[str, Any]) -> str:
    css = files("recprune.report").joinpath("page.css").read_text(encoding="utf-8")
    metric = found["metric"]
    name = metric_name(metric)
    limits = [-rule["limit"] for rule in found["gate"]["rules"] if rule["metric"] == metric]
    # What loses twenty times what is allowed would press all else into a line; the table has it.
    most = 20 * abs(limits[0]) if limits and limits[0] else math.inf
    listed = [point for point in found["frontier"] if abs(point["valid"][metric]["value"]) <= most]
    points = [_point(point, found) for point in listed or found["frontier"]]
    chart = frontier_chart(points, metric, found["original_bytes"], limits[0] if limits else None, 900)
    chosen = found["chosen"]
    steps = "".join(f"<li>{esc(line)}</li>" for line in chosen["words"])
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{esc(found['name'])}: recprune search</title><style>{css}</style></head><body>"
        f'<div class="wrap"><header><p class="dimmed">recprune search</p><h1>{esc(found["name"])}</h1>'
        f"<p>{esc(found.get('question', ''))}</p></header><main>"
        f'<p class="big">{chosen["ratio"]:.1f} <span>times smaller: {size(chosen["disk_bytes"])}</span></p>'
        f"<h3>Size and {esc(name)} on validation</h3>{chart}"
        f'<p class="note">{len(found["tried"]):,} recipes were tried; {esc(found["how"])}.</p>'
        f"{_frontier(found, name)}<h3>What was chosen</h3><ol>{steps}</ol>{_test(found)}{_family(found, name)}"
        "</main></div></body></html>\n"
    )


def _point(point: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": f"{point['ratio']:.0f} times",
        "kind": "ours",
        "disk_bytes": point["disk_bytes"],
        "differences": point["valid"],
        "chosen": point["number"] == found["chosen"]["number"],
    }


def _frontier(found: Mapping[str, Any], name: str) -> str:
    rows = []
    for point in found["frontier"]:
        of = point["valid"][found["metric"]]
        marks = ["retrained"] * point["retrained"] + ["chosen"] * (point["number"] == found["chosen"]["number"])
        rows.append(
            (size(point["disk_bytes"]), f"{point['ratio']:.1f}", f"{signed(of['value'])} ({interval(of, sign=True)})",
             f"{point['us']:.0f}", ", ".join(marks))
        )  # fmt: skip
    head = ("Bytes", "Times smaller", f"{name}, validation", "µs an answer", "")
    return html_table("What no smaller recipe equals; scoring time in batches", head, rows, (0, 1, 2, 3))


def _test(found: Mapping[str, Any]) -> str:
    rows = []
    for metric, of in found["test"]["metrics"].items():
        values = f"{number(of['original']['value'])} → {number(of['compressed']['value'])}"
        difference = of["difference"]
        rows.append(
            (esc(metric_name(metric)), values, f"{signed(difference['value'])} ({interval(difference, sign=True)})")
        )
    worse = "".join(f"<li>{esc(part)}: {esc(metric_name(metric))}</li>" for part, metric in found["test"]["worse"])
    table = html_table("On test, judged once", ("Metric", "Original → compressed", "Difference (95 %)"), rows, (1, 2))
    return table + (f'<div class="alert"><b>Significantly worse on test</b><ul>{worse}</ul></div>' if worse else "")


def _family(found: Mapping[str, Any], name: str) -> str:
    rows = [
        (f"{esc(ratio)} times", size(point["disk_bytes"]),
         f"{signed(point['test'][found['metric']]['value'])} ({interval(point['test'][found['metric']], sign=True)})")
        for ratio, point in found["family"].items()
    ]  # fmt: skip
    if not rows:
        return ""
    head = ("At least", "Bytes", f"{name}, test")
    return "<h3>The family</h3>" + html_table("Of the same search, in family/", head, rows, (1, 2))
