"""Write docs/benchmarks.md and its plots from benchmarks/results/*.json, and nothing else.

python benchmarks/write_docs.py
"""

from __future__ import annotations

import json
from pathlib import Path

from recprune.report.charts import frontier_chart

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

- `like`, with statistics: nine times smaller within .001, not forty. Half a million pairs (reader x author, reader x
  publisher) are worth .013 of AUC, and their ids alone are 0.7 MB at 9 bits. Tried beside what is shipped: rows
  dropped by expected loss (it lets the labels choose which training rows see their statistic, and retraining learns
  that), 4 and 8 bits for each column, 4 to 12 bits for each row, hashes of 5 to 12 bits, fields and columns dropped,
  with and without distillation.
- Rare books and unknown readers pay more than others in `like`: -.0030 and -.0035 where all lose -.0008.
- `next book`: 61 % of the held-out books have fewer than ten readers and count as misses of every model here; tail
  recall is 0 for the original and all that is made of it.
- One request is answered more slowly by the small `like` artifacts than by the original; loading and batches of lists
  are faster.
"""


def main() -> None:
    parts = [
        "# Benchmarks\n\nWritten by `python benchmarks/write_docs.py` from `benchmarks/results/`; every figure comes from "
        "`make evidence`. Values are on test, with 95 % intervals by resampling readers; bytes are of whole artifacts, "
        "vocabularies and statistics counted.\n"
    ]
    books = ROOT / "results" / "books.json"
    if books.exists():
        parts.append(books_part(json.loads(books.read_text(encoding="utf-8"))))
    importance = ROOT / "results" / "importance.json"
    if importance.exists():
        parts.append(importance_part(json.loads(importance.read_text(encoding="utf-8"))))
    speed = ROOT / "results" / "speed.json"
    if speed.exists():
        parts.append(speed_part(json.loads(speed.read_text(encoding="utf-8"))))
    parts.append(SHORT)
    (DOCS / "benchmarks.md").write_text("\n".join(parts), encoding="utf-8")


def books_part(result: dict) -> str:  # type: ignore[type-arg]
    lines = [f"## The book recommender, {len(result['seeds'])} seeds\n"]
    for name, task in result["tasks"].items():
        metric = next(iter(task["frontier"][0]["differences"]))
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
        lines.append("")
        plot(task, metric, DOCS / f"frontier-{name.replace(' ', '-')}.svg")
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


def speed_part(result: dict) -> str:  # type: ignore[type-arg]
    lines = [
        "## Speed\n",
        "Compressed against original artifact, both by the numpy runtime, in turns in one run (`make bench`). Below 1 is "
        "slower: look-ups in hashed vocabularies and codebooks cost time, which native kernels are to win back.\n",
        "| work | compressed, us | original, us | times as fast | 5-95 % |",
        "|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        lines.append(
            f"| {row['work']} | {row['value']:,.0f} | {row['peer_value']:,.0f} | {row['ratio']:.2f} | "
            f"{row['low']:.2f} to {row['high']:.2f} |"
        )
    return "\n".join([*lines, ""])


def plot(task: dict, metric: str, path: Path) -> None:  # type: ignore[type-arg]
    """The report's chart of size against quality, as a file of its own with its colours in it."""
    limit = -0.001 if metric == "auc" else None  # what the recipes shipped are allowed
    chart = frontier_chart(task["frontier"], metric, task["size"]["original"]["disk_bytes"], limit, 760)
    head, _, rest = chart.partition(">")
    head = head.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    path.write_text(f"{head}>{COLOURS}<rect width='760' height='420' fill='#fff'/>{rest}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
