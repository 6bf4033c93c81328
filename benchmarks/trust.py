"""What signatures cost, side by side in one run: `benchmarks/results/trust.json`.

    python benchmarks/trust.py            # an artifact of 1 GB
    python benchmarks/trust.py 0.05       # of 50 MB, to try it

Signing and verifying an artifact against the SHA-256 of its files (the bar: within three times), and an answer of the ten
best items with and without a signature (the bar: less than 100 us more). Both sides take turns, so that they see the same
machine; `ratio` is how many times as fast ours is, `low` and `high` the 5th and 95th percentile over the repeats.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import recprune
from recprune.artifact import Artifact, lay_out, write
from recprune.graph import Graph, Op
from recprune.pipeline.run import machine, versions
from recprune.snapshot import Snapshot
from recprune.trust import AnswerSigner, AnswerVerifier, Message, generate, sign_artifact, verify_artifact
from recprune.weights import Dense, Param, Weights

ROOT = Path(__file__).parent
REQUEST = Message({}, "POST", "/top_k?k=10")
BAR_US = 100.0


def main() -> None:
    gigabytes = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate(folder / "release")
        generate(folder / "serving", "answers")
        rows = [*artifact_rows(folder, gigabytes), *answer_rows(folder)]
    out = ROOT / "results" / "trust.json"
    out.parent.mkdir(exist_ok=True)
    result = {"machine": machine(), "versions": versions(), "rows": rows}
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for row in rows:
        print(f"{row['work']:44s} {row['value']:12.1f} {row['peer_value']:12.1f} {row['unit']:12s} {row['ratio']:.2f}")


def artifact_rows(folder: Path, gigabytes: float) -> list[dict[str, Any]]:
    path, size = folder / "large", f"{gigabytes:g} GB"
    values = np.random.default_rng(0).random((int(gigabytes * 1e9) // 256, 64), np.float32)
    write(Artifact(Weights({"table": Param(("", ""), Dense(values))}), None, {}), path)
    del values
    release, public = folder / "release", folder / "release.pub"
    sign_artifact(path, release)
    whole = "SHA-256 of its files"
    return [
        both(f"sign an artifact of {size}", "sign", whole, lambda: sign_artifact(path, release), lambda: sha256(path)),
        both(
            f"verify an artifact of {size}",
            "verify",
            whole,
            lambda: verify_artifact(path, public),
            lambda: sha256(path),
        ),
    ]


def sha256(path: Path) -> None:
    for file in path.iterdir():
        with file.open("rb") as opened:
            hashlib.file_digest(opened, "sha256").hexdigest()


def answer_rows(folder: Path) -> list[dict[str, Any]]:
    scorer = ranker(folder / "ranker")
    signer = AnswerSigner(folder / "serving", scorer.artifact.digest)
    verifier = AnswerVerifier(folder / "serving.jwks")
    asked = json.dumps({"history": ["item 1", "item 2"]}).encode()

    def plain() -> bytes:
        found = scorer.top_k([["item 1", "item 2"]], 10)
        return json.dumps({"items": found.ids[0].tolist(), "scores": found.scores[0].tolist()}).encode()

    def over_http() -> dict[str, str]:
        return signer.headers(plain(), REQUEST, asked)

    def as_jws() -> str:
        return signer.jws(json.loads(plain()))

    body = plain()
    response, text = Message(signer.headers(body, REQUEST, asked), status=200), as_jws()
    rows = []
    for work, call, alone in (
        ("over HTTP", over_http, lambda: signer.headers(body, REQUEST, asked)),
        ("as JWS", as_jws, lambda: signer.jws(json.loads(body))),
    ):
        took = in_turns(call, plain, 2000) / 1000
        rows.append(row(f"the ten best of 1,000 items, signed {work}", "signed", "unsigned", took, "us, median"))
        took = in_turns(alone, plain, 2000) / 1000
        took[1] = BAR_US
        rows.append(row(f"what a signature {work} adds", "signing", "the bar", took, "us, median"))
    for work, call in (
        ("over HTTP", lambda: verifier.response(response, body, REQUEST, asked)),
        ("as JWS", lambda: verifier.jws(text)),
    ):
        took = in_turns(call, plain, 1000) / 1000
        rows.append(row(f"verify an answer signed {work}", "verify", "making the answer", took, "us, median"))
    return rows


def ranker(path: Path) -> recprune.Scorer:
    rng = np.random.default_rng(0)
    items = np.array([f"item {i}" for i in range(1000)])
    weights = Weights({"similar": Param(("item", "item"), Dense(rng.random((1001, 1001), np.float32)), (1000,))})
    ops = (
        Op("history", "read", ("items",), (), {"vocabulary": "item"}),
        Op("pool", "scores", ("read",), ("similar",), {"mode": "sum"}),
    )
    laid, vocabularies = lay_out(Snapshot(weights, Graph(("items",), ops, "scores", "item"), {"item": items}))
    write(Artifact(laid.weights, laid.graph, vocabularies), path)
    return recprune.load(path)


def both(work: str, ours: str, peer: str, call: Callable[[], Any], other: Callable[[], Any]) -> dict[str, Any]:
    return row(work, ours, peer, in_turns(call, other, 5) / 1e9, "s, median")


def in_turns(ours: Callable[[], Any], peer: Callable[[], Any], repeats: int) -> np.ndarray:
    """Nanoseconds of both, shape (2, repeats)."""
    took = np.zeros((2, repeats))
    ours(), peer()
    for i in range(repeats):
        for side, call in enumerate((ours, peer)):
            start = time.perf_counter_ns()
            call()
            took[side, i] = time.perf_counter_ns() - start
    return took


def row(work: str, ours: str, peer: str, took: np.ndarray, unit: str) -> dict[str, Any]:
    value, peer_value = np.median(took, axis=1)
    low, high = np.percentile(took[1] / took[0], (5, 95))
    return {
        "work": work, "ours": ours, "peer": peer, "value": float(value), "peer_value": float(peer_value), "unit": unit,
        "ratio": float(peer_value / value), "low": float(low), "high": float(high),
    }  # fmt: skip


if __name__ == "__main__":
    main()
