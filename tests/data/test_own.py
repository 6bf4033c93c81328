from datetime import UTC, date, datetime

import pandas as pd
import polars as pl
import pytest

from recprune.data import Log, read_log
from recprune.errors import RecpruneError

CSV = (
    "customer,sku,stars,at,age,brand\n007,0155061224,5,10,30,acme\n007,034545104X,1,20,31,\n8,0155061224,2.5,30,,acme\n"
)
YAML = """
name: shop
file: orders.csv
user: customer
item: sku
rating: stars
time: at
user_attributes: [age]
item_attributes: [brand]
numbers: [age]
licence: ours
"""


@pytest.fixture
def shop(tmp_path):
    (tmp_path / "orders.csv").write_text(CSV, encoding="utf-8", newline="")
    (tmp_path / "shop.yaml").write_text(YAML, encoding="utf-8")
    return tmp_path


def described(shop, **changes):
    """The log of YAML with keys changed; None takes a key away."""
    import yaml

    config = {**yaml.safe_load(YAML), **changes}
    (shop / "shop.yaml").write_text(yaml.safe_dump({key: value for key, value in config.items() if value is not None}))
    return read_log(shop / "shop.yaml")


def test_a_csv_and_a_yaml_make_a_log(shop):
    log = read_log(shop / "shop.yaml")
    assert log.interactions.rows() == [
        ("007", "0155061224", 5.0, 10.0),
        ("007", "034545104X", 1.0, 20.0),
        ("8", "0155061224", 2.5, 30.0),
    ]
    assert log.users.rows() == [("007", 30.0), ("8", None)]
    assert log.items.rows() == [("0155061224", "acme"), ("034545104X", None)]
    assert (log.name, log.licence) == ("shop", "ours")
    assert dict(log.repairs) == {
        "rows without user dropped": 0,
        "rows without item dropped": 0,
        "users with several values of an attribute": 1,
        "items with several values of an attribute": 0,
    }


def test_a_mapping_does_as_well(shop):
    log = read_log({"file": str(shop / "orders.csv"), "user": "customer", "item": "sku"})
    assert log.interactions["rating"].to_list() == [1.0, 1.0, 1.0]
    assert log.name == "orders"
    assert log.users.columns == ["user"]


def test_ids_are_integers_where_declared_only(shop):
    assert described(shop, integers=["user"]).interactions["user"].to_list() == [7, 7, 8]
    with pytest.raises(
        RecpruneError, match=r"^orders.csv: '034545104X' in column 'sku' is no integer; ids are text unless"
    ):
        described(shop, integers=["item"])


