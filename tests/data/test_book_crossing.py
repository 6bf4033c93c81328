import shutil
from importlib import import_module

import polars as pl
import pytest

from recprune.data import Forgotten, book_crossing
from recprune.data.records import read_records
from recprune.errors import RecpruneError

module = import_module("recprune.data.book_crossing")  # the function of this name hides it in the package

RATINGS, BOOKS, USERS = "BX-Book-Ratings.csv", "BX-Books.csv", "BX-Users.csv"
FILES = {
    RATINGS: [
        '"User-ID";"ISBN";"Book-Rating"',
        '"1";"034545104X";"0"',
        '"1";"034545104x";"7"',  # the same pair: the explicit rating wins
        r'"2";"\"0155061224\"";"8"',
        '"2";"0155061224";"5"',  # the same pair: the higher rating wins
        '"3";"0-330-25864-8";"0"',
        '"3";"999";"10"',  # no record of this book
    ],
    BOOKS: [
        '"ISBN";"Book-Title";"Book-Author";"Year-Of-Publication";"Publisher";"Image-URL-S";"Image-URL-M";"Image-URL-L"',
        '"034545104X";"Flesh Tones: A Novel";"M. J. Rose";"2002";"Ballantine Books";"s";"m";"l"',
        r'"0155061224";"Rites &amp; \"Rights\"; a play";"Judith Rae";"0";"Simon &amp; Schuster";"s";"m";"l"',
        '"034545104x";"Flesh Tones";"M.J. Rose";"1999";"Ballantine Books";"s";"m";"l"',  # the same book
        '"0330258648";"LÃ?Â¼bbes StÃ¼ck (Vol. 2)";"Not Applicable (Na )";"2050";"Not Avail";"s";"m";"l"',
        r'"078946697X";"DK Readers (Level 4)\";Michael Teitelbaum";"2000";"DK Publishing Inc";"s";"m";"l"',  # shifted
    ],
    USERS: [
        '"User-ID";"Location";"Age"',
        '"1";"nyc, new york, usa";NULL',
        '"2";"cernusco s\r\n, milan, itlay";"18"',
        r'"3";"moscow, \"n/a\", fairyland";"240"',
        '"4";"porto, v.n.gaia, ";"0"',
        '"5";"lawrenceville";"100"',
    ],
}


def write(folder, **changed):
    for name, lines in FILES.items():
        content = ("\r\n".join(lines) + "\r\n").encode("latin-1")
        (folder / name).write_bytes(changed.get(name[3:].removesuffix(".csv").replace("-", "_"), content))
    return folder


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RECPRUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "_RECORDS", {RATINGS: 6, BOOKS: 5, USERS: 5})
    (tmp_path / "raw").mkdir()
    return write(tmp_path / "raw")


def test_double_pairs_keep_the_higher_rating(folder):
    log = book_crossing(folder)
    assert log.interactions.rows() == [
        ("1", "034545104X", 7.0),
        ("2", "0155061224", 8.0),
        ("3", "0330258648", 0.0),
        ("3", "999", 10.0),
    ]
    assert log.interactions.schema == {"user": pl.String, "item": pl.String, "rating": pl.Float32}
    assert log.name == "book-crossing"


def test_books_are_cleaned(folder):
    items = book_crossing(folder).items
    assert items.select("item", "title", "author", "publisher", "year").rows() == [
        ("034545104X", "Flesh Tones: A Novel", "m j rose", "ballantine", 2002),
        ("0155061224", 'Rites & "Rights"; a play', "judith rae", "simon and schuster", None),
        ("0330258648", "Lübbes Stück (Vol. 2)", None, None, None),
        ("078946697X", "DK Readers (Level 4)", "michael teitelbaum", "dk", 2000),
    ]
    assert items["work"].to_list() == [
        "flesh tones / m j rose",
        "rites and rights / judith rae",
        "lubbes stuck vol 2 / ",
        "dk readers / michael teitelbaum",
    ]


