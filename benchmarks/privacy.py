"""What an attacker learns from models before and after compression: `benchmarks/results/privacy.json`.

    python benchmarks/privacy.py                   # all of it; what was done is kept under runs/privacy
    python benchmarks/privacy.py --only films      # or planted, books

`films`: implicit alternating least squares, 16 wide, on MovieLens-100k, a table of users and one of films; 16 shadow models,
each trained on every interaction by a coin; every model is attacked in turn by the other 15 (likelihood ratio). Tables are
pruned to the largest 20 % of entries, with and without refitting what is left, and coded in 8 and 4 bits a row.
`planted`: the same attack on a model that is overfitted on purpose (200 wide, next to no penalty), where it must find much,
and on one that was trained on random pairs of users and films, where it must find nothing. `books`: `recprune audit` of
`like-ids`.

`ratio` is AUC - .5 of the original over that of the compressed: how many times less is told; `low` and `high` are the ends
of the 95 % interval of `value`, the AUC of ours.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from recprune.data import movielens_100k
from recprune.pipeline.audit import audit_task
from recprune.pipeline.config import read_config
from recprune.pipeline.run import Run, machine, versions
from recprune.privacy import leakage, play
from recprune.weights import Quantized

ROOT = Path(__file__).parent
SHADOWS, WIDTH, ALPHA, L2 = 16, 16, 10.0, 0.1
SAMPLED = 20_000  # interactions that are told apart, of 100,000
Factors = tuple[np.ndarray, np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("films", "planted", "books"))
    parser.add_argument("--shadows", type=int, default=SHADOWS, help="of books")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    given = parser.parse_args()
    out = ROOT / "results" / "privacy.json"
    kept = json.loads(out.read_text(encoding="utf-8"))["rows"] if out.exists() else []
    parts: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "films": lambda: films(given.runs / "privacy"),
        "planted": lambda: planted(given.runs / "privacy"),
        "books": lambda: books(given.runs, given.shadows, given.workers),
    }
    for part, work in parts.items():
        if given.only in (None, part):
            kept = [row for row in kept if row["part"] != part] + [{"part": part, **row} for row in work()]
    result = {"machine": machine(), "versions": versions(), "rows": kept}
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for row in kept:
        print(f"{row['work']:62s} {row['ours']:22s} {row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f})")


# Films: models of factors


def films(place: Path) -> list[dict[str, Any]]:
    known, inside, users = _shadows(place / "films.npz", WIDTH, L2, _variants, False)
    scores = {name: play(x[..., None], inside, "ratio") for name, x in known.items()}
    for name in ("pruned", "refitted", "4 bits"):
        both = np.stack([known["original"], known[name]], axis=-1)
        scores[f"original and {name}"] = play(both, inside, "ratio")
    work = "ALS 16 wide, MovieLens-100k: was this interaction in training?"
    return list(_rows(work, inside, users, scores, SHADOWS))


def planted(place: Path) -> list[dict[str, Any]]:
    rows = []
    for name, width, l2, random in (
        ("overfitted on purpose", 200, 1e-3, False),
        ("random interactions", WIDTH, L2, True),
    ):
        known, inside, users = _shadows(place / f"{name}.npz", width, l2, lambda m, f: {"original": f}, random)
        scores = {name: play(known["original"][..., None], inside, "ratio")}
        rows += list(_rows("ALS, MovieLens-100k: a planted leak, and none", inside, users, scores, SHADOWS))
    return rows


def _shadows(
    path: Path, width: int, l2: float, variants: Callable[[Any, Factors], Mapping[str, Factors]], random: bool
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Scores (models, interactions) of each variant, who was inside, and whose interaction it is."""
    from implicit.als import AlternatingLeastSquares

    log = movielens_100k().interactions
    user, item = (np.unique(log[name].to_numpy(), return_inverse=True)[1] for name in ("user", "item"))
    inside = np.random.default_rng(0).random((SHADOWS, len(user))) < 0.5
    sample = np.sort(np.random.default_rng(1).permutation(len(user))[:SAMPLED])
    for i, coins in enumerate(inside):
        part = path.with_suffix(f".{i:02}.npz")
        if part.exists():
            continue
        rng = np.random.default_rng(100 + i)
        who, what = (rng.permutation(side) if random else side for side in (user, item))
        pairs = (np.ones(int(coins.sum()), np.float32), (who[coins], what[coins]))
        matrix = csr_matrix(pairs, shape=(user.max() + 1, item.max() + 1))
        model = AlternatingLeastSquares(width, regularization=l2, alpha=ALPHA, random_state=i, num_threads=1)
        model.fit(matrix, show_progress=False)
        factors = model.user_factors.astype(np.float64), model.item_factors.astype(np.float64)
        found = {
            name: (users[user[sample]] * items[item[sample]]).sum(axis=1)
            for name, (users, items) in variants(matrix, factors).items()
        }
        part.parent.mkdir(parents=True, exist_ok=True)
        np.savez(part, **found)  # type: ignore[arg-type]
        print(f"{path.stem}: shadow model {i + 1} of {SHADOWS}", flush=True)
    stored = [dict(np.load(path.with_suffix(f".{i:02}.npz"))) for i in range(SHADOWS)]
    return {name: np.stack([s[name] for s in stored]) for name in stored[0]}, inside[:, sample], user[sample]


