"""Write docs/benchmarks.md and its plots from benchmarks/results/*.json, and nothing else.

python benchmarks/write_docs.py
"""

from __future__ import annotations

import json
from pathlib import Path

from recprune.report.charts import frontier_chart
from recprune.report.words import size

ROOT = Path(__file__).parent
DOCS = ROOT.parent / "docs"
COLOURS = (
    "<style>text{font:11.5px system-ui,sans-serif;fill:#555}.grid{stroke:#e4e4e4}.zero{stroke:#888}"
    ".ours-line{fill:none;stroke:#1f5fa8;stroke-width:2}circle.ours{fill:#1f5fa8;stroke:#fff;stroke-width:1.5}"
    "path.peer{fill:#fff;stroke:#b3590a;stroke-width:2}.err{stroke-width:1.5;opacity:.5}.err.ours{stroke:#1f5fa8}"
    ".err.peer{stroke:#b3590a}.chosen{fill:none;stroke:#1f5fa8;stroke-width:2}.original{fill:#222}"
    ".limit{stroke:#b00020;stroke-dasharray:5 4}text.limit-text{fill:#b00020}text.ours{fill:#1f5fa8;font-weight:bold}"
    "text.peer{fill:#b3590a}</style>"
)


SHORT = """## What falls short

- `like`, with statistics: the bar was sixteen times within .001 and thirty-two times within .004. The second holds. At
  sixteen times (`light` with `fit_bytes: {bytes: 1_690_000}`) it was within .001 on validation but not on test, so it ships
  larger. The ids of half a million pairs (reader x author, reader x publisher) and the statistics by id are most of
  what is left.
- Rows of films in order, and those of mixed bits of `like` and `like-ids`, are older than two changes: `fit_bytes` measures
  which directions of a row move the scores, and a search refits or retrains what `fit_bytes` coded.
- The rows of the search on `like` are no first look at test: those of an earlier form of it stood behind `fit_bytes` there,
  which is why it was changed, on validation. It leads each ratio by less than the intervals.
- On MovieLens half of the validation is a few hundred users, so what the search chooses there may lose on test what it did
  not lose on validation: the tail, and beyond thirty times the rest. A small model of sequences cannot shrink much further:
  at thirty times most of the bytes would be names and shapes.
- Boosted trees on Book-Crossing come to 6 times within .001 in our own container (96 times against LightGBM's text).
- `next book`: the bar was an original of .043, with another definition of what is held out; see the notes there.
- Hashing, quotient and remainder, and PEP were trained from scratch where ids are what there is to make smaller: `like-ids`
  and films in order. `like` without any table of ids is 6.5 MB in the same measure, 2.7 MB are a tenth. On `like-ids` PEP
  does not reach a tenth: it cuts entries of factors, and a bias and an id stay for every row.
- One request takes the small `like` artifact about as long as the original, that of `like-ids` longer. What is left is the
  numpy runtime's own time, for native kernels to win.
- Tensor trains of the tables (TT-SVD, `frontier_peers.py`) lose .03 to .06 AUC at a tenth of the bytes, where the search
  loses less than .001, so there is no step for them.
"""
START, END = "<!-- written by `make docs` -->\n", "<!-- end -->"
HEADS = {
    "README.md": "| model | original | recprune | difference, 95 % | smallest peer within the same drop |",
    "README.zh-CN.md": "| 模型 | 原模型 | recprune | 差异，95 % 区间 | 同样降幅内最小的对手 |",
}


def main() -> None:
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")


def pages() -> dict[Path, str]:
    """Every page and plot that is written from the results."""
    found = {name: json.loads((ROOT / "results" / f"{name}.json").read_text(encoding="utf-8")) for name in RESULTS}
    head = (
        "# Benchmarks\n\nWritten by `python benchmarks/write_docs.py` from `benchmarks/results/`; every figure comes from "
        "`make evidence` or `make bench`. Values are on test, with 95 % intervals by resampling readers; bytes are of whole "
        "artifacts, vocabularies and statistics counted.\n"
    )
    parts = [head, *(part(found[name]) for name, part in RESULTS.items()), SHORT]
    written = {DOCS / "benchmarks.md": "\n".join(parts)}
    for name, heads in HEADS.items():
        readme = (ROOT.parent / name).read_text(encoding="utf-8")
        before, after = readme.split(START)[0], readme.split(END)[1]
        written[ROOT.parent / name] = before + headline(found["books"], heads) + after
    for name, task in found["books"]["tasks"].items():
        written[DOCS / f"frontier-{name.replace(' ', '-')}.svg"] = plot(task, lead(task))
    for name, task in found["frontier"]["tasks"].items():
        written[DOCS / f"methods-{name.replace(' ', '-')}.svg"] = methods_plot(task)
    return written