def test_users_are_cleaned(folder):
    assert book_crossing(folder).users.select("user", "age", "country", "region", "city").rows() == [
        ("1", None, "usa", "new york", "nyc"),
        ("2", 18, "italy", "milan", "cernusco s"),
        ("3", None, None, None, "moscow"),
        ("4", None, None, "v.n.gaia", "porto"),
        ("5", 100, None, None, "lawrenceville"),
    ]


def test_every_repair_is_counted(folder):
    repairs = dict(book_crossing(folder).repairs)
    assert {repairs.pop(f"{name} differs from the known file") for name in FILES} == {1}
    assert repairs == {
        "shifted columns": 1,
        "spellings of ISBNs merged": 2,
        "ISBNs respelt": 3,
        "double pairs merged": 2,
        "texts unescaped or re-decoded": 3,  # two titles and a publisher
        "double book records merged": 1,
        "year nulled": 2,
        "author nulled": 1,
        "publisher nulled": 1,
        "country repaired": 1,
        "country taken from region": 0,
        "country nulled": 1,
        "country missing": 2,
        "age missing": 1,
        "age nulled": 2,
    }


def test_the_second_reading_comes_from_the_cache_and_is_the_same(folder, monkeypatch):
    first = book_crossing(folder)
    monkeypatch.setattr(module, "_parse", lambda contents: pytest.fail("parsed twice"))
    second = book_crossing(folder)
    for table in ("interactions", "users", "items"):
        assert getattr(first, table).equals(getattr(second, table))
    assert dict(first.repairs) == dict(second.repairs)


def test_a_changed_file_and_a_damaged_cache_are_parsed_again(folder, tmp_path):
    book_crossing(folder)
    write(folder, Users=(folder / USERS).read_bytes().replace(b"nyc", b"rye"))
    assert book_crossing(folder).users["city"][0] == "rye"
    for parsed in tmp_path.glob("cache/book-crossing/*/users.parquet"):
        parsed.write_bytes(b"PAR1")
    assert book_crossing(folder).users["city"][0] == "rye"
    assert not list(tmp_path.glob("cache/book-crossing/.parsed-*"))


def test_a_flipped_byte_in_any_file_of_the_cache_is_seen(folder, tmp_path):
    right = book_crossing(folder)
    for file in sorted(tmp_path.glob("cache/book-crossing/parsed-*/*")):
        whole = file.read_bytes()
        for at in range(0, len(whole), 97):
            file.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
            found = book_crossing(folder)
            assert found.digest == right.digest, (file.name, at)
            assert file.read_bytes() != whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :]