def test_parquet_keeps_its_ids_and_has_other_types(shop):
    frame = pl.DataFrame(
        {
            "customer": [7, 7],
            "sku": ["0155061224", "x"],
            "stars": [True, False],
            "at": [date(1970, 1, 2), date(1970, 1, 3)],
        }
    )
    frame.write_parquet(shop / "orders.parquet")
    log = described(shop, file="orders.parquet", user_attributes=None, item_attributes=None, numbers=None)
    assert log.interactions.rows() == [("7", "0155061224", 1.0, 86_400), ("7", "x", 0.0, 172_800)]
    (shop / "orders.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(RecpruneError, match=r"^.*orders\.parquet is not readable as parquet: "):
        described(shop, file="orders.parquet")


def test_attributes_from_files_of_their_own(shop):
    (shop / "people.csv").write_text(
        "id;customer;age;town\n007;x;30;'s-Hertogenbosch\n9;y;40;Ürzig\n", encoding="latin-1"
    )
    (shop / "goods.csv").write_text("sku,brand\n0155061224,acme\n,nobody\n")
    log = described(
        shop,
        user_attributes=None,
        item_attributes=None,
        users={"file": "people.csv", "user": "id", "separator": ";", "encoding": "latin-1"},
        items={"file": "goods.csv"},
    )
    assert log.users.rows() == [("007", 30.0, "'s-Hertogenbosch"), ("9", 40.0, "Ürzig")]
    assert log.items.rows() == [("0155061224", "acme")]


@pytest.mark.parametrize(
    ("content", "dialect"),
    [
        ("\ufeff" + CSV, {}),
        ('\ufeff"customer"' + CSV.removeprefix("customer"), {}),
        (CSV.replace("\n", "\r\n"), {}),
        (CSV.replace(",", "\t"), {"separator": "\t"}),
        (CSV.replace(",", "\t"), {"separator": "tab"}),
        (CSV.replace(",", ";"), {"separator": ";"}),
        (CSV.replace("acme", "'acme'"), {"quote": "'"}),
        (CSV.replace("acme", '"acme"'), {}),
    ],
)
def test_dialects_give_the_same_log(shop, content, dialect):
    expected = read_log(shop / "shop.yaml")
    (shop / "orders.csv").write_text(content, encoding="utf-8", newline="")
    log = described(shop, **dialect)
    assert log.interactions.equals(expected.interactions)
    assert log.items.equals(expected.items)


def test_quotes_are_kept_where_quoting_is_off(shop):
    (shop / "orders.csv").write_text('customer\tsku\ttitle\n1\t51372\t"Great Performances" Cats (1998)\n')
    for off in ("none", "off", False):
        config = {"file": str(shop / "orders.csv"), "user": "customer", "item": "sku", "separator": "tab", "quote": off}
        assert (
            read_log({**config, "item_attributes": ["title"]}).items["title"][0] == '"Great Performances" Cats (1998)'
        )


def test_rows_without_ids_are_dropped_and_counted(shop):
    (shop / "orders.csv").write_text("customer,sku,stars\n,a,x\n1,,2\n1,b,3\n2,a,nan\n")
    plain = {"time": None, "user_attributes": None, "item_attributes": None, "numbers": None}
    with pytest.raises(RecpruneError, match=r"^orders.csv: 'nan' in column 'stars', row 4, is no finite number$"):
        described(shop, **plain)
    (shop / "orders.csv").write_text("customer,sku,stars\n,a,x\n1,,2\n1,b,3\n")
    log = described(shop, **plain)
    assert log.interactions.rows() == [("1", "b", 3.0)]
    assert (log.repairs["rows without user dropped"], log.repairs["rows without item dropped"]) == (1, 1)
    (shop / "orders.csv").write_text("customer,sku,stars\n,a,1\n")
    with pytest.raises(RecpruneError, match=r"^orders.csv has no rows with a user and an item$"):
        described(shop, **plain)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1093953600", 1093953600),
        ("1093953600.5", 1093953600.5),
        ("2004-08-31", 1093910400),
        ("2004-08-31T12:00:00", 1093953600),
        ("2004-08-31 12:00:00", 1093953600),
        ("2004-08-31T12:00:00Z", 1093953600),
        ("2004-08-31T14:00:00+02:00", 1093953600),
    ],
)
def test_times(shop, text, seconds):
    (shop / "orders.csv").write_text(f"customer,sku,stars,at,age,brand\n1,2,3,{text},4,5\n")
    assert read_log(shop / "shop.yaml").interactions["time"].to_list() == [seconds]