def headline(result: dict, heads: str) -> str:  # type: ignore[type-arg]
    """The README's table: the smallest of ours within each drop, and the smallest peer that is as good."""
    lines = [START, heads, "|---|---|---|---|---|"]
    for name, task in result["tasks"].items():
        points = {point["name"]: point for point in task["frontier"]}
        whole = size(task["size"]["original"]["disk_bytes"])
        for entry in task["advantage"]:
            metric, of = entry["metric"], points[entry["ours"]]["differences"][entry["metric"]]
            value = task["metrics"][metric]["original"]["value"]
            lines.append(
                f"| {name} | {whole}, {metric} {value:.4f} | {size(entry['ours_bytes'])} | {of['value']:+.4f}, "
                f"{of['low']:+.4f} to {of['high']:+.4f} | {size(entry['peer_bytes'])}: {entry['peer']} |"
            )
    return "\n".join([*lines, "", END])


def lead(task: dict) -> str:  # type: ignore[type-arg]
    """The metric that leads a task."""
    return str(next(iter(task["frontier"][0]["differences"])))


def books_part(result: dict) -> str:  # type: ignore[type-arg]
    lines = [f"## The book recommender, {len(result['seeds'])} seeds\n"]
    for name, task in result["tasks"].items():
        metric = lead(task)
        original = task["metrics"][metric]["original"]
        lines += [
            f"### {name}\n",
            f"{task['original']}: {metric} {original['value']:.4f} ({original['low']:.4f} to {original['high']:.4f}), "
            f"{task['size']['original']['disk_bytes']:,} bytes. Spread between seeds: {task['seed_noise'][metric]:.4f}.\n",
            f"![size and {metric}](frontier-{name.replace(' ', '-')}.svg)\n",
            f"| artifact | bytes | times smaller | weights, times smaller | {metric}, difference | 95 % |",
            "|---|---|---|---|---|---|",
        ]
        for point in sorted(task["frontier"], key=lambda p: -p["disk_bytes"]):
            difference = point["differences"][metric]
            ratio = task["size"]["original"]["disk_bytes"] / max(point["disk_bytes"], 1)
            weights = ""
            if "weights_bytes" in point:
                weights = f"{task['size']['original']['weights_bytes'] / point['weights_bytes']:.1f}"
            label = f"**{point['name']}**" if point["kind"] == "ours" else f"peer: {point['name']}"
            lines.append(
                f"| {label} | {point['disk_bytes']:,} | {ratio:.1f} | {weights} | {difference['value']:+.4f} | "
                f"{difference['low']:+.4f} to {difference['high']:+.4f} |"
            )
        lines.append("")
        for entry in task["advantage"]:
            lines.append(
                f"- Advantage at {entry['metric']} -{entry['drop']:g}: **{entry['value']:.2f}** ({entry['ours']}, "
                f"{entry['ours_bytes']:,} bytes, against {entry['peer']}, {entry['peer_bytes']:,} bytes)"
            )
        worse = {
            part: of["metrics"][metric]["difference"] for part, of in task["slices"].items() if metric in of["metrics"]
        }
        worse = {part: of for part, of in worse.items() if of["high"] < 0}
        listed = (f"{part} {of['value']:+.4f} ({of['low']:+.4f} to {of['high']:+.4f})" for part, of in worse.items())
        lines.append(f"- Slices of what is shipped that got significantly worse: {'; '.join(listed) or 'none'}.")
        lines += [f"- {note}" for note in task.get("notes", [])]
        lines.append("")
    return "\n".join(lines)


