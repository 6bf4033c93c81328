"""`recprune verify`: is it what was signed?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from recprune.cli.common import console
from recprune.errors import RecpruneError

__all__ = ["verify"]


def verify(
    path: Annotated[
        Path,
        typer.Argument(
            help="An artifact's directory; a file with its `.jws` beside it; a `.jws` that holds an answer; or a response "
            "as `curl -i` saves it.",
            show_default=False,
        ),
    ],
    key: Annotated[
        Path | None,
        typer.Option(help="Of artifacts a public key or certificates (PEM), of answers a key set.", show_default=False),
    ] = None,
    identity: Annotated[
        str, typer.Option(help="Instead of a key: who signed at sigstore.dev.", show_default=False)
    ] = "",
    issuer: Annotated[str, typer.Option(help="Who vouches for the identity.", show_default=False)] = "",
    artifact: Annotated[
        str, typer.Option(help="This artifact only, or answers of it: the SHA-256 of its manifest.", show_default=False)
    ] = "",
    request: Annotated[
        str, typer.Option(help="What a response answers, such as `POST /top_k`.", show_default=False)
    ] = "",
    data: Annotated[Path | None, typer.Option(help="The body of that request.", show_default=False)] = None,
) -> None:
    """Verify a signed artifact, a signed file, or a signed answer. What does not fit is named, with a status of 2."""
    from recprune.trust import AnswerVerifier, Message, Sigstore, parse_response, verify_artifact

    if path.is_dir():
        if (key is None) == (not identity):
            raise RecpruneError("say whom to trust: --key KEY, or --identity WHO --issuer URL")
        if request or data:
            raise RecpruneError(f"{path} is an artifact: --request and --data are for answers")
        digest = verify_artifact(path, key or Sigstore(identity, issuer))
        if artifact and artifact != digest:
            raise RecpruneError(f"{path} is signed, but it is artifact {digest}, not {artifact}")
        console.print(f"verified: {path}, SHA-256 of its manifest {digest}", soft_wrap=True)
        return
    if key is None:
        raise RecpruneError("say which keys to trust: --key KEYS.jwks")
    verifier = AnswerVerifier(key, artifact or None)
    try:
        with path.open("rb") as opened:
            start = opened.read(5)
            content = start + opened.read(64 << 20) if start == b"HTTP/" or path.suffix == ".jws" else b""
        asked = data.read_bytes() if data else b""
    except OSError as error:
        raise RecpruneError(f"cannot read {error.filename}: {error.strerror}") from error
    if start == b"HTTP/":
        method, _, url = request.partition(" ")
        if not url:
            raise RecpruneError("say what the response answers: --request 'POST /top_k' (and --data FILE)")
        found = verifier.response(*parse_response(content), Message({}, method, url), asked)
    elif path.suffix == ".jws":
        found = verifier.jws(content.decode("ascii", "replace"))
        typer.echo(json.dumps(found.content))
    else:
        found = verifier.file(path)
    console.print(
        f"verified: {path}, by key {found.key}, of artifact {found.artifact}, until {_time(found.expires)}",
        soft_wrap=True,
    )


def _time(seconds: int) -> str:
    import datetime

    try:
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat()
    except (OverflowError, OSError, ValueError):  # another's signature may hold for longer than there are dates
        return f"{seconds} seconds after 1970"
