"""`recprune recommend`: lists for many users at once."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Annotated

import typer

from recprune.cli.common import console
from recprune.errors import RecpruneError

__all__ = ["recommend"]


def recommend(
    artifact: Annotated[
        Path, typer.Argument(help="The directory of an artifact that ranks items.", show_default=False)
    ],
    users: Annotated[
        Path,
        typer.Option(
            help="csv or parquet: a row for each `user` and `item` of the histories, the latest last.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(help="Where the lists go: .parquet or .csv.", show_default=False)],
    k: Annotated[int, typer.Option("--k", help="Items a user.")] = 10,
    decimals: Annotated[
        int | None,
        typer.Option(help="Round scores to so many decimals (0 to 6) before items are ranked.", show_default=False),
    ] = None,
    sign: Annotated[
        Path | None,
        typer.Option(help="Private key for answers: `<out>.jws` then signs the file.", show_default=False),
    ] = None,
    days: Annotated[int, typer.Option(help="For how long the signed lists hold.")] = 7,
    require_signature: Annotated[
        Path | None,
        typer.Option(help="Public key or certificates: only an artifact signed by it is loaded.", show_default=False),
    ] = None,
) -> None:
    """Write the k best items of every user in a file: `user`, `rank`, `item`, `score`, and whether popularity answered.

    What a user has had already is not recommended. Users keep the order in which they first appear.
    """
    import polars as pl

    import recprune
    from recprune.data.frames import need_columns
    from recprune.data.own import read_file
    from recprune.files import write_bytes
    from recprune.trust.answers import LONGEST_DAYS, AnswerSigner

    if out.suffix not in (".parquet", ".csv"):
        raise RecpruneError(f"lists are written as .parquet or .csv, got {out}")
    if not 1 <= days <= LONGEST_DAYS:
        raise RecpruneError(f"--days must be from 1 to {LONGEST_DAYS}, got {days}")
    scorer = recprune.load(artifact, require_signature=require_signature, decimals=decimals)
    signer = AnswerSigner(sign, scorer.artifact.digest, lifetime=days * 86_400) if sign else None
    frame = read_file(users, {})
    need_columns(frame, ["user", "item"], str(users))
    histories = frame.drop_nulls("user").group_by("user", maintain_order=True).agg(pl.col("item").drop_nulls())
    found = scorer.top_k(histories["item"].to_list(), k)
    lengths = [len(ids) for ids in found.ids]
    lists = pl.DataFrame(
        {
            "user": [user for user, n in zip(histories["user"], lengths, strict=True) for _ in range(n)],
            "rank": [rank for n in lengths for rank in range(1, n + 1)],
            "item": [item for ids in found.ids for item in ids.tolist()],
            "score": [score for scores in found.scores for score in scores.tolist()],
            "fallback": [bool(used) for used, n in zip(found.fallback, lengths, strict=True) for _ in range(n)],
        },
        schema_overrides={"score": pl.Float32, "rank": pl.Int32},
    )
    content = io.BytesIO()
    lists.write_parquet(content) if out.suffix == ".parquet" else lists.write_csv(content)
    if signer is not None:
        out.with_name(out.name + ".jws").unlink(missing_ok=True)  # an old signature is never beside new lists
    write_bytes(out, content.getvalue())
    console.print(f"{len(histories):,} users, {len(lists):,} recommendations: {out}", soft_wrap=True)
    if signer is not None:
        console.print(f"signed: {signer.file(out)}", soft_wrap=True)