def classical_part(result: dict) -> str:  # type: ignore[type-arg]
    """For each model of the classical families what was made of it, and the library's own means."""
    lines = [
        "## The classical recommenders\n",
        "`benchmarks/classical.py`: whole artifacts, or the library's own file where the name says so; each against its own "
        "original, on test, 95 %.\n",
    ]
    for task in dict.fromkeys(row["task"] for row in result["rows"]):
        rows = [row for row in result["rows"] if row["task"] == task]
        metrics = list(rows[0]["metrics"])
        seeds = rows[0]["seeds"]
        lines += [
            f"### {task}, {seeds} seed{'s' if seeds > 1 else ''}\n",
            f"| | bytes | times smaller | {' | '.join(metrics)} | {metrics[0]}, difference |",
            "|---" * (4 + len(metrics)) + "|",
        ]
        for row in rows:
            label = {"ours": "**{}**", "peer": "peer: {}", "original": "{}"}[row["kind"]].format(row["name"])
            values = " | ".join(f"{row['metrics'][metric]['value']:.4f}" for metric in metrics)
            of = row["differences"][metrics[0]]
            apart = "" if row is rows[0] else f"{of['value']:+.4f} ({of['low']:+.4f} to {of['high']:+.4f})"
            ratio = rows[0]["disk_bytes"] / row["disk_bytes"]
            lines.append(f"| {label} | {row['disk_bytes']:,} | {ratio:.1f} | {values} | {apart} |")
        lines.append("")
    return "\n".join(lines)


def importance_part(result: dict) -> str:  # type: ignore[type-arg]
    table = result["table"]
    ways = ("magnitude", "popularity", "expected_loss", "single weights")
    lines = [
        "## Which rows to keep\n",
        "A DeepFM with 16-wide rows on ids and attributes, AUC on test, one shot, nothing retrained "
        "(`benchmarks/importance.py`).\n",
        "| rows kept | by magnitude of the row | by popularity | by expected loss | single weights by magnitude |",
        "|---|---|---|---|---|",
        f"| all | {table['all']['value']:.4f} | | | |",
    ]
    for keep in sorted({name.split()[0] for name in table if name != "all"}, reverse=True):
        cells = [table[f"{keep} {way}"] for way in ways]
        shown = " | ".join(f"{c['value']:.4f} ({c['low']:.4f} to {c['high']:.4f})" for c in cells)
        lines.append(f"| {float(keep):.0%} | {shown} |")
    return "\n".join([*lines, ""])


MARKS = """Published marks, on other data and with other ways to count, to place these beside: about 200 times fewer bytes of
tables without loss, at training time, on a public ad log (mixed precision of rows); more than 50 times after training on
three sets; 48 times for item tables by joint product codes.
"""


