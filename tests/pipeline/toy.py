"""Small logs, for tests of the whole pipeline: readers and books with taste, and items that follow one another."""

import numpy as np
import polars as pl

__all__ = ["write_circle", "write_log"]


def write_log(folder, users=120, items=60, seed=0):
    """Readers of two tastes, every third book a good one: a csv and its YAML in `folder`; gives the path of the YAML."""
    rng = np.random.default_rng(seed)
    user, item = np.meshgrid(np.arange(users), np.arange(items), indexing="ij")
    taste = np.where(user % 2 == item % 2, 0.5, 0.12)
    read = rng.random(user.shape) < taste
    user, item = user[read], item[read]
    liked = rng.random(len(user)) < np.where(item % 3 == 0, 0.9, 0.25)
    rating = np.where(liked, rng.integers(8, 11, len(user)), rng.integers(1, 8, len(user)))
    rating[rng.random(len(user)) < 0.15] = 0
    pl.DataFrame(
        {
            "reader": [f"u{u:03}" for u in user],
            "book": [f"b{i:02}" for i in item],
            "stars": rating,
            "author": [f"author {i % 7}" for i in item],
            "country": ["spain" if u % 3 else "peru" for u in user],
            "age": [None if u % 5 == 0 else int(15 + u % 50) for u in user],
        }
    ).write_csv(folder / "log.csv")
    (folder / "log.yaml").write_text(
        "name: toy\nfile: log.csv\nuser: reader\nitem: book\nrating: stars\n"
        "user_attributes: [country, age]\nitem_attributes: [author]\nnumbers: [age]\n",
        encoding="utf-8",
    )
    return folder / "log.yaml"


def write_circle(folder):
    """Users who walk round a circle of 40 items, one or three at a time: the last two tell the next."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(200):
        start, stride = rng.integers(40), 1 if user % 2 else 3
        rows += [(f"u{user}", f"i{(start + stride * at) % 40:02}", 5, 1000 + at) for at in range(12)]
    rng.shuffle(rows)
    pl.DataFrame(rows, schema=["user", "item", "stars", "at"], orient="row").write_csv(folder / "log.csv")
    (folder / "log.yaml").write_text(
        "name: circle\nfile: log.csv\nuser: user\nitem: item\nrating: stars\ntime: at\n", encoding="utf-8"
    )
    return folder / "log.yaml"
