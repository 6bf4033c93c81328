"""`recprune compress`: the smaller models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from recprune.cli.common import Runs, TaskName, console, open_run, results
from recprune.errors import RecpruneError

__all__ = ["compress"]


def compress(
    config: Annotated[
        Path, typer.Argument(help="YAML of the run, or with --recipe a model in a file.", show_default=False)
    ],
    task: TaskName = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done; nothing is trained.")
    ] = False,
    runs: Runs = Path("runs"),
    recipe: Annotated[
        Path | None, typer.Option("--recipe", help="YAML or JSON with `steps`, for a model in a file.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Where the artifact of a model in a file goes.")] = Path(
        "artifact"
    ),
    trust_pickle: Annotated[
        bool, typer.Option("--trust-pickle", help="Load a pickle or joblib file of your own: it can run any code.")
    ] = False,
) -> None:
    """Apply every recipe of each task to its original, and write the artifacts; or one recipe to a model in a file.

    The recipe to ship becomes `<task>/artifact/`. The plan says of every part how it is stored now, or why it is as it was.

    A model in a file: skops, LightGBM's text, XGBoost's JSON or UBJ, npz of factors or of item weights; with steps that
    need no data, for others use Python.
    """
    if recipe is not None:
        _file(config, recipe, out, dry_run, trust_pickle)
        return
    if config.suffix.lower() not in (".yaml", ".yml"):
        _is_run(config)
    work = open_run(config, runs)
    for name, found in results(work, task, "plan" if dry_run else "compress"):
        if dry_run:
            _show_plan(name, found)
        else:
            _show(name, found, work.config.tasks[name].ship)


def _show(name: str, found: dict[str, Any], shipped: str) -> None:
    _table(f"{name}: {shipped}", found[shipped]["plan"])
    for recipe, result in found.items():
        valid = ", ".join(f"{metric} {value:.4f}" for metric, value in result["valid"].items())
        _line(recipe, f"{result['size']['disk_bytes']:,} bytes; on validation {valid}")


def _show_plan(name: str, found: dict[str, Any]) -> None:
    for recipe, planned in found.items():
        _table(f"{name}: {recipe}", planned["plan"])
        before, after = planned["bytes_before"], planned["bytes_after"]
        _line(recipe, f"{before:,} bytes would become {after:,}, {before / after:.1f} times fewer")
        for line in planned["later"]:
            console.print(f"- not now: {line}")


def _is_run(config: Path) -> None:
    from recprune.pipeline.config import read_config

    try:
        read_config(config)
    except RecpruneError as error:
        raise RecpruneError(f"{error}; a model in a file needs --recipe") from error


def _file(model: Path, recipe: Path, out: Path, dry_run: bool, trust_pickle: bool) -> None:
    import recprune
    from recprune.documents import read_yaml

    given = recprune.Recipe.from_json(read_yaml(recipe))
    loaded = recprune.read_model(model, trust_pickle=trust_pickle)
    made = (recprune.plan if dry_run else recprune.compress)(loaded, given)
    _table(f"{model}: {recipe}", made.plan)
    ratio = f"{made.compression_ratio:.1f} times fewer than the original's"
    if dry_run:
        made.check_smaller()
        console.print(f"the parts would become {made.size_bytes:,} bytes, {ratio}")
        return
    size = made.save(out)
    _line(str(out), f"{size['disk_bytes']:,} bytes; its parts {made.size_bytes:,}, {ratio}")


def _line(name: str, said: str) -> None:
    console.print(Text.assemble((name, "bold"), f": {said}"))


def _table(title: str, plan: list[dict[str, Any]]) -> None:
    table = Table("part", "before", "after", "how", title=title)
    for line in sorted(plan, key=lambda entry: -entry["bytes_before"]):
        table.add_row(line["part"], f"{line['bytes_before']:,}", f"{line['bytes_after']:,}", line["how"])
    console.print(table)
