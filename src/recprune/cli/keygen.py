"""`recprune keygen`: keys of your own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recprune.cli.common import console

__all__ = ["keygen"]


def keygen(
    path: Annotated[Path, typer.Argument(help="Where the private key goes.", show_default=False)],
    purpose: Annotated[str, typer.Option("--for", help="What it signs: `artifacts` or `answers`.")] = "artifacts",
    keys: Annotated[
        Path | None,
        typer.Option("--add-to", help="A set of public keys of answers that gets the new one too.", show_default=False),
    ] = None,
) -> None:
    """Make a key pair: the private half for the owner only (mode 0600), the public one beside it.

    A key for artifacts stays where models are made; one for answers lies on the server. Nothing is ever overwritten.
    """
    from recprune.trust import generate

    public = generate(path, purpose, keys)  # type: ignore[arg-type]
    console.print(f"private key: {path} (keep it secret)", soft_wrap=True)
    console.print(f"public key: {public}", soft_wrap=True)