def test_a_cache_that_cannot_be_written_does_no_harm(folder, tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert len(book_crossing(folder).interactions) == 4


def test_a_zip_is_taken_too(folder, tmp_path):
    import shutil

    archive = shutil.make_archive(str(tmp_path / "BX-CSV-Dump"), "zip", folder)
    assert book_crossing(archive).interactions.equals(book_crossing(folder).interactions)


def test_a_region_names_its_country_where_its_readers_agree():
    from recprune.data.places import split_locations

    at_home = [f"town{n}, ohio, usa" for n in range(19)]
    ambiguous = [f"town{n}, georgia, usa" for n in range(17)] + ["tbilisi, georgia, georgia"] * 3
    asked = ["dayton, ohio, ", "dayton, ohio, n/a", "dayton, ohio, xyzzy", "x, georgia, ", "y, , "]
    places, repairs = split_locations([*at_home, "k, ohio, canada", *ambiguous, *asked])
    assert [country for _, _, country in places[-5:]] == ["usa", "usa", "usa", None, None]  # 19 of 20; 17 of 20
    assert repairs == {
        "country repaired": 0,
        "country taken from region": 3,
        "country nulled": 0,
        "country missing": 2,
    }


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"Users": b'"User-ID";"Location";"Age"\r\n"1";"nyc, new'},
            "BX-Users.csv: record 2 is broken (unexpected end of",
        ),
        (
            {"Users": b'"User-ID";"Location";"Age"\r\n"1";"x";"7"\r\n'},
            "BX-Users.csv has 1 records, expected 5; it is trunc",
        ),
        (
            {"Users": b'"User-ID";"Place"\r\n"1";"x"\r\n'},
            "BX-Users.csv has the columns User-ID, Place; expected User-ID, L",
        ),
        ({"Users": b""}, "BX-Users.csv has the columns ; expected User-ID, Location, Age"),
        ({"Users": b'"User-ID";"Location";"Age"\r\n"1";"x"\r\n'}, "BX-Users.csv: record 2 has 2 fields, expected 3"),
        ({"Books": FILES[BOOKS][0].encode() + b'\r\n"1";"t"\r\n'}, "BX-Books.csv: record 2 has 2 fields, expected 8"),
        (
            {"Book_Ratings": FILES[RATINGS][0].encode() + b'\r\n"1";"2";"11"\r\n"1";"3";"x"\r\n'},
            "BX-Book-Ratings.csv: 2 ratings are not numbers from 0 to 10",
        ),
    ],
)
def test_a_bad_file_gets_one_clear_line(folder, changed, message):
    write(folder, **changed)
    with pytest.raises(RecpruneError) as error:
        book_crossing(folder)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_the_real_log_has_the_known_figures():
    contents, _ = module.read_files(module._SOURCE)
    raw = list(read_records(contents[RATINGS], RATINGS, separator=";", encoding="latin-1", escape="\\"))[1:]
    assert len(raw) == 1_149_780
    assert sum(rating == "0" for _, _, rating in raw) == 716_109
    assert len({isbn for _, isbn, _ in raw}) == 340_556
    people = list(read_records(contents[USERS], USERS, separator=";", encoding="latin-1", escape="\\"))[1:]
    assert next(location for user, location, _ in people if user == "275081") == "cernusco s\r\n, milan, italy"
    assert sum(age == "NULL" for _, _, age in people) == 110_762

    log = book_crossing()
    assert len(log.interactions) == 1_149_780 - 13
    assert log.repairs["double pairs merged"] == 13
    assert log.interactions["item"].n_unique() == 339_899
    assert log.repairs["spellings of ISBNs merged"] == 340_556 - 339_899
    assert log.interactions["user"].n_unique() == 105_283
    assert len(log.users) == 278_858
    assert len(log.items) + log.repairs["double book records merged"] == 271_379
    assert log.repairs["age missing"] == 110_762
    assert not any(name.endswith("differs from the known file") for name in log.repairs)
    assert log.users["age"].drop_nulls().is_between(5, 100).all()
    assert log.items["year"].drop_nulls().is_between(1800, 2005).all()
    assert not log.items["title"].str.contains("&amp;").any()


def test_forgotten_users_are_in_no_cache(folder, tmp_path, monkeypatch):
    book_crossing(folder)
    some = Forgotten().adding(["2", "4"])
    first = book_crossing(folder, some)
    assert first.interactions["user"].to_list() == ["1", "3", "3"]
    assert first.users["user"].to_list() == ["1", "3", "5"]
    module.drop_parsed(some)
    (parsed,) = tmp_path.glob("cache/book-crossing/parsed-*")
    assert pl.read_parquet(parsed / "users.parquet")["user"].to_list() == ["1", "3", "5"]
    assert book_crossing(folder, some).interactions.equals(first.interactions)
    # Parsed again from the files, which still have them, nothing of them is cached.
    shutil.rmtree(parsed)
    assert book_crossing(folder, some).interactions.equals(first.interactions)
    assert [path.name for path in tmp_path.glob("cache/book-crossing/parsed-*")] == [parsed.name]
