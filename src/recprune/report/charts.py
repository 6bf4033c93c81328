"""Plots as inline SVG and boxes: no script, no request, colours from the page's style so that dark mode just works."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from recprune.report.html import esc
from recprune.report.words import number, signed, size

__all__ = ["byte_bars", "forest", "frontier_chart", "sensitivity_chart"]

_LETTER = 6.1  # a letter's width on average, at the size that page.css gives to charts


def byte_bars(groups: Sequence[tuple[str, int, int]]) -> str:
    """Three bars of bytes: the original, the compressed to the same scale, and the compressed magnified.

    `groups`: at most five of (name, bytes before, bytes after).
    """
    total, small = sum(g[1] for g in groups), sum(g[2] for g in groups)
    if not total or not small:
        return ""

    def bar(side: int, whole: float) -> str:
        return "".join(
            f'<span class="seg k{i}" style="width:{100 * int(group[side]) / whole:.3f}%"></span>'
            for i, group in enumerate(groups, 1)
            if group[side]
        )

    rows = [("Original", size(total), bar(1, total), "")]
    if small < total:
        rows.append(("Compressed, same scale", size(small), bar(2, total), " toscale"))
        rows.append((f"Compressed, magnified {total / small:,.0f} times", size(small), bar(2, small), " magnified"))
    else:
        rows.append(("Compressed", size(small), bar(2, small), ""))
    legend = "".join(
        f'<li><span class="swatch k{i}"></span>{esc(name)}: {size(before)} → {size(after)}</li>'
        for i, (name, before, after) in enumerate(groups, 1)
        if before or after
    )
    bars = "".join(
        f'<div class="barline"><div class="barname">{name} <b>{text}</b></div>'
        f'<div class="bar{css}" aria-hidden="true">{segments}</div></div>'
        for name, text, segments, css in rows
    )
    return f'<div class="bars">{bars}<ul class="legend">{legend}</ul></div>'


def forest(caption: str, rows: Sequence[tuple[str, str, Mapping[str, Any]]], own_scale: bool = False) -> str:
    """A table of differences with their intervals drawn, worse always to the left.

    `rows`: name, small print, metric as in summary.json. A row that got significantly worse says so in words, in red.
    `own_scale`: each row on a scale of its own, for metrics that are not of one kind.
    """
    limits = [_nice(max(abs(m["difference"]["low"]), abs(m["difference"]["high"]), 1e-6) * 1.1) for _, _, m in rows]
    marks = ""
    if not own_scale:
        # One slice of twelve users must not squeeze the others into a dot: beyond the limit an interval gets an arrow.
        limit = sorted(limits)[min(len(limits) - 1, int(len(limits) * 0.85))]
        limits = [limit] * len(rows)
        left, right = (-limit, limit) if rows[0][2]["higher_is_better"] else (limit, -limit)
        texts = (signed(left, _places(limit)), "0", signed(right, _places(limit)))
        marks = "".join(f'<span style="left:{at}%">{text}</span>' for at, text in zip((0, 50, 100), texts, strict=True))
    axis = f'<div class="axis"><span class="l">◂ worse</span><span class="r">better ▸</span>{marks}</div>'
    body = "".join(_forest_row(name, small, m, limit) for (name, small, m), limit in zip(rows, limits, strict=True))
    note = '<p class="note">Each row is drawn on its own scale.</p>' if own_scale else ""
    return (
        f'<table class="forest" role="table"><caption>{esc(caption)}</caption>'
        f'<thead role="rowgroup"><tr role="row"><th scope="col" role="columnheader">'
        f"{'Metric' if own_scale else 'Part of the test'}</th>"
        '<th scope="col" role="columnheader" class="n">Original → compressed</th>'
        '<th scope="col" role="columnheader" class="n">Difference (95 % interval)</th>'
        f'<th scope="col" role="columnheader" class="plot">{axis}</th></tr></thead>'
        f'<tbody role="rowgroup">{body}</tbody></table>{note}'
    )


def _forest_row(name: str, small: str, metric: Mapping[str, Any], limit: float) -> str:
    difference = metric["difference"]
    sign = 1 if metric["higher_is_better"] else -1
    ends = sorted((sign * difference["low"], sign * difference["high"]))
    bad, good = ends[1] < 0, ends[0] > 0
    left, right = (min(max(50 + 50 * end / limit, 0), 100) for end in ends)
    dot = min(max(50 + 50 * sign * difference["value"] / limit, 0), 100)
    cut = ("<i class='cut l'></i>" if ends[0] < -limit else "") + ("<i class='cut r'></i>" if ends[1] > limit else "")
    verdict = '<span class="bad">▼ significantly worse</span>' if bad else ""
    verdict = verdict or ('<span class="good">▲ better</span>' if good else "")
    css = "bad" if bad else "good" if good else ""
    return (
        f'<tr role="row" class="{css}"><th scope="row" role="rowheader">{esc(name)} '
        f"<small>{esc(small)}</small>{verdict}</th>"
        f'<td role="cell" class="n pair">{number(metric["original"]["value"])} → '
        f"{number(metric['compressed']['value'])}</td>"
        f'<td role="cell" class="n"><b>{signed(difference["value"])}</b> '
        f'<span class="ci">({signed(difference["low"])} to {signed(difference["high"])})</span></td>'
        f'<td role="cell" class="plot"><div class="fp" aria-hidden="true"><i class="zero"></i>'
        f'<i class="line" style="left:{left:.2f}%;width:{max(right - left, 0.4):.2f}%"></i>'
        f'<i class="dot" style="left:{dot:.2f}%"></i>{cut}</div></td></tr>'
    )


def sensitivity_chart(curve: Mapping[str, Any], low: float, high: float) -> str:
    """Quality on validation as one part shrinks: difference against the fraction kept, in even steps."""
    width, height, left, right, top, bottom = 320, 196, 46, 16, 10, 42
    points = sorted(curve["points"], key=lambda p: -p["keep"])
    low -= 0.06 * (high - low)
    ticks = _ticks(low, high, 4)
    low, high = min(low, ticks[0]), max(high, ticks[-1])

    def x(i: int) -> float:
        return left + (width - left - right) * (i / (len(points) - 1) if len(points) > 1 else 0.5)

    def y(value: float) -> float:
        return top + (height - top - bottom) * (high - min(max(value, low), high)) / (high - low)

    svg = [_grid(ticks, y, left, width - right)]
    if all("low" in p and "high" in p for p in points) and len(points) > 1:
        edge = [f"{x(i):.1f},{y(p['high']):.1f}" for i, p in enumerate(points)]
        edge += [f"{x(i):.1f},{y(p['low']):.1f}" for i, p in reversed(list(enumerate(points)))]
        svg.append(f'<polygon class="band" points="{" ".join(edge)}"/>')
    line = " ".join(f"{x(i):.1f},{y(p['difference']):.1f}" for i, p in enumerate(points))
    svg.append(f'<polyline class="ours-line" points="{line}"/>')
    for i, p in enumerate(points):
        title = f"<title>{_percent(p['keep'])} kept: {signed(p['difference'])}</title>"
        cx, cy = x(i), y(p["difference"])
        if p["difference"] < low:
            # Off the common scale: an arrow on the edge, the last with its number.
            svg.append(f'<path class="off" d="M{cx - 5:.1f} {cy - 4:.1f}h10l-5 8z">{title}</path>')
            if i == len(points) - 1:
                text = signed(p["difference"], 3)
                svg.append(f'<text x="{cx + 5:.1f}" y="{cy - 8:.1f}" text-anchor="end">{text}</text>')
        else:
            svg.append(f'<circle class="ours" cx="{cx:.1f}" cy="{cy:.1f}" r="4">{title}</circle>')
        svg.append(_tick(_percent(p["keep"]), x(i), height - 21, width))
    svg.append(f'<text class="dim" x="{(left + width - right) / 2}" y="{height - 3}" text-anchor="middle">kept</text>')
    spoken = "; ".join(f"{_percent(p['keep'])} kept {signed(p['difference'])}" for p in points)
    return _svg(width, height, f"{curve['part']}: {spoken}", svg)


def frontier_chart(
    points: Sequence[Mapping[str, Any]], metric: str, original_bytes: int, limit: float | None, width: int
) -> str:
    """Size (log) against the difference of one metric: ours filled circles, peers hollow diamonds, original a square.

    `limit`: the drop that the gate allows, as a signed difference. Peers far below the rest stand on the lower edge.
    """
    shown = [p for p in points if metric in p["differences"] and p["disk_bytes"] > 0]
    if not shown:
        return ""
    height, left, right, top, bottom = (420, 58, 24, 16, 46) if width > 500 else (360, 48, 14, 14, 44)
    values = [p["differences"][metric]["value"] for p in shown]
    ours = [p["differences"][metric]["value"] for p in shown if p["kind"] == "ours"] or values
    span = max(max(ours) - min(ours), abs(limit or 0) * 2, 1e-4)
    low: float = max(min(*values, 0.0), min(*ours, 0.0, limit or 0.0) - 0.3 * span)
    high = max(min(max(*values, 0.0), max(*ours, 0.0) + 0.3 * span), 0.0)
    pad = 0.12 * (high - low) or span  # where nothing differs at all
    ticks = _ticks(low - pad, high + pad, 6)
    low, high = min(low - pad, ticks[0]), max(high + pad, ticks[-1])
    sizes = [p["disk_bytes"] for p in shown] + [original_bytes]
    first: float = math.log10(min(sizes)) - 0.12
    last: float = math.log10(max(sizes)) + 0.12

    def x(n: float) -> float:
        return left + (width - left - right) * (math.log10(n) - first) / (last - first)

    def y(value: float) -> float:
        share: float = (high - min(max(value, low), high)) / (high - low)
        return top + (height - top - bottom) * share

    svg = [_grid(ticks, y, left, width - right)]
    for n in _decades(first, last, 7 if width > 500 else 4):
        svg.append(f'<line class="grid" x1="{x(n):.1f}" x2="{x(n):.1f}" y1="{top}" y2="{height - bottom}"/>')
        svg.append(_tick(_round_size(n), x(n), height - bottom + 16, width))
    svg.append(
        f'<text class="dim" x="{(left + width - right) / 2:.0f}" y="{height - 6}" text-anchor="middle">'
        "bytes on disk, whole artifact (smaller is to the left)</text>"
    )
    if limit is not None:
        svg.append(f'<line class="limit" x1="{left}" x2="{width - right}" y1="{y(limit):.1f}" y2="{y(limit):.1f}"/>')
    boxes: list[tuple[float, float, float, float]] = []
    spots = [(x(p["disk_bytes"]), y(p["differences"][metric]["value"])) for p in shown]
    spots.append((x(original_bytes), y(0)))
    boxes += [(cx - 6, cy - 6, cx + 6, cy + 6) for cx, cy in spots]
    ends = list(zip(shown, spots[:-1], strict=True))
    # Lines are in the way of labels too.
    lines: list[tuple[float, float, float, float]] = [(left, y(0), width - right, y(0))]
    if limit is not None:
        lines.append((left, y(limit), width - right, y(limit)))
        svg.append(_label("gate", left + 4, y(limit) - 4, "start", boxes, "limit-text"))
    path = sorted((p["disk_bytes"], p["differences"][metric]["value"]) for p in shown if p["kind"] == "ours")
    path = _best(path)
    if len(path) > 1:
        line = " ".join(f"{x(n):.1f},{y(v):.1f}" for n, v in path)
        svg.append(f'<polyline class="ours-line" points="{line}"/>')
        lines += [(x(a[0]), y(a[1]), x(b[0]), y(b[1])) for a, b in pairwise(path)]
    lines += [(cx, y(p["differences"][metric]["low"]), cx, y(p["differences"][metric]["high"])) for p, (cx, _) in ends]
    boxes += [box for line in lines for box in _along(*line)]
    for p, (cx, cy) in ends:
        found = p["differences"][metric]
        kind = p["kind"]
        if y(found["low"]) - y(found["high"]) > 1:
            svg.append(
                f'<line class="err {kind}" x1="{cx:.1f}" x2="{cx:.1f}" '
                f'y1="{y(found["high"]):.1f}" y2="{y(found["low"]):.1f}"/>'
            )
        title = f"<title>{esc(p['name'])}: {size(p['disk_bytes'])}, {signed(found['value'])}</title>"
        if kind == "ours":
            svg.append(f'<circle class="ours" cx="{cx:.1f}" cy="{cy:.1f}" r="5">{title}</circle>')
            if p.get("chosen"):
                svg.append(f'<circle class="chosen" cx="{cx:.1f}" cy="{cy:.1f}" r="9"/>')
        elif found["value"] < low:
            d = f"M{cx - 6:.1f} {cy - 11:.1f}h12l-6 10z"
            svg.append(f'<path class="peer" d="{d}">{title}</path>')
        else:
            d = f"M{cx:.1f} {cy - 6:.1f}l6 6l-6 6l-6-6z"
            svg.append(f'<path class="peer" d="{d}">{title}</path>')
    cx, cy = spots[-1]
    svg.append(f'<rect class="original" x="{cx - 5:.1f}" y="{cy - 5:.1f}" width="10" height="10"/>')
    named = [("original", cx, cy, "dim")]
    order = sorted(range(len(shown)), key=lambda i: (not shown[i].get("chosen"), shown[i]["kind"] == "peer"))
    for i in order:
        value = shown[i]["differences"][metric]["value"]
        name = str(shown[i]["name"]) + (f" ({signed(value)})" if value < low else "")
        named.append((name, *spots[i], shown[i]["kind"]))
    for name, cx, cy, css in named:
        svg.append(_place(name, cx, cy, css, boxes, (left, width - 2, top, height - bottom)))
    spoken = "; ".join(
        f"{p['name']} {size(p['disk_bytes'])} {signed(p['differences'][metric]['value'])}" for p in shown
    )
    return _svg(width, height, f"{metric} against size: {spoken}", svg)


def _tick(text: str, x: float, y: float, width: int) -> str:
    """A text below its mark, moved to the left where the drawing ends."""
    x = min(x, width - _LETTER * len(text) / 2)
    return f'<text x="{x:.1f}" y="{y}" text-anchor="middle">{text}</text>'


def _best(path: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Points that no smaller one equals."""
    kept: list[tuple[int, float]] = []
    for n, value in path:
        if not kept or value > kept[-1][1]:
            kept.append((n, value))
    return kept


