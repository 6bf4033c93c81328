"""The parts of a task's chapter that stand behind the result: frontier, peers, sensitivity, analysis, readers, time."""

from collections.abc import Mapping, Sequence
from typing import Any

from recprune.report.charts import frontier_chart, sensitivity_chart
from recprune.report.html import esc, html_table
from recprune.report.words import count, interval, metric_name, micros, number, plural, signed, size, times

__all__ = ["analysis", "frontier", "notes", "peers", "readers", "scoring", "sensitivity"]

Task = Mapping[str, Any]
_SHOWN = 12


def frontier(task: Task) -> str:
    """Size against quality: ours, peers, and the original."""
    points = task["frontier"]
    if not points:
        return ""
    metric, found = next(iter(task["metrics"].items()))
    rule = next((r for r in task["gate"]["rules"] if r["metric"] == metric), None)
    limit = None if rule is None else (-1 if found["higher_is_better"] else 1) * rule["limit"]
    shown = points
    if not found["higher_is_better"]:
        shown = [{**p, "differences": {m: _flip(d) for m, d in p["differences"].items()}} for p in points]
        limit = None if limit is None else -limit
    original = task["size"]["original"]["disk_bytes"]
    charts = [frontier_chart(shown, metric, original, limit, width) for width in (1000, 360)]
    html = ""
    if charts[0]:
        name = esc(metric_name(metric)) + ("" if found["higher_is_better"] else ", sign turned so that up is better")
        html = (
            f'<figure class="card"><figcaption>{name}: difference to the original (up is better) against bytes. '
            f"{_KEYS}</figcaption>"
            f'<div class="wide-only">{charts[0]}</div><div class="small-only">{charts[1]}</div></figure>'
        )
    names = list(dict.fromkeys(m for p in points for m in p["differences"]))
    rows = [
        (
            esc(p["name"]) + (" <b>(shipped)</b>" if p.get("chosen") else ""),
            p["kind"],
            size(p["disk_bytes"]),
            f"{times(original / p['disk_bytes'])} ×" if p["disk_bytes"] else "",
            *(_change(p["differences"].get(m)) for m in names),
        )
        for p in sorted(points, key=lambda p: int(p["disk_bytes"]))
    ]
    head = ("Point", "Kind", "On disk", "Smaller by", *(esc(metric_name(m)) for m in names))
    table = html_table("Every point of the frontier, smallest first", head, rows, tuple(range(2, 4 + len(names))))
    return html + f"<details><summary>The {plural(len(points), 'point')} as a table</summary>{table}</details>"


_KEYS = (
    '<span class="key"><svg viewBox="0 0 16 14" aria-hidden="true"><circle class="ours" cx="8" cy="7" r="5"/></svg>'
    "ours</span>"
    '<span class="key"><svg viewBox="0 0 16 14" aria-hidden="true"><circle class="ours" cx="8" cy="7" r="3.5"/>'
    '<circle class="chosen" cx="8" cy="7" r="6"/></svg>shipped</span>'
    '<span class="key"><svg viewBox="0 0 16 14" aria-hidden="true"><path class="peer" d="M8 2l5 5l-5 5l-5-5z"/></svg>'
    "peer: trained small from scratch, or plainly pruned</span>"
    '<span class="key"><svg viewBox="0 0 16 14" aria-hidden="true">'
    '<rect class="original" x="3" y="2" width="10" height="10"/></svg>original</span>'
)


def _flip(value: Mapping[str, float]) -> dict[str, float]:
    return {"value": -value["value"], "low": -value["high"], "high": -value["low"]}


def _change(value: Mapping[str, float] | None) -> str:
    if value is None:
        return ""
    if value["low"] == value["high"]:
        return signed(value["value"])
    return f'{signed(value["value"])} <span class="ci">({interval(value, sign=True)})</span>'


def peers(task: Task) -> str:
    """The same test by other models."""
    if not task["peers"]:
        return ""
    names = list(task["metrics"])
    rows = [
        (
            f"<b>{side}</b>",
            size(task["size"][side]["disk_bytes"]),
            *(_cell(task["metrics"][m][side]) for m in names),
            "",
        )
        for side in ("original", "compressed")
    ]
    rows += [
        (
            esc(name),
            "" if peer["disk_bytes"] is None else size(peer["disk_bytes"]),
            *(_cell(peer["metrics"].get(m)) for m in names),
            f'<div class="wide">{esc(peer["note"])}</div>' if "note" in peer else "",
        )
        for name, peer in task["peers"].items()
    ]
    head = ("Model", "On disk", *(esc(metric_name(m)) for m in names), "")
    if not any("note" in peer for peer in task["peers"].values()):
        head, rows = head[:-1], [row[:-1] for row in rows]
    return html_table("The same split, the same test rows", head, rows, tuple(range(1, 2 + len(names))))


def _cell(value: Mapping[str, float] | None) -> str:
    if value is None:
        return ""
    return f"{number(value['value'])}<br><small>{interval(value)}</small>"


