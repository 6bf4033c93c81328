"""`recprune bom`: what an artifact is made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["bom"]


def bom(
    artifact: Annotated[Path, typer.Argument(help="The directory of an artifact.", show_default=False)],
) -> None:
    """Print the bill of materials of an artifact: CycloneDX 1.6, JSON.

    Its files, the original model and the data that it comes from by their SHA-256, and its metrics.
    """
    from recprune.trust import bom as bill

    typer.echo(json.dumps(bill(artifact), indent=2))