def _label(text: str, x: float, y: float, anchor: str, boxes: list[tuple[float, float, float, float]], css: str) -> str:
    wide = _LETTER * len(text)
    start = x if anchor == "start" else x - wide if anchor == "end" else x - wide / 2
    boxes.append((start, y - 10, start + wide, y + 3))
    return f'<text class="{css}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{esc(text)}</text>'


_SPOTS = (
    *((10, 4, "start"), (-10, 4, "end"), (0, -12, "middle"), (0, 20, "middle"), (8, -9, "start")),
    *((8, 17, "start"), (-8, -9, "end"), (-8, 17, "end"), (4, -22, "start"), (4, 30, "start")),
)


def _place(
    text: str,
    x: float,
    y: float,
    css: str,
    boxes: list[tuple[float, float, float, float]],
    area: tuple[float, float, float, float],
) -> str:
    """A label beside its point where nothing else stands; no label where there is no room (the table has all names)."""
    text = text if len(text) <= 28 else text[:27] + "…"
    wide = _LETTER * len(text)
    for dx, dy, anchor in _SPOTS:
        start = x + dx - (0 if anchor == "start" else wide if anchor == "end" else wide / 2)
        box = (start, y + dy - 10, start + wide, y + dy + 3)
        if box[0] < area[0] or box[2] > area[1] or box[1] < area[2] - 8 or box[3] > area[3]:
            continue
        if any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in boxes):
            continue
        return _label(text, x + dx, y + dy, anchor, boxes, f"name {css}")
    return ""


