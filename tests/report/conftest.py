"""A synthetic summary of three tasks, as large and as awkward as a real one."""

import math

import numpy as np
import pytest

from recprune.evaluation import Gate, advantage

NASTY = '<script>alert("x")</script> & Sons'
TITLES = [
    "The Lovely Bones: A Novel",
    "Harry Potter and the Sorcerer's Stone (Book 1)",
    "The Da Vinci Code",
    "A Painted House",
    "The Red Tent (Bestselling Backlist)",
    "Life of Pi",
    "Where the Heart Is (Oprah's Book Club (Paperback))",
    "Snow Falling on Cedars",
    "Bridget Jones's Diary",
    "Divine Secrets of the Ya-Ya Sisterhood: A Novel",
    "The Secret Life of Bees",
    "The Nanny Diaries: A Novel",
    "Girl with a Pearl Earring",
    "Timeline",
    "The Poisonwood Bible: A Novel",
    NASTY,
]
AUTHORS = ["Alice Sebold", "J. K. Rowling", "Dan Brown", "John Grisham", "Anita Diamant", "Yann Martel"]


def value(v, half):
    return {"value": round(v, 6), "low": round(v - half, 6), "high": round(v + half, 6)}


def metric(original, change, half, wide=0.008, higher=True, users=11_000, left_out=0, definition=""):
    found = {
        "original": value(original, wide),
        "compressed": value(original + change, wide),
        "difference": value(change, half),
        "higher_is_better": higher,
        "users": users,
        "left_out": left_out,
    }
    return found | ({"definition": definition} if definition else {})


def sizes(disk, weights, vocabulary, ratio):
    def side(by):
        return {
            "disk_bytes": int(disk / by),
            "weights_bytes": int(weights / by),
            "vocabulary_bytes": int(vocabulary / by**0.6) if by > 1 else vocabulary,
            "resident_bytes": int(1.3 * disk / by),
        }

    return {"original": side(1), "compressed": side(ratio), "ratio": {"disk": float(ratio), "weights": ratio * 1.1}}


