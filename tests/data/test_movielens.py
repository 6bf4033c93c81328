import zipfile
from importlib import import_module

import polars as pl
import pytest

from recprune.data import movielens_100k, split_by_time
from recprune.errors import RecpruneError

module = import_module("recprune.data.movielens")

RECBOLE = {
    "ml-100k.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    "196\t1\t3\t881250949\n1\t267\t5\t8e8\n",
    "ml-100k.item": "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    "1\tToy Story\t1995\tAnimation Comedy\n267\tunkonwn\tunkonwn\tunknown\n"
    '1412\tLand "III" (1995)\tV\tAnimation\n',
    "ml-100k.user": "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
    "196\t49\tM\twriter\t55105\n1\t24\tF\tother\t01002\n",
}
FLAGS = {"Animation": 3, "Comedy": 5}


def film(item, title, *genres):
    flags = ["1" if index in {FLAGS[genre] for genre in genres} else "0" for index in range(19)]
    return "|".join([item, title, "01-Jan-1995", "", "http://x", *flags])


OFFICIAL = {
    "u.data": "196\t1\t3\t881250949\n1\t267\t5\t800000000\n",
    "u.item": "\n".join(
        [
            film("1", "Toy Story (1995)", "Animation", "Comedy"),
            film("267", "unknown"),
            film("1412", 'Land "III" (1995)', "Animation"),
        ]
    ),
    "u.user": "196|49|M|writer|55105\n1|24|F|other|01002\n",
}


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(module, "_COUNTS", {"ratings": 2, "films": 3, "people": 2})


def write(folder, files):
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8", newline="")
    return folder


@pytest.mark.parametrize("files", [RECBOLE, OFFICIAL])
def test_both_forms_give_one_log(tmp_path, files):
    log = movielens_100k(write(tmp_path, files))
    assert log.interactions.rows() == [("196", "1", 3.0, 881250949), ("1", "267", 5.0, 800000000)]
    assert log.interactions.schema["time"] == pl.Int64
    assert log.users.rows() == [("196", 49, "M", "writer", "55105"), ("1", 24, "F", "other", "01002")]
    assert log.items.rows()[:2] == [
        ("1", "Toy Story", 1995, "Animation Comedy"),
        ("267", None, None, None if files is RECBOLE else ""),
    ]
    assert log.items.rows()[2] == ("1412", 'Land "III"', 1995, "Animation")
    assert log.repairs["film unknown"] == 1
    assert log.repairs["title repaired"] == (files is RECBOLE)


def test_a_zip_with_a_folder_inside(tmp_path):
    with zipfile.ZipFile(tmp_path / "ml-100k.zip", "w") as archive:
        for name, text in OFFICIAL.items():
            archive.writestr(f"ml-100k/{name}", text)
    assert len(movielens_100k(tmp_path / "ml-100k.zip").interactions) == 2


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("u.data", "196\t1\t3\t881250949\n", "u.data has 1 ratings, expected 2; it is truncated or another file"),
        ("u.data", "196\t1\t3\t881250949\n1\t2", "u.data: record 2 has 2 fields, expected 4"),
        ("u.data", "196\t1\t3\tx\n1\t2\t3\t4\n", "the ratings: 'x' in column 'time', row 1, is no finite number"),
        (
            "u.user",
            "196|old|M|writer|55105\n1|24|F|other|01002\n",
            "the people: 'old' in column 'age', row 1, is no fin",
        ),
    ],
)
def test_a_bad_file_gets_one_clear_line(tmp_path, name, text, message):
    write(tmp_path, {**OFFICIAL, name: text})
    with pytest.raises(RecpruneError) as error:
        movielens_100k(tmp_path)
    assert str(error.value).startswith(message)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RecpruneError, match=r"ml-100k\.inter is missing; movielens-100k needs ml-100k\.inter, "):
        movielens_100k(tmp_path)


@pytest.mark.slow
def test_the_real_log(monkeypatch):
    monkeypatch.setattr(module, "_COUNTS", {"ratings": 100_000, "films": 1_682, "people": 943})
    log = movielens_100k()
    assert log.interactions.select(pl.col("user", "item").n_unique()).row(0) == (943, 1_682)
    assert log.interactions["rating"].value_counts().sort("rating")["count"].to_list() == [
        6110,
        11370,
        27145,
        34174,
        21201,
    ]
    assert dict(log.repairs) == {"title repaired": 1, "film unknown": 1}
    parts = split_by_time(log)
    time = log.interactions["time"].to_numpy()
    assert (
        time[parts == "train"].max()
        < time[parts == "valid"].min()
        <= time[parts == "valid"].max()
        < time[parts == "test"].min()
    )