def test_labels(shop):
    (shop / "orders.csv").write_text("customer,sku,liked,ok\n1,2,1,true\n1,3,0,false\n")
    plain = {"rating": None, "time": None, "user_attributes": None, "item_attributes": None, "numbers": None}
    assert described(shop, label="liked", **plain).interactions["rating"].to_list() == [1.0, 0.0]
    assert described(shop, label="ok", **plain).interactions["rating"].to_list() == [1.0, 0.0]
    with pytest.raises(RecpruneError, match=r"^orders.csv: labels in 'sku' must be 0 or 1, got '2'; is it a rating\?$"):
        described(shop, label="sku", **{**plain, "item": "ok"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"ratting": "stars"},
            "unknown key in {yaml} 'ratting'; did you mean 'rating'? choices are: encoding, file, i",
        ),
        ({"users": {"fil": "x"}}, "{yaml}: users must be a mapping with the key file, got {{'fil': 'x'}}"),
        ({"users": "people.csv"}, "{yaml}: users must be a mapping with the key file, got 'people.csv'"),
        (
            {"users": {"file": "x", "usr": "id"}},
            "unknown key under users in {yaml} 'usr'; did you mean 'user'? choices",
        ),
        ({"users": {"file": "x", "separator": [";"]}}, "{yaml}: separator under users must be text, got [';']"),
        (
            {"users": {"file": "orders.csv", "user": "id"}},
            "orders.csv has no column 'id'; columns are: customer, sku, st",
        ),
        ({"file": None}, "{yaml} lacks 'file'; it needs file, user and item"),
        ({"file": "odrers.csv"}, "no such file: {folder}/odrers.csv"),
        ({"user": "user"}, "orders.csv has no column 'user'; columns are: customer, sku, stars, at, age, brand"),
        ({"user": 7}, "{yaml}: user must be text, got 7"),
        ({"item": "customer"}, "orders.csv: user and item are the same column 'customer'"),
        ({"rating": "star"}, "orders.csv has no column 'star'; columns are: customer, sku, stars, at, age, brand"),
        ({"label": "stars"}, "orders.csv: name a rating or a label, not both ('stars', 'stars')"),
        ({"rating": "sku"}, "orders.csv: '034545104X' in column 'sku', row 2, is no finite number"),
        ({"rating": "age"}, "orders.csv: column 'age' lacks 1 values; the first is missing in row 3"),
        ({"time": "brand"}, "orders.csv: column 'brand' lacks 1 times"),
        (
            {"time": "sku"},
            "orders.csv: '0155061224' in column 'sku' is no time; write 2004-08-31 or 2004-08-31T12:00:00",
        ),
        ({"user_attributes": "age"}, "{yaml}: user_attributes must be a list of names, got 'age'"),
        (
            {"user_attributes": ["ages"]},
            "orders.csv has no column 'ages'; columns are: customer, sku, stars, at, age, b",
        ),
        ({"item_attributes": ["age"]}, "log 'shop': 'age' is an attribute of users and of items"),
        ({"item_attributes": ["brand", "brand"]}, "orders.csv: 'brand' is named twice among the attributes of items"),
        ({"quote": {}}, "{yaml}: quote must be text, got {{}}"),
        ({"numbers": ["aged"]}, "unknown attribute in numbers 'aged'; did you mean 'age'? choices are: age, brand"),
        ({"numbers": ["brand"]}, "orders.csv: 'acme' in column 'brand', row 1, is no finite number (2 such rows)"),
        ({"integers": ["sku"]}, "unknown id in integers 'sku'; choices are: item, user"),
        (
            {"separator": "||"},
            "{folder}/orders.csv: separator and quote must be one character (quote: none), got '||', ",
        ),
        ({"separator": ";"}, "orders.csv has no column 'customer'; columns are: customer,sku,stars,at,age,brand"),
        ({"encoding": "utf-99"}, "{folder}/orders.csv: unknown encoding 'utf-99'; for example utf-8, latin-1, cp1252"),
    ],
)
def test_a_description_that_does_not_fit_gets_one_clear_line(shop, changes, message):
    with pytest.raises(RecpruneError) as error:
        described(shop, **changes)
    assert str(error.value).startswith(message.format(yaml=shop / "shop.yaml", folder=shop))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "{folder}/orders.csv is empty; it needs a header and records"),
        ("customer,sku,stars,at,age,brand\n", "orders.csv has no rows"),
        (CSV.replace("age", "at"), "{folder}/orders.csv: the header names 'at' more than once; columns are: cust"),
        (CSV + "9,x\n", "{folder}/orders.csv: record 5 has 2 fields, the header has 6"),
        (CSV.replace("2.5", "inf"), "orders.csv: 'inf' in column 'stars', row 3, is no finite number"),
        (CSV.replace("2.5", "NaN"), "orders.csv: 'NaN' in column 'stars', row 3, is no finite number"),
        (CSV.replace("2.5", ""), "orders.csv: column 'stars' lacks 1 values; the first is missing in row 3"),
        (CSV.replace(",20,", ",,"), "orders.csv: column 'at' lacks 1 times"),
        # In UTC this is the year 0, which no calendar here has; the other is the year 10000.
        (
            CSV.replace(",10,", ",0001-01-01T00:00:00+14:00,"),
            "orders.csv: '0001-01-01T00:00:00+14:00' in column 'at' is",
        ),
        (
            CSV.replace(",10,", ",9999-12-31T23:00:00-02:00,"),
            "orders.csv: '9999-12-31T23:00:00-02:00' in column 'at' is",
        ),
    ],
)
def test_a_file_that_cannot_be_used_gets_one_clear_line(shop, content, message):
    (shop / "orders.csv").write_text(content)
    with pytest.raises(RecpruneError) as error:
        read_log(shop / "shop.yaml")
    assert str(error.value).startswith(message.format(folder=shop))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file: [", "is not valid YAML: while parsing"),
        ("- file", "must be a mapping with the keys file, user and item"),
        ("", "must be a mapping with the keys file, user and item"),
        ("!!python/object/apply:os.system ['true']", "is not valid YAML: could not determine a constructor"),
    ],
)
def test_what_is_no_description_gets_one_clear_line(shop, text, message):
    (shop / "shop.yaml").write_text(text)
    with pytest.raises(RecpruneError) as error:
        read_log(shop / "shop.yaml")
    assert str(error.value).startswith(f"{shop / 'shop.yaml'} {message}")
    assert "\n" not in str(error.value)
    with pytest.raises(RecpruneError, match=r"^cannot read .*none\.yaml: No such file or directory$"):
        read_log(shop / "none.yaml")


