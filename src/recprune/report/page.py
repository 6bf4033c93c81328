"""`write_report`: one self-contained HTML page from summary.json, without any request or script."""

import os
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from recprune.evaluation import validate
from recprune.files import write_bytes
from recprune.report.html import esc, html_table
from recprune.report.sections import SECTIONS
from recprune.report.words import (
    at_quality,
    count,
    headline,
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

__all__ = ["render_report", "write_report"]


def write_report(summary: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write the page atomically. A summary that does not fit its schema is a RecpruneError."""
    write_bytes(Path(path), render_report(summary).encode())


def render_report(summary: Mapping[str, Any]) -> str:
    """The page as text."""
    validate(summary)
    css = files("recprune.report").joinpath("page.css").read_text(encoding="utf-8")
    tasks = summary["tasks"]
    anchors = {name: f"task-{place}" for place, name in enumerate(tasks)}
    chapters = "".join(_chapter(name, anchors[name], task) for name, task in tasks.items())
    cards = "".join(_card(name, anchors[name], task) for name, task in tasks.items())
    # The policy makes a promise of it: nothing on this page can load anything.
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{esc(summary['name'])}: recprune report</title><style>{css}</style></head><body>"
        f'<div class="wrap"><header>{_head(summary)}</header><main>'
        f'<div class="cards">{cards}</div>{_HOW_TO_READ}{chapters}</main>'
        f"<footer>{_foot(summary)}</footer></div></body></html>\n"
    )


_HOW_TO_READ = (
    "<details><summary>How to read this page</summary><ul>"
    "<li>A <b>difference</b> is compressed minus original on the same test rows. Its <b>95 % interval</b> comes from "
    "resampling the users a thousand times, the same users on both sides; with several seeds, differences are averaged "
    "over the pairs of one seed each.</li>"
    "<li>In the interval plots <b>worse is always to the left</b>. An interval wholly left of zero is "
    "<b>significantly worse</b>: red, with a square and the words. An arrow means that it goes on beyond the plot.</li>"
    "<li><b>Bytes</b> are those of the whole artifact: weights, scales, indices, statistics by id, vocabularies and "
    "manifest; original and compressed are written by the same code. 1 MB is 1,000,000 bytes.</li>"
    "<li>Everything was chosen on validation and measured on test once.</li></ul></details>"
)


def _head(summary: Mapping[str, Any]) -> str:
    html = f'<p class="dimmed">recprune report</p><h1>{esc(summary["name"])}</h1>'
    if "question" in summary:
        html += f"<p>{esc(summary['question'])}</p>"
    if "data" in summary:
        data = summary["data"]
        sizes = ", ".join(f"{count(data[key])} {key}" for key in ("interactions", "users", "items") if key in data)
        html += f"<p>Data: <b>{esc(data['name'])}</b>{': ' + sizes if sizes else ''}."
        html += f" Licence: {esc(data['licence'])}." if "licence" in data else ""
        html += f" <small>Source: {esc(data['source'])}</small>" if "source" in data else ""
        html += "</p>"
    return html


def _card(name: str, anchor: str, task: Mapping[str, Any]) -> str:
    ratio = task["size"]["ratio"]["disk"]
    big, word = (times(ratio), "smaller") if ratio >= 1 else (times(1 / max(ratio, 1e-9)), "larger")
    metric, found = next(iter(task["metrics"].items()))
    difference = found["difference"]
    worse = [f"{metric_name(m)} on the whole test" for m, numbers in task["metrics"].items() if is_worse(numbers)]
    worse += sorted({part for part, _, _ in worse_slices(task)})
    html = f'<h2><a href="#{anchor}"><code>{esc(name)}</code></a></h2>'
    if "question" in task:
        html += f"<p>{esc(task['question'])}</p>"
    html += (
        f'<p class="big">{big} <span>times {word}</span></p>'
        f"<p>{size(task['size']['original']['disk_bytes'])} became {size(task['size']['compressed']['disk_bytes'])}</p>"
        f"<p>{esc(metric_name(metric))} {number(found['original']['value'])} → "
        f"<b>{number(found['compressed']['value'])}</b><br><small>{signed(difference['value'])}, "
        f"95 % {interval(difference, sign=True)}</small></p>"
    )
    if task["advantage"]:
        a = task["advantage"][0]
        shipped = {point["name"] for point in task["frontier"] if point.get("chosen")}
        whose = "" if a.get("ours", "") in {"", *shipped} else f"Recipe {esc(a['ours'])}, not shipped: "
        html += (
            f"<p><small>{whose}{_against(a['value'])} the smallest peer with "
            f"{esc(at_quality(a))} ({esc(a['peer'])})</small></p>"
        )
    scoring = task["scoring"]
    median = [micros(scoring[side]["p50_us"]) for side in ("original", "compressed")]
    html += f"<p><small>One request: {' → '.join(median)}</small></p>"
    html += f"<p>{_gate(task)}</p>"
    if worse:
        names = ", ".join(esc(part) for part in worse[:3]) + (f" and {len(worse) - 3} more" if len(worse) > 3 else "")
        html += f'<p><span class="bad">▼ significantly worse: {names}</span></p>'
    return f'<article class="card">{html}</article>'


def _against(value: float) -> str:
    return f"{times(value)} × smaller than" if value >= 1 else f"{times(1 / max(value, 1e-9))} × larger than"


def _gate(task: Mapping[str, Any]) -> str:
    gate = task["gate"]
    if not gate["rules"]:
        return "<small>no gate was set</small>"
    if gate["passed"]:
        return '<span class="badge pass">✓ gate passed</span>'
    failed = ", ".join(esc(rule["rule"]) for rule in gate["rules"] if not rule["passed"])
    return f'<span class="badge fail">✗ gate failed: {failed}</span>'


def _chapter(name: str, anchor: str, task: Mapping[str, Any]) -> str:
    parts = [(title, f"{anchor}-{place}", make(task)) for place, (title, make) in enumerate(SECTIONS)]
    parts = [part for part in parts if part[2]]
    menu = "".join(f'<li><a href="#{at}">{esc(title)}</a></li>' for title, at, _ in parts)
    body = "".join(f'<h3 id="{at}">{esc(title)}</h3>{html}' for title, at, html in parts)
    return (
        f'<section class="task" id="{anchor}" aria-labelledby="{anchor}-h"><h2 id="{anchor}-h"><code>{esc(name)}</code>'
        + (f": {esc(task['question'])}" if "question" in task else "")
        + f"</h2><p><b>{esc(headline(name, task))}</b> {_gate(task)}</p>"
        f'<nav aria-label="Parts of {esc(name)}"><ul>{menu}</ul></nav>{body}</section>'
    )


def _foot(summary: Mapping[str, Any]) -> str:
    seeds = ", ".join(str(seed) for seed in summary["seeds"])
    rows = [("Seeds", esc(seeds))]
    rows.append(("Versions", esc(", ".join(f"{name} {version}" for name, version in summary["versions"].items()))))
    rows.append(("Machine", esc(", ".join(f"{key}: {value}" for key, value in summary["machine"].items()))))
    html = "<h3>How this was made</h3><dl>" + "".join(f"<dt>{k}</dt><dd>{v}</dd>" for k, v in rows if v) + "</dl>"
    data = summary.get("data", {})
    if data.get("repairs"):
        repairs = [(esc(what), count(n)) for what, n in data["repairs"].items()]
        table = html_table("Values repaired or nulled when the data was read", ("What", "Values"), repairs, (1,))
        html += f"<details><summary>What was repaired in the data</summary>{table}</details>"
    if data.get("notes"):
        html += "<ul>" + "".join(f"<li>{esc(line)}</li>" for line in data["notes"]) + "</ul>"
    if summary.get("stages"):
        rows = [
            (esc(s["stage"]), f"{s['seconds']:,.1f} s" + (" (from the cache)" if s.get("cached") else ""))
            for s in summary["stages"]
        ]
        table = html_table("Stages", ("Stage", "Time"), rows, (1,))
        html += f"<details><summary>Time of each stage</summary>{table}</details>"
    return html
