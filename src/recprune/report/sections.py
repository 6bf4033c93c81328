"""The parts of a task's chapter: what was asked, done and found. Task of summary.json in, HTML out, "" if unknown."""

from collections.abc import Mapping, Sequence
from typing import Any

from recprune.report.background import analysis, frontier, notes, peers, readers, scoring, sensitivity
from recprune.report.charts import byte_bars, forest
from recprune.report.forgetting import forgetting
from recprune.report.html import esc, html_table
from recprune.report.privacy import privacy
from recprune.report.words import (
    at_quality,
    count,
    interval,
    is_worse,
    metric_name,
    number,
    plural,
    signed,
    size,
    times,
    worse_slices,
)

__all__ = ["SECTIONS"]

Task = Mapping[str, Any]
_SHOWN = 15


def asked(task: Task) -> str:
    """What was asked: the split, the original and the definitions of the metrics."""
    rows = []
    if "original" in task:
        rows.append(("Original", esc(task["original"])))
    if "split" in task:
        s = task["split"]
        of = "".join(f", {count(s[key])} {key}" for key in ("users", "items") if key in s)
        rows.append(("Split", f"{esc(s['how'])}: {count(s['train'])} rows to train, {count(s['valid'])} to choose, "))
        rows[-1] = (rows[-1][0], rows[-1][1] + f"{count(s['test'])} to test{of}")
    if "seed_noise" in task:
        noise = ", ".join(f"{esc(metric_name(m))} ±{number(v)}" for m, v in task["seed_noise"].items())
        rows.append(("Seed noise", f"{noise} (standard deviation between seeds of the original)"))
    defined = "".join(
        f"<li>{esc(found['definition'])}{_counted(found)}</li>"
        for found in task["metrics"].values()
        if "definition" in found
    )
    listed = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in rows)
    html = f"<dl>{listed}</dl>" if rows else ""
    if defined:
        html += f"<details><summary>How each metric is defined</summary><ul>{defined}</ul></details>"
    return html


def _counted(metric: Mapping[str, Any]) -> str:
    if "users" not in metric:
        return ""
    return f" <b>Here: {count(metric['users'])} users counted, {count(metric.get('left_out', 0))} left out.</b>"


def verdict(task: Task) -> str:
    """The gate rule by rule, and the advantage over the smallest peer."""
    rules = task["gate"]["rules"]
    html = ""
    if rules:
        rows = [
            (
                f"<code>{esc(r['rule'])}</code>",
                number(r["limit"]),
                number(r["drop"]),
                number(r["worst"]) if "worst" in r else "",
                _judged(r),
            )
            for r in rules
        ]
        head = ("Rule", "Drop allowed", "Drop found", "Worst end", "Verdict")
        html += html_table("The gate: how much worse each metric may become", head, rows, (1, 2, 3))
    if task["advantage"]:
        advantages = [
            (
                esc(at_quality(a)),
                f"{size(a['ours_bytes'])}" + (f" <small>{esc(a['ours'])}</small>" if "ours" in a else ""),
                f"{size(a['peer_bytes'])} <small>{esc(a['peer'])}</small>",
                f"<b>{times(a['value'])} ×</b>",
            )
            for a in task["advantage"]
        ]
        html += html_table(
            "Advantage: bytes of the smallest peer at equal quality, divided by ours",
            ("At equal quality", "Ours", "Smallest peer", "Advantage"),
            advantages,
            (3,),
        )
        html += (
            '<p class="note">A ratio to the original alone flatters. A peer is what else one could do: the same model '
            "trained smaller from scratch, or the plainest pruning.</p>"
        )
    return html


def _judged(rule: Mapping[str, Any]) -> str:
    if not rule["passed"]:
        return '<span class="badge fail">✗ failed</span>'
    said = {True: "even at the end of the interval", False: "the interval reaches beyond the limit", None: ""}
    return f'<span class="badge pass">✓ passed</span> <small>{said[rule.get("certain")]}</small>'


def recipe(task: Task) -> str:
    """The recipe in words."""
    if "recipe" not in task:
        return ""
    steps = "".join(f"<li>{esc(line)}</li>" for line in task["recipe"]["words"])
    html = f"<ol>{steps}</ol>"
    if task["recipe"].get("steps"):
        lines = "".join(f"<li><code>{esc(step)}</code></li>" for step in map(_compact, task["recipe"]["steps"]))
        html += f"<details><summary>The recipe as the program reads it</summary><ol>{lines}</ol></details>"
    return html


def _compact(step: Any) -> str:
    import json

    return json.dumps(step, ensure_ascii=False)


def where_bytes_went(task: Task) -> str:
    """Bytes by kind as bars, and each parameter, touched or not and why."""
    sizes = task["size"]
    rows = [
        (
            name,
            size(sizes["original"][key]),
            size(sizes["compressed"][key]),
            f"{times(sizes['original'][key] / sizes['compressed'][key])} ×" if sizes["compressed"][key] else "",
        )
        for name, key in (
            ("On disk, all files", "disk_bytes"),
            ("of which weights and statistics", "weights_bytes"),
            ("of which vocabularies", "vocabulary_bytes"),
            ("In memory after loading", "resident_bytes"),
        )
    ]
    html = html_table("Bytes of the whole artifact", ("", "Original", "Compressed", "Smaller by"), rows, (1, 2, 3))
    plan: Sequence[Mapping[str, Any]] = task.get("plan", [])
    if not plan:
        return html
    html += byte_bars(_groups(plan, sizes["original"]["disk_bytes"], sizes["compressed"]["disk_bytes"]))
    most = max(part["bytes_before"] for part in plan) or 1
    lines = [
        (
            f"<code>{esc(part['part'])}</code>" + _shape(part),
            size(part["bytes_before"]),
            size(part["bytes_after"]),
            f"{times(part['bytes_before'] / part['bytes_after'])} ×" if part["bytes_after"] else "dropped",
            f'<span class="mini" aria-hidden="true" style="width:{60 * part["bytes_before"] / most:.1f}px"></span>',
            f'<div class="wide">{esc(part["how"])}</div>',
        )
        for part in sorted(plan, key=lambda p: -int(p["bytes_before"]))
    ]
    head = ("Parameter, statistic or vocabulary", "Before", "After", "Smaller by", "", "What was done")
    html += html_table("The parts of the model, largest first", head, lines[:_SHOWN], (1, 2, 3))
    if len(lines) > _SHOWN:
        table = html_table("The smaller parts of the model", head, lines[_SHOWN:], (1, 2, 3))
        html += f"<details><summary>{plural(len(lines) - _SHOWN, 'smaller part')}</summary>{table}</details>"
    return html