COLUMNS = {"who": ["007", "8", "8"], "what": ["x", "y", "x"], "stars": [5, 1, 3], "age": [30.0, None, 31.0]}


def test_pandas_and_polars_give_the_same_log():
    names = {"user": "who", "item": "what", "rating": "stars", "user_attributes": ["age"]}
    logs = [Log.from_frame(frame, **names) for frame in (pl.DataFrame(COLUMNS), pd.DataFrame(COLUMNS))]
    for log in logs:
        assert log.interactions.rows() == [("007", "x", 5.0), ("8", "y", 1.0), ("8", "x", 3.0)]
        assert log.users.rows() == [("007", 30.0), ("8", 31.0)]


def test_pandas_columns_of_every_kind():
    frame = pd.DataFrame(
        {
            "mixed": pd.Series([1, "1a", None], dtype=object),
            "category": pd.Categorical(["x", "y", "x"]),
            "nullable": pd.array([1, None, 3], dtype="Int64"),
            "time": pd.to_datetime(["1970-01-02", "1970-01-02", "1970-01-03"]),
            "zoned": pd.to_datetime(["1970-01-02T01:00+01:00"] * 3),
        }
    )
    frame.index = [5, 5, 5]
    log = Log.from_frame(frame, user="mixed", item="category", time="time", item_attributes=["nullable"])
    assert log.interactions.rows() == [("1", "x", 1.0, 86_400), ("1a", "y", 1.0, 86_400)]
    assert log.items.rows() == [("x", 1.0), ("y", None)]
    log = Log.from_frame(frame, user="nullable", item="category", time="zoned", integers=["user"])
    assert log.interactions.rows() == [(1, "x", 1.0, 86_400), (3, "x", 1.0, 86_400)]


def test_times_with_a_zone_in_polars():
    time = pl.Series([datetime(1970, 1, 2, tzinfo=UTC)])
    log = Log.from_frame(pl.DataFrame({"user": ["a"], "item": ["b"], "time": time}), time="time")
    assert log.interactions["time"].to_list() == [86_400]


def test_attribute_frames():
    people = pd.DataFrame({"who": ["007", "9"], "age": [30, 40]})
    log = Log.from_frame(pl.DataFrame(COLUMNS), user="who", item="what", users=people)
    assert log.users.rows() == [("007", 30.0), ("9", 40.0)]
    with pytest.raises(RecpruneError, match=r"^the table of users has no column 'who'; columns are: age$"):
        Log.from_frame(pl.DataFrame(COLUMNS), user="who", item="what", users=people[["age"]])


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"user": ["a"], "item": ["b"]}, "the frame must be a pandas or polars frame, got dict"),
        (
            pd.DataFrame([[1, 2, 3]], columns=["user", "item", "user"]),
            "the frame names the column 'user' more than once",
        ),
        (
            pd.DataFrame({"user": [1.0], "item": [2]}),
            "the frame: column 'user' holds floating-point numbers, not ids; con",
        ),
        (
            pl.DataFrame({"user": [[1]], "item": [2]}),
            "the frame: column 'user' holds List(Int64), not ids; convert it to",
        ),
        (pl.DataFrame({"user": [], "item": []}), "the frame has no rows"),
        (pd.DataFrame({"user": [], "item": []}), "the frame has no rows"),
        (
            pl.DataFrame({"user": ["a"], "item": ["b"], "rating": [float("nan")]}),
            "the frame: nan in column 'rating', row ",
        ),
        (
            pd.DataFrame({"user": ["a"], "item": ["b"], "rating": [float("nan")]}),
            "the frame: column 'rating' lacks 1 values",
        ),
        (
            pd.DataFrame({"user": ["a"], "item": ["b"], "rating": [float("inf")]}),
            "the frame: inf in column 'rating', row 1",
        ),
        (
            pl.DataFrame({"user": ["a"], "item": ["b"], "rating": [[1]]}),
            "the frame: column 'rating' holds List(Int64), not",
        ),
    ],
)
def test_a_frame_that_cannot_be_used_gets_one_clear_line(frame, message):
    with pytest.raises(RecpruneError) as error:
        Log.from_frame(frame, rating="rating" if "rating" in frame else None)
    assert str(error.value).startswith(message)
