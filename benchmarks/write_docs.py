"""Write docs/benchmarks.md and its plots from benchmarks/results/*.json, and nothing else.

python benchmarks/write_docs.py
"""

from __future__ import annotations

import json
import math
from pathlib import Path

ROOT = Path(__file__).parent
DOCS = ROOT.parent / "docs"


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
    """Bytes (log) against the difference: ours filled, peers hollow."""
    points = [p for p in task["frontier"] if p["disk_bytes"]]
    sizes = [math.log10(p["disk_bytes"]) for p in points]
    values = [p["differences"][metric]["value"] for p in points]
    low, high = max(min(values), -0.03) - 0.002, max(*values, 0.0) + 0.002
    left, right = min(sizes) - 0.15, max(sizes) + 0.35
    x = lambda s: 70 + (s - left) / (right - left) * 610  # noqa: E731
    y = lambda v: 20 + (high - max(v, low)) / (high - low) * 320  # noqa: E731
    body = []
    for tick in range(math.ceil(left), math.floor(right) + 1):
        body.append(f'<line x1="{x(tick):.0f}" x2="{x(tick):.0f}" y1="20" y2="340" stroke="#ddd"/>')
        body.append(f'<text x="{x(tick):.0f}" y="358" text-anchor="middle">{10**tick:,}</text>')
    step = 10 ** math.floor(math.log10(high - low))
    for i in range(math.ceil(low / step), math.floor(high / step) + 1):
        body.append(f'<line x1="70" x2="680" y1="{y(i * step):.0f}" y2="{y(i * step):.0f}" stroke="#ddd"/>')
        body.append(f'<text x="64" y="{y(i * step) + 4:.0f}" text-anchor="end">{i * step:+.3f}</text>')
    for point, size, value in zip(points, sizes, values, strict=True):
        ours = point["kind"] == "ours"
        fill, stroke = ("#1f6f8b", "#1f6f8b") if ours else ("#fff", "#b5651d")
        body.append(
            f'<circle cx="{x(size):.0f}" cy="{y(value):.0f}" r="5" fill="{fill}" stroke="{stroke}" stroke-width="2"/>'
        )
        weight = ' font-weight="bold"' if ours else ""
        body.append(f'<text x="{x(size) + 8:.0f}" y="{y(value) + 4:.0f}"{weight}>{point["name"]}</text>')
    path.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 380" font-family="sans-serif" font-size="11" fill="#333">'
        f'<rect width="760" height="380" fill="#fff"/>{"".join(body)}'
        f'<text x="375" y="376" text-anchor="middle">bytes; filled: ours, hollow: peers; height: {metric} against the '
        "original</text></svg>\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