def _variants(matrix: Any, factors: Factors) -> dict[str, Factors]:
    pruned = tuple(_largest(table, 0.2) for table in factors)
    users, items = pruned
    for _ in range(3):  # alternating least squares over the entries that are left
        users = _refit(items, matrix, pruned[0] != 0)
        items = _refit(users, matrix.T.tocsr(), pruned[1] != 0)

    def coded(bits: int) -> Factors:
        one, other = (Quantized.encode(table.astype(np.float32), bits).decode() for table in factors)
        return one.astype(np.float64), other.astype(np.float64)

    return {
        "original": factors, "pruned": pruned, "refitted": (users, items), "int8": coded(8), "4 bits": coded(4)
    }  # type: ignore[dict-item]  # fmt: skip


def _largest(table: np.ndarray, keep: float) -> np.ndarray:
    least = np.quantile(np.abs(table), 1 - keep)
    return np.where(np.abs(table) >= least, table, 0.0)


def _refit(fixed: np.ndarray, matrix: Any, kept: np.ndarray) -> np.ndarray:
    """One side of implicit ALS (Hu, Koren, Volinsky 2008) with zeros where nothing is kept."""
    out, gram = np.zeros(kept.shape), fixed.T @ fixed + L2 * np.eye(fixed.shape[1])
    for row, free in enumerate(kept):
        read = fixed[matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]]]
        where = np.flatnonzero(free)
        if len(where):
            whole = gram + (ALPHA - 1) * read.T @ read
            out[row, where] = np.linalg.solve(whole[np.ix_(where, where)], ALPHA * read.sum(axis=0)[where])
    return out


# Books: a task of a run


def books(runs: Path, shadows: int, workers: int) -> list[dict[str, Any]]:
    config = read_config(ROOT.parent / "examples" / "books.yaml")
    task = config.tasks["like-ids"]
    only = replace(task, recipes={task.ship: task.recipes[task.ship]})
    run = Run(replace(config, tasks={"like-ids": only}), runs, lambda task, line: print(task, line, flush=True))
    found = audit_task(run, "like-ids", shadows=shadows, workers=workers)
    rows = []
    for kind, of in found["membership"].items():
        for attack, result in of["attacks"].items():
            work = f"like-ids, Book-Crossing: was this {kind[:-1]} in training? by {attack}"
            rows += [
                _row(work, model, values, result["values"]["original"], shadows)
                for model, values in result["values"].items()
            ]
    for name, of in found["attributes"].items():
        for model, accuracy in of["accuracy"].items():
            rows.append(
                {
                    "work": f"like-ids, Book-Crossing: {name} from a user's row", "ours": model, "peer": "largest class",
                    "value": accuracy["value"], "peer_value": of["majority"]["value"], "unit": "accuracy",
                    "ratio": accuracy["value"] / of["majority"]["value"], "low": accuracy["low"], "high": accuracy["high"],
                }
            )  # fmt: skip
    rare = found["rare_rows"]
    before, after = (sum(table[side]["rare"] for table in rare["tables"]) for side in ("original", "compressed"))
    rows.append(
        {
            "work": f"like-ids, Book-Crossing: rows that rest on fewer than {rare['k']} users", "ours": "compressed",
            "peer": "original", "value": after, "peer_value": before, "unit": "rows", "ratio": before / max(after, 1),
            "low": after, "high": after,
        }
    )  # fmt: skip
    return rows


def _rows(
    work: str, inside: np.ndarray, users: np.ndarray, scores: Mapping[str, np.ndarray], shadows: int
) -> Iterator[dict[str, Any]]:
    found = leakage(inside, np.tile(users, len(inside)), scores)["values"]
    plain = {model: {m: i.to_json() for m, i in of.items()} for model, of in found.items()}
    first = next(iter(plain.values()))
    for model, values in plain.items():
        yield _row(work, model, values, first, shadows)


def _row(work: str, model: str, values: Mapping[str, Any], first: Mapping[str, Any], shadows: int) -> dict[str, Any]:
    auc = values["auc"]
    return {
        "work": work, "ours": model, "peer": "original", "value": auc["value"], "peer_value": first["auc"]["value"],
        "unit": "AUC", "ratio": (first["auc"]["value"] - 0.5) / max(auc["value"] - 0.5, 1e-4), "low": auc["low"],
        "high": auc["high"], "shadows": shadows, "tpr@0.1%": values["tpr@0.1%"], "tpr@1%": values["tpr@1%"],
    }  # fmt: skip


if __name__ == "__main__":
    main()