def slices_of(names, metrics, rng, bad):
    out = {}
    for name, rows in names.items():
        half = 0.0008 * math.sqrt(43_000 / rows)
        parts = {}
        for m, (original, higher) in metrics.items():
            change = float(rng.normal(-0.0002, half / 3)) * (1 if higher else -1)
            if name in bad:
                change, half = (-0.0032 if higher else 0.0032), 0.0015
            parts[m] = metric(original + float(rng.normal(0, 0.02)), change, half, 0.02, higher)
        out[name] = {"users": max(rows // 3, 3), "rows": rows, "metrics": parts}
    return out


BINARY_SLICES = {
    "books:head": 9_100,
    "books:middle": 10_300,
    "books:tail": 9_700,
    "books:unseen": 14_020,
    "readers:warm": 30_400,
    "readers:cold": 7_300,
    "readers:unseen": 5_420,
    "country:usa": 29_800,
    "country:canada": 3_900,
    "country:united kingdom": 1_700,
    "country:germany": 1_100,
    "country:other": 5_800,
    "country:unknown": 820,
    "age:under 18": 1_500,
    "age:18-24": 4_700,
    "age:25-34": 11_800,
    "age:35-44": 8_100,
    "age:45-54": 5_600,
    "age:55+": 3_000,
    "age:unknown": 38,
}


def frontier(name, disk, peers, rng, scale=1.0):
    points = []
    for ratio, drop in ((20, 0.0001), (48, -0.0001), (96, -0.0003), (131, -0.0007), (200, -0.0026), (320, -0.006)):
        points.append(
            {
                "name": f"{ratio}x",
                "kind": "ours",
                "disk_bytes": int(disk / ratio),
                "differences": {name: value(drop * scale, 0.0007 * scale)},
                "chosen": ratio == 96,
            }
        )
    for peer, (size, drop) in peers.items():
        differences = {name: value(drop * scale, 0.0009 * scale)}
        points.append({"name": peer, "kind": "peer", "disk_bytes": size, "differences": differences})
    return points


def binary(original, ratio, rng, bad=()):
    definition = {
        "auc": "auc: chance that a positive row is scored above a negative one, over all pairs of test rows; ties "
        "count half; no user left out; no cut-off; candidates: the test rows",
        "gauc": "gauc: AUC within each user, averaged with the user's number of rows as weight; ties count half; users "
        "whose rows are all of one class left out; no cut-off; candidates: the test rows",
    }
    metrics = {
        "auc": metric(original, -0.0003, 0.0008, definition=definition["auc"]),
        "gauc": metric(0.6312, -0.0009, 0.0021, left_out=8_112, definition=definition["gauc"]),
        "logloss": metric(0.5641, 0.0011, 0.0006, higher=False),
        "calibration_error": metric(0.0123, 0.0004, 0.0011, 0.003, higher=False),
    }
    by = {"auc": (original, True), "gauc": (0.63, True), "logloss": (0.56, False)}
    parts = slices_of(BINARY_SLICES, by, rng, bad)
    parts["age:unknown"]["metrics"].pop("gauc")
    parts["age:unknown"]["undefined"] = {"gauc": "every user has labels of one class"}
    disk = 41_280_000
    peers = {
        "width 1, ids >= 5": (900_000, -0.0009),
        "width 2, ids >= 3": (1_900_000, -0.0004),
        "width 4, ids >= 2": (4_800_000, 0.0),
        "width 8, all ids": (12_400_000, -0.0006),
        "no id table": (310_000, -0.0028),
        "popularity": (220_000, -0.09),
    }
    points = frontier("auc", disk, peers, rng)
    plan = [
        (
            "user.factor",
            "table",
            ["user", "user.factor"],
            [77_805, 16],
            4_979_520,
            62_000,
            "width 16 -> 4, 4 bits a row",
        ),
        (
            "book.factor",
            "table",
            ["book", "book.factor"],
            [185_973, 16],
            11_902_272,
            121_000,
            "20,000 rows kept, 4 bits",
        ),
        ("work.factor", "table", ["work", "work.factor"], [160_113, 16], 10_247_232, 0, "dropped: the same as book"),
        (
            "author.factor",
            "table",
            ["author", "author.factor"],
            [62_113, 16],
            3_975_232,
            71_000,
            "9,000 rows kept, 4 bits",
        ),
        ("publisher.factor", "table", ["publisher", "publisher.factor"], [10_500, 16], 672_000, 18_000, "4 bits"),
        ("users' ratings", "statistic", ["user", "statistic"], [77_805, 4], 1_244_880, 60_000, "8 bits, shared scale"),
        (
            "books' ratings",
            "statistic",
            ["book", "statistic"],
            [185_973, 4],
            2_975_568,
            44_000,
            "read >= 2: kept, 8 bits",
        ),
        (
            "hidden1.weight",
            "layer",
            ["hidden1", "field*factor"],
            [256, 208],
            212_992,
            21_000,
            "64 neurons kept, 8 bits",
        ),
        ("hidden1.bias", "layer", ["hidden1"], [256], 1_024, 256, "64 neurons kept"),
        ("vocabulary of users", "vocabulary", ["user"], [77_805], 190_000, 9_000, "delta-coded"),
        ("vocabulary of books", "vocabulary", ["book"], [185_973], 2_050_000, 21_000, "ids of dropped rows are gone"),
    ]
    keys = ("part", "kind", "axes", "shape", "bytes_before", "bytes_after", "how")
    curves = []
    worth = {"bias": 0.09, "pairs": 0.013, "book.factor": 0.004, "user.factor": 0.003, "hidden1": 0.0006, "work": 0.0}
    worth |= {f"title word {n}": 0.0002 for n in range(9)}
    for part, harm in worth.items():
        keeps = (1.0, 0.5, 0.2, 0.1, 0.05, 0.0)
        points_ = [(k, -harm * (1 - k) ** 6 + 0.0001 * float(rng.normal())) for k in keeps]
        curves.append(
            {
                "part": part,
                "metric": "auc",
                "how": "rows dropped by expected loss",
                "points": [{"keep": k, "difference": d, "low": d - 4e-4, "high": d + 4e-4} for k, d in points_],
            }
        )
    return {
        "question": "Will this reader rate this book 8 or more?",
        "original": "DCN-v2, 2 cross layers, 256-64 hidden, 16-wide tables, seed 0",
        "split": {
            "how": "80/10/10 by a hash of (user, book)",
            "train": 344_960,
            "valid": 43_021,
            "test": 43_120,
            "users": 77_805,
            "items": 185_973,
        },
        "size": sizes(disk, 38_900_000, 2_240_000, ratio),
        "metrics": metrics,
        "slices": parts,
        "scoring": {
            "original": {"p50_us": 412.0, "p99_us": 731.0, "how": "one row, numpy reference, 1 thread"},
            "compressed": {"p50_us": 268.0, "p99_us": 505.0, "how": "one row, numpy reference, 1 thread"},
            "ratio": 412 / 268,
        },
        "peers": {
            "popularity": {"metrics": {"auc": value(0.6721, 0.009)}, "disk_bytes": 220_000},
            "user mean + book mean": {
                "metrics": {"auc": value(0.734, 0.009), "logloss": value(0.5931, 0.008)},
                "disk_bytes": 1_100_000,
                "note": "logistic regression on two smoothed means",
            },
            "lightgbm": {
                "metrics": {"auc": value(0.7676, 0.009), "gauc": value(0.629, 0.02), "logloss": value(0.565, 0.008)},
                "disk_bytes": 3_400_000,
                "note": "the same 68 statistics, 400 trees, early stopping",
            },
        },
        "frontier": points,
        "advantage": [advantage(points, "auc", drop) for drop in (0.0005, 0.001, 0.004)],
        "gate": Gate.parse("auc:0.001,logloss:0.5%").check(metrics),
        "seed_noise": {"auc": 0.0009, "logloss": 0.0012},
        "recipe": {
            "words": [
                "Drop the block 'work': on validation its loss costs nothing.",
                "Cut the factors of user and book from 16 to 4 columns, by expected loss.",
                "Keep the 20,000 books and 9,000 authors that matter most by expected loss (reads x change).",
                "Quantize tables to 4 bits a group of 64, statistics and dense layers to 8 bits.",
                "Retrain for one epoch with distillation from the original.",
            ],
            "steps": [
                {"drop_fields": {"fields": ["work"]}},
                {"drop_axis": {"axis": "user.factor", "keep": 0.25}},
                {"quantize": {"target": "*.factor", "bits": 4, "granularity": "per_group"}},
            ],
        },
        "plan": [dict(zip(keys, row, strict=True)) for row in plan],
        "sensitivity": curves,
        "analysis": {
            "findings": [
                "The tables of ids hold 78 % of the bytes and are worth .0031 AUC.",
                "The statistics of pairs hold 9 % of the bytes and are worth .0131 AUC.",
                "62 % of the books were read once.",
                *(f"title word {n}: 9 of 16 directions hold 95 % of its variance" for n in range(14)),
            ],
            "blocks": [
                {
                    "name": "work",
                    "bytes": 10_247_232,
                    "metric": "auc",
                    "difference": value(0.0001, 0.0004),
                    "redundant": True,
                    "why": "nearly every work is one book",
                },
                {
                    "name": "pairs",
                    "bytes": 3_700_000,
                    "metric": "auc",
                    "difference": value(-0.0131, 0.0021),
                    "redundant": False,
                },
                {
                    "name": "books' ratings",
                    "bytes": 2_975_568,
                    "metric": "auc",
                    "difference": value(-0.0212, 0.0024),
                    "redundant": False,
                },
            ],
            "axes": [
                {"axis": "user", "rows": 77_805, "never": 0, "rarely": 51_233, "half": 1_012},
                {"axis": "book", "rows": 185_973, "never": 30_117, "rarely": 140_201, "half": 9_344},
                {"axis": "author", "rows": 62_113, "never": 9_800, "rarely": 38_220, "half": 611},
            ],
        },
        "readers": people(rng, scored=True),
        "notes": ["33 % of the test's books and 12 % of its users never appear in training."],
    }


def people(rng, scored=False):
    def pick(order, shift=0.0):
        items = []
        for place, i in enumerate(order):
            item = {"title": TITLES[i], "by": AUTHORS[i % len(AUTHORS)]}
            if scored:
                item["score"] = round(0.93 - 0.02 * place + shift, 3)
            if i in (2, 5):
                item["hit"] = True
            items.append(item)
        return items

    out = []
    for n in range(10):
        order = rng.permutation(len(TITLES))
        before = order[:10]
        after = np.append(np.delete(before, [3, 7]), order[10:12])
        out.append(
            {
                "user": str(11_676 + 913 * n),
                "about": ["USA, 34, 412 books", "Germany, 27, 12 books", "unknown country, 9 books"][n % 3],
                "history": pick(order[12:]),
                "before": pick(before),
                "after": pick(after, -0.004),
            }
        )
    return out


def ranking(rng):
    metrics = {
        "ndcg@10": metric(0.0442, 0.0013, 0.0011, 0.0016, users=21_300, left_out=412),
        "recall@20": metric(0.0721, -0.0001, 0.0013, 0.003, users=21_300, left_out=412),
        "mrr": metric(0.0391, 0.0009, 0.0012, 0.002, users=21_300, left_out=412),
        "coverage@20": metric(0.4121, -0.0312, 0.0041, 0.006, users=21_712),
        "tail_recall@20": metric(0.0084, 0.0002, 0.0009, 0.0012, users=9_100, left_out=12_612),
    }
    names = {
        "books:head": 21_000,
        "books:middle": 19_000,
        "books:tail": 17_400,
        "readers:cold": 20_100,
        "readers:warm": 37_300,
        "country:usa": 40_100,
        "country:other": 17_300,
    }
    by = {"ndcg@10": (0.044, True), "recall@20": (0.072, True)}
    disk = 627_000_000
    peers = {"plain magnitude, 64 a column": (2_480_000, 0.0022), "plain magnitude, 32 a column": (1_277_000, 0.0014)}
    points = [
        {
            "name": f"{k} entries, refit",
            "kind": "ours",
            "disk_bytes": n,
            "differences": {"ndcg@10": value(d, 0.0009), "recall@20": value(r, 0.0013)},
            "chosen": k == 32,
        }
        for k, n, d, r in (
            (64, 1_610_000, 0.0024, 0.0021),
            (32, 780_000, 0.0013, -0.0001),
            (16, 402_000, 0.0004, -0.004),
        )
    ]
    points += [
        {"name": p, "kind": "peer", "disk_bytes": n, "differences": {"ndcg@10": value(d, 0.0009)}}
        for p, (n, d) in peers.items()
    ]
    found = advantage(points, "ndcg@10", 0.0)
    return {
        "question": "Which books will this reader choose next?",
        "original": "EASE, 12,524 books with >= 10 interactions, lambda 50",
        "split": {"how": "20 % of each user's held out by hash", "train": 560_000, "valid": 70_000, "test": 71_400},
        "size": sizes(disk, 626_900_000, 88_000, 804),
        "metrics": metrics,
        "slices": slices_of(names, by, rng, ()),
        "scoring": {
            "original": {"p50_us": 9_120.0, "p99_us": 14_300.0, "how": "top 20 for one history, numpy reference"},
            "compressed": {"p50_us": 830.0, "p99_us": 1_912.0, "how": "top 20 for one history, numpy reference"},
            "ratio": 9120 / 830,
        },
        "peers": {
            "popularity": {"metrics": {"ndcg@10": value(0.0121, 0.001)}, "disk_bytes": 50_000},
            "item cosine": {"metrics": {"ndcg@10": value(0.036, 0.002)}, "disk_bytes": 12_000_000},
            "implicit ALS, 256": {"metrics": {"ndcg@10": value(0.0333, 0.002)}, "disk_bytes": 35_000_000},
        },
        "frontier": points,
        "advantage": [found],
        "gate": Gate.parse("ndcg@10:0,recall@20:1%").check(metrics),
        "recipe": {
            "words": ["Keep the 32 largest entries of each column and refit them in closed form.", "4-bit values."]
        },
        "plan": [
            {
                "part": "item_item",
                "kind": "table",
                "shape": [12_524, 12_524],
                "axes": ["book", "book"],
                "bytes_before": 626_900_000,
                "bytes_after": 760_000,
                "how": "32 entries a column, refit, 4 bits, delta-coded indices",
            }
        ],
        "readers": people(rng),
    }


def synthetic_summary():
    """Three tasks: `like` passes its gate, `like-ids` has slices that got worse, `next book` ranks."""
    rng = np.random.default_rng(0)
    hard = binary(0.7448, 21, rng, bad=("books:tail", "readers:cold"))
    hard["metrics"]["auc"] = metric(0.7448, -0.0041, 0.0012)
    hard["gate"] = Gate.parse("auc:0.001").check(hard["metrics"])
    hard["question"] = "The same from ids and attributes alone"
    return {
        "format": 1,
        "name": "books",
        "machine": {"processor": "two cores", "memory_gb": 24, "system": "Linux"},
        "versions": {"recprune": "0.1.0", "python": "3.11.9", "numpy": "2.1.0", "torch": "2.13.0"},
        "seeds": [0, 1, 2],
        "question": "How small can three book recommenders become before readers would notice?",
        "data": {
            "name": "Book-Crossing",
            "licence": f"free for research; {NASTY}",
            "source": "the public dump of 2004",
            "interactions": 1_149_780,
            "users": 105_283,
            "items": 339_899,
            "repairs": {
                "ages of 0 or above 100 nulled": 1_312,
                "shifted columns mended": 3,
                "countries respelt": 4_119,
            },
        },
        "tasks": {"like": binary(0.769, 96, rng), "like-ids": hard, "next book": ranking(rng)},
        "stages": [
            {"stage": "data", "seconds": 12.1, "cached": True},
            {"stage": "train like", "seconds": 141.9},
            {"stage": "report", "seconds": 0.8},
        ],
    }


@pytest.fixture(scope="session")
def summary():
    return synthetic_summary()
