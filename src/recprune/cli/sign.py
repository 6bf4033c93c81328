"""`recprune sign`: sign an artifact."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recprune.cli.common import console
from recprune.errors import RecpruneError

__all__ = ["sign"]


def sign(
    artifact: Annotated[Path, typer.Argument(help="The directory of an artifact.", show_default=False)],
    key: Annotated[Path | None, typer.Option(help="Private key of `recprune keygen`.", show_default=False)] = None,
    certificate: Annotated[
        Path | None,
        typer.Option(help="PEM of the key's certificate, then of those that it builds on.", show_default=False),
    ] = None,
    sigstore: Annotated[
        bool, typer.Option("--sigstore", help="Sign with your identity at sigstore.dev; needs a network.")
    ] = False,
) -> None:
    """Sign every file of an artifact, by the OpenSSF model signing standard: `signature.json` beside them.

    Before, every file is checked against the manifest. An old signature is replaced.
    """
    from recprune.trust import sign_artifact

    if sigstore == (key is not None):
        raise RecpruneError("say what to sign with: --key KEY or --sigstore")
    digest = sign_artifact(artifact, key, certificate)
    console.print(f"signed: {artifact}, SHA-256 of its manifest {digest}", soft_wrap=True)