def frontier_part(result: dict) -> str:  # type: ignore[type-arg]
    """For each task what each method loses at each ratio."""
    lines = [
        "## Every method, the search and the peers, at equal bytes\n",
        "`benchmarks/frontier.py`. For each method and ratio the best setting that fits, by validation, judged on test: "
        "difference from the original, 95 % interval, bytes of the whole artifact. Alone, a method leaves the layers as "
        "they are; ids are hashed to 8 bits for all. Empty: nothing that was tried is that small. Peers that were trained "
        "smaller were chosen on test, in their favour.\n",
    ]
    for name, task in result["tasks"].items():
        metric, original = task["metric"], task["original"][task["metric"]]
        ratios = sorted({row["ratio"] for row in task["rows"]})
        heads = [f"{ratio}x: {size(task['original_bytes'] // ratio)}" for ratio in ratios]
        count = len(task["seeds"])
        lines += [
            f"### {name}: {metric} {original['value']:.4f}, {size(task['original_bytes'])}, "
            f"{f'{count} seeds' if count > 1 else 'in closed form: no seeds'}\n",
            f"![{name}](methods-{name.replace(' ', '-')}.svg)\n",
            f"| method | {' | '.join(heads)} |",
            "|---" * (1 + len(heads)) + "|",
        ]
        for kind, mark in (("combined", "**{}**"), ("alone", "{}"), ("peer", "peer: {}")):
            methods = dict.fromkeys(row["method"] for row in task["rows"] if row["kind"] == kind)
            for method in methods:
                cells = []
                for ratio in ratios:
                    found = [r for r in task["rows"] if (r["method"], r["kind"], r["ratio"]) == (method, kind, ratio)]
                    cells.append(_cell(found[0], metric, count) if found else "")
                lines.append(f"| {mark.format(method)} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join([*lines, MARKS])


def _cell(row: dict, metric: str, seeds: int) -> str:  # type: ignore[type-arg]
    of = row["differences"][metric]
    alone = f", {row['seeds']} of {seeds} seeds" if row["seeds"] < seeds else ""
    return f"{of['value']:+.4f} ({of['low']:+.4f} to {of['high']:+.4f}), {size(row['disk_bytes'])}, {row['setting']}{alone}"


def methods_plot(task: dict) -> str:  # type: ignore[type-arg]
    """What the search found against the best peer and the best single method of each ratio."""
    points = []
    for row in task["rows"]:
        if row["method"] == "search" or row["kind"] == "peer":
            kind = "ours" if row["kind"] == "combined" else "peer"
            label = f"{row['method']} {row['setting']}"
            points.append(
                {"name": label, "kind": kind, "disk_bytes": row["disk_bytes"], "differences": row["differences"]}
            )
    unique = {(p["name"], p["disk_bytes"]): p for p in points}
    return framed(frontier_chart(list(unique.values()), task["metric"], task["original_bytes"], None, 760))


def speed_part(result: dict) -> str:  # type: ignore[type-arg]
    lines = [
        "## Speed\n",
        "Compressed against original artifact, both by the numpy runtime, in turns in one run (`make bench`). Below 1 is "
        "slower: look-ups in hashed vocabularies and codebooks cost time, which native kernels are to win back.\n",
        "| work | compressed, us | original, us | times as fast | 5-95 % | at the 95th percentile |",
        "|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        lines.append(
            f"| {row['work']} | {row['value']:,.0f} | {row['peer_value']:,.0f} | {row['ratio']:.2f} | "
            f"{row['low']:.2f} to {row['high']:.2f} | {row['peer_p95'] / row['p95']:.2f} |"
        )
    return "\n".join([*lines, ""])


def privacy_part(result: dict) -> str:  # type: ignore[type-arg]
    """What an attacker learns from each of two models, and from both."""
    lines = [
        "## What an attacker learns\n",
        "`benchmarks/privacy.py`: membership inference by likelihood ratio with shadow models, attributes guessed from the "
        "rows of users; docs/privacy.md says how to read it. .5 is chance.\n",
        "| attack | model | shadow models | value | peer | its value | 95 % |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        cells = [row["work"], row["ours"], row.get("shadows", ""), f"{row['value']:,.3f} {row['unit']}", row["peer"]]
        cells += [f"{row['peer_value']:,.3f}", f"{row['low']:,.3f} to {row['high']:,.3f}"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join([*lines, ""])


def trust_part(result: dict) -> str:  # type: ignore[type-arg]
    """What signatures cost."""
    lines = [
        "## Signatures\n",
        "`benchmarks/trust.py`, side by side in one run.\n",
        "| work | ours | value | peer | its value | times as fast |",
        "|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        cells = [row["work"], row["ours"], f"{row['value']:,.2f} {row['unit']}", row["peer"]]
        lines.append(f"| {' | '.join(cells)} | {row['peer_value']:,.2f} | {row['ratio']:.2f} |")
    return "\n".join([*lines, ""])


def plot(task: dict, metric: str) -> str:  # type: ignore[type-arg]
    """The report's chart of size against quality, with its colours in it."""
    limit = -0.001 if metric == "auc" else None  # what the recipes shipped are allowed
    return framed(frontier_chart(task["frontier"], metric, task["size"]["original"]["disk_bytes"], limit, 760))


def framed(chart: str) -> str:
    """A chart as a file of its own."""
    head, _, rest = chart.partition(">")
    head = head.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    return f"{head}>{COLOURS}<rect width='760' height='420' fill='#fff'/>{rest}\n"


RESULTS = {
    "books": books_part,
    "frontier": frontier_part,
    "classical": classical_part,
    "importance": importance_part,
    "privacy": privacy_part,
    "trust": trust_part,
    "speed": speed_part,
}


if __name__ == "__main__":
    main()
