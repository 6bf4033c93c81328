"""`recprune analyze`: where the parameters are, and which are redundant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from recprune.cli.common import Config, Runs, TaskName, console, open_run, results

__all__ = ["analyze"]


def analyze(
    config: Config,
    task: TaskName = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    importance: Annotated[
        bool, typer.Option("--importance", help="Also: how well each importance predicts what cutting rows costs.")
    ] = False,
    runs: Runs = Path("runs"),
) -> None:
    """Say where the bytes of each model are, which blocks are redundant, and what cutting each part alone costs.

    Nothing is retrained here: a block is called redundant where replacing it by its mean costs next to nothing on
    validation. Rows never and rarely read, repeated rows, constant columns, narrow spectra and dead neurons are listed. The
    report draws the same as curves.
    """
    everything: dict[str, Any] = {}
    for name, found in results(open_run(config, runs), task, "analyze", *(["importance"] if importance else [])):
        everything[name] = found
        if as_json:
            continue
        table = Table("block", "bytes", "when replaced by its mean", "when shuffled", "", title=f"{name}: blocks")
        for block in sorted(found["blocks"], key=lambda b: -b["bytes"]):
            lost = f"{block['metric']} {block['difference']['value']:+.4f}" if "difference" in block else ""
            mixed = f"{block['shuffled']:+.4f}" if "shuffled" in block else ""
            table.add_row(
                block["name"], f"{block['bytes']:,}", lost, mixed, "redundant" if block.get("redundant") else ""
            )
        console.print(table)
        rows = Table(
            "axis", "rows", "never read", "read once or twice", "rows with half of the reads", title=f"{name}: reads"
        )
        for axis in found["axes"]:
            rows.add_row(axis["axis"], *(f"{axis[key]:,}" for key in ("rows", "never", "rarely", "half")))
        console.print(rows)
        cuts = Table("part", "how", "what is left: difference on validation", title=f"{name}: each part cut alone")
        for curve in found["sensitivity"]:
            points = "  ".join(f"{p['keep']:.3g}: {p['difference']:+.4f}" for p in curve["points"][1:])
            cuts.add_row(curve["part"], curve["how"], points)
        console.print(cuts)
        if found.get("importance"):
            ranks = Table(
                "importance", "rank correlation with the loss", "95 %", "tables", title=f"{name}: importances"
            )
            for entry in found["importance"]:
                value, low, high = (entry["correlation"][key] for key in ("value", "low", "high"))
                ranks.add_row(entry["importance"], f"{value:.3f}", f"{low:.3f} to {high:.3f}", str(entry["tables"]))
            console.print(ranks)
        for line in found["findings"]:
            console.print(f"- {line}")
    if as_json:
        typer.echo(json.dumps(everything))