def sensitivity(task: Task) -> str:
    """One small curve for each part, all on one scale, the most harmful first."""
    curves = task.get("sensitivity", [])
    if not curves:
        return ""
    curves = sorted(curves, key=_harm)
    harms = [_harm(curve) for curve in curves]
    # One table at two bits must not press all other curves flat: the scale ends at four times the third worst.
    low = min(max(harms[0], 4 * harms[min(2, len(harms) - 1)]), -1e-4)
    high = max(0.0, *(p["difference"] for curve in curves for p in curve["points"]))
    figures = [
        f'<figure class="card"><figcaption><b>{esc(curve["part"])}</b> <small>{esc(metric_name(curve["metric"]))}'
        f"{', ' + esc(curve['how']) if 'how' in curve else ''}</small></figcaption>"
        f"{sensitivity_chart(curve, low, high)}</figure>"
        for curve in curves
    ]
    html = (
        "<p>Quality on validation when one part alone is cut and nothing is retrained; all curves on one scale, "
        f'the most harmful first.</p><div class="grid3">{"".join(figures[:_SHOWN])}</div>'
    )
    if len(figures) > _SHOWN:
        more = plural(len(figures) - _SHOWN, "curve")
        grid = f'<div class="grid3">{"".join(figures[_SHOWN:])}</div>'
        html += f"<details><summary>{more} of less harm</summary>{grid}</details>"
    return html


def _harm(curve: Mapping[str, Any]) -> float:
    return min(float(p["difference"]) for p in curve["points"])


def analysis(task: Task) -> str:
    """What analyze found: redundant blocks, rows hardly read, findings in sentences."""
    found = task.get("analysis", {})
    html = ""
    if found.get("findings"):
        lines = [f"<li>{esc(line)}</li>" for line in found["findings"]]
        html += f"<ul>{''.join(lines[:_SHOWN])}</ul>"
        if len(lines) > _SHOWN:
            more = plural(len(lines) - _SHOWN, "finding")
            html += f"<details><summary>{more} more</summary><ul>{''.join(lines[_SHOWN:])}</ul></details>"
    if found.get("blocks"):
        rows = [
            (
                esc(block["name"]),
                size(block["bytes"]),
                (f"{esc(metric_name(block['metric']))} " if "metric" in block else "")
                + _change(block.get("difference")),
                ("<b>redundant</b>" if block.get("redundant") else "needed" if "redundant" in block else "")
                + (f'<div class="wide"><small>{esc(block["why"])}</small></div>' if "why" in block else ""),
            )
            for block in sorted(found["blocks"], key=lambda b: -int(b["bytes"]))
        ]
        head = ("Block", "Bytes", "Validation, without it", "Verdict")
        html += html_table("Blocks of the model: what each costs, and what its loss would cost", head, rows, (1, 2))
    if found.get("axes"):
        axes = [
            (
                esc(axis["axis"]),
                count(axis["rows"]),
                *(
                    f"{count(axis[key])} <small>({100 * axis[key] / max(axis['rows'], 1):.0f} %)</small>"
                    if key in axis
                    else ""
                    for key in ("never", "rarely", "half")
                ),
            )
            for axis in found["axes"]
        ]
        heads = ("Axis", "Rows", "Never read", "Read once or twice", "Hold half of the readings")
        html += html_table("Rows of the tables by how often training read them", heads, axes, (1, 2, 3, 4))
    return html


def readers(task: Task) -> str:
    """Recommendations before and after, reader by reader."""
    people = task.get("readers", [])
    if not people:
        return ""
    shares = []
    cards = []
    for person in people:
        before = [i["title"] for i in person["before"]]
        after = [i["title"] for i in person["after"]]
        same = len(set(before) & set(after))
        most = max(len(before), len(after), 1)
        shares.append(same / most)
        about = f" <small>{esc(person['about'])}</small>" if "about" in person else ""
        history = ""
        if person.get("history"):
            read = "".join(f"<li>{_title(item)}</li>" for item in person["history"])
            history = (
                f"<details><summary>{plural(len(person['history']), 'book')} read</summary><ul>{read}</ul></details>"
            )
        cards.append(
            f'<article class="card"><h4>Reader {esc(person["user"])}{about}</h4>{history}'
            f'<p class="dimmed">{same} of {most} the same</p><div class="lists">'
            f"<div><b>Original</b>{_ranked(person['before'], set(after), 'gone')}</div>"
            f"<div><b>Compressed</b>{_ranked(person['after'], set(before), 'new')}</div></div></article>"
        )
    return (
        f"<p>On average {100 * sum(shares) / len(shares):.0f} % of a list is the same before and after. "
        '<span class="tagged hit">✓ right</span> marks a book that was held out: the reader did choose it.</p>'
        f'<div class="grid2">{"".join(cards)}</div>'
    )


def _title(item: Mapping[str, Any]) -> str:
    return esc(item["title"]) + (f" <small>{esc(item['by'])}</small>" if item.get("by") else "")


def _ranked(items: Sequence[Mapping[str, Any]], other: set[str], label: str) -> str:
    lines = []
    for item in items:
        text = _title(item) + (f" <small>{number(item['score'], 3)}</small>" if "score" in item else "")
        if item.get("hit"):
            text += ' <span class="tagged hit">✓ right</span>'
        if item["title"] not in other:
            text += f' <span class="tagged {label}">{label}</span>'
        lines.append(f"<li>{text}</li>")
    return f"<ol>{''.join(lines)}</ol>"


def scoring(task: Task) -> str:
    """Time of one request."""
    found = task["scoring"]
    rows = [
        (side.capitalize(), micros(found[side]["p50_us"]), micros(found[side]["p99_us"]), esc(found[side]["how"]))
        for side in ("original", "compressed")
    ]
    ratio = found["ratio"]
    said = f"{times(ratio)} times faster" if ratio >= 1 else f"{times(1 / max(ratio, 1e-9))} times slower"
    table = html_table("Time of one request", ("", "Median", "99 of 100 below", "How"), rows, (1, 2))
    return table + f'<p class="note">By the medians, the compressed model is {said}.</p>'


def notes(task: Task) -> str:
    """Sentences that a reader should know."""
    lines = "".join(f"<li>{esc(line)}</li>" for line in task.get("notes", []))
    return f"<ul>{lines}</ul>" if lines else ""