_KINDS = {
    "table": "tables of ids",
    "statistic": "statistics by id",
    "layer": "dense layers",
    "trees": "trees",
    "vocabulary": "vocabularies",
}


def _groups(plan: Sequence[Mapping[str, Any]], before: int, after: int) -> list[tuple[str, int, int]]:
    """Bytes by kind, or, where no kinds are given, of the four largest parts; the last group is the rest of the files."""
    chosen: list[tuple[str, list[Mapping[str, Any]]]]
    if any("kind" in part for part in plan):
        # A model has layers or trees, and either has the same colour.
        absent = "layer" if any(part.get("kind") == "trees" for part in plan) else "trees"
        words = {kind: word for kind, word in _KINDS.items() if kind != absent}
        chosen = [(word, [p for p in plan if p.get("kind") == kind]) for kind, word in words.items()]
    else:
        chosen = [(p["part"], [p]) for p in sorted(plan, key=lambda p: -int(p["bytes_before"]))[:4]]
    groups = [(n, sum(p["bytes_before"] for p in ps), sum(p["bytes_after"] for p in ps)) for n, ps in chosen]
    # What no part accounts for is counted too: manifest, graph, headers.
    rest = max(before - sum(g[1] for g in groups), 0), max(after - sum(g[2] for g in groups), 0)
    return [*groups, ("the rest of the files", *rest)]


def _shape(part: Mapping[str, Any]) -> str:
    if "shape" not in part:
        return ""
    names = part.get("axes", [])
    sizes = [count(n) for n in part["shape"]]
    if len(names) == len(sizes):
        sizes = [f"{n} {name}".strip() for n, name in zip(sizes, names, strict=True)]
    return f"<br><small>{esc(' × '.join(sizes))}</small>"


def quality(task: Task) -> str:
    """All metrics on the whole test."""
    rows = [(metric_name(name), _left_out(found), found) for name, found in task["metrics"].items()]
    return forest("Compressed against original on the whole test", rows, own_scale=True)


def _left_out(metric: Mapping[str, Any]) -> str:
    left = metric.get("left_out", 0)
    return f"{count(left)} users left out" if left else ""


def slices(task: Task) -> str:
    """The headline metric on every slice as a forest plot, the other metrics folded away; what got worse is named."""
    if not task["slices"]:
        return ""
    worse = worse_slices(task)
    tested = sum(len(part["metrics"]) for part in task["slices"].values())
    if worse:
        lines = "".join(
            f"<li><b>▼ {esc(name)}</b>: {esc(metric_name(metric))} {signed(found['difference']['value'])} "
            f"({interval(found['difference'], sign=True)})</li>"
            for name, metric, found in worse
        )
        html = (
            f'<div class="alert"><b>Significantly worse in {plural(len({n for n, _, _ in worse}), "slice")}:</b>'
            f"<ul>{lines}</ul></div>"
        )
    else:
        html = "<p>No slice got significantly worse.</p>"
    html += (
        '<p class="note">By chance alone, about one interval in forty looks significantly worse; '
        f"there are {count(tested)} here.</p>"
    )
    for place, metric in enumerate(task["metrics"]):
        rows = [
            (name, f"{count(part['rows'])} rows, {count(part['users'])} users", part["metrics"][metric])
            for name, part in task["slices"].items()
            if metric in part["metrics"]
        ]
        if not rows:
            continue
        plot = forest(f"{metric_name(metric)} by slice", rows)
        bad = sum(is_worse(found) for _, _, found in rows)
        mark = f" ({bad} ▼ significantly worse)" if bad else ""
        html += (
            plot
            if place == 0
            else (f"<details><summary>{esc(metric_name(metric))} by slice{mark}</summary>{plot}</details>")
        )
    reasons = [
        (name, metric, why)
        for name, part in task["slices"].items()
        for metric, why in part.get("undefined", {}).items()
    ]
    if reasons:
        items = "".join(f"<li>{esc(n)}, {esc(metric_name(m))}: {esc(w)}</li>" for n, m, w in reasons)
        html += f"<details><summary>{plural(len(reasons), 'number')} could not be measured</summary>"
        html += f"<ul>{items}</ul></details>"
    return html


SECTIONS = (
    ("What was asked", asked),
    ("The verdict", verdict),
    ("What was done", recipe),
    ("Where the bytes were, and where they went", where_bytes_went),
    ("Quality", quality),
    ("Who pays: slices of the test", slices),
    ("Size against quality", frontier),
    ("Other models on the same test", peers),
    ("How sensitive each part is", sensitivity),
    ("What the analysis found", analysis),
    ("Readers, before and after", readers),
    ("Scoring time", scoring),
    ("What an attacker learns", privacy),
    ("Users who were forgotten", forgetting),
    ("To know", notes),
)