def _along(x1: float, y1: float, x2: float, y2: float) -> list[tuple[float, float, float, float]]:
    steps = max(int(max(abs(x2 - x1), abs(y2 - y1)) / 4), 1)
    spots = [(x1 + (x2 - x1) * i / steps, y1 + (y2 - y1) * i / steps) for i in range(steps + 1)]
    return [(cx - 1, cy - 1, cx + 1, cy + 1) for cx, cy in spots]


def _svg(width: int, height: int, label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{esc(label)}" '
        f'style="max-width:{max(width, 420)}px">{"".join(parts)}</svg>'
    )


def _grid(ticks: Sequence[float], y: Any, left: float, right: float) -> str:
    gap = max(b - a for a, b in pairwise(ticks))
    lines = []
    for tick in ticks:
        css = "zero" if abs(tick) < gap / 1e6 else "grid"
        lines.append(f'<line class="{css}" x1="{left}" x2="{right}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        text = "0" if css == "zero" else signed(tick, _places(gap))
        lines.append(f'<text x="{left - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{text}</text>')
    return "".join(lines)


def _nice(x: float) -> float:
    """The next 1, 1.5, 2, 3, 5 or 8 times a power of ten."""
    power: float = 10.0 ** math.floor(math.log10(x))
    return power * next(m for m in (1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 10.0) if m * power >= x * (1 - 1e-9))


def _places(step: float) -> int:
    return min(max(-math.floor(math.log10(step)) + (0 if _one_digit(step) else 1), 1), 6)


def _one_digit(step: float) -> bool:
    lead = step / 10.0 ** math.floor(math.log10(step))
    return abs(lead - round(lead)) < 1e-6


def _ticks(low: float, high: float, about: int) -> list[float]:
    span = max(high - low, 1e-6)
    raw = span / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m for m in (1, 2, 5, 10) if m * power >= raw * (1 - 1e-9)) * power
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    if last <= first:
        first, last = math.floor(low / step), math.ceil(high / step)
    return [i * step for i in range(first, last + 1)]


def _decades(first: float, last: float, most: int) -> list[float]:
    for marks in ((1, 2, 5), (1, 3), (1,)):
        found = [m * 10.0**p for p in range(math.floor(first), math.ceil(last) + 1) for m in marks]
        found = [n for n in found if first <= math.log10(n) <= last]
        if len(found) <= most:
            return found
    return found[:: math.ceil(len(found) / most)]


def _round_size(n: float) -> str:
    return size(n).replace(".0 ", " ")


def _percent(keep: float) -> str:
    return f"{100 * keep:.3g} %"
