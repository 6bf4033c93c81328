import csv
import io

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.data.records import as_numbers, read_records, read_table
from recprune.errors import RecpruneError

# The characters that a reader of delimited text gets wrong, and a few that it should not care about.
awkward = st.text(alphabet='";,\\\r\n\t aÄ\x0b\u2028', max_size=8)
tables = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(awkward, min_size=width, max_size=width), min_size=1, max_size=6)
)


@given(tables)
def test_what_is_written_with_escaped_quotes_comes_back(rows):
    lines = [";".join('"' + field.replace("\\", "\\\\").replace('"', '\\"') + '"' for field in row) for row in rows]
    content = ("\r\n".join(lines) + "\r\n").encode()
    assert list(read_records(content, "x", separator=";", escape="\\")) == rows


@given(tables)
def test_what_is_written_with_doubled_quotes_comes_back(rows):
    stream = io.StringIO(newline="")
    csv.writer(stream, quoting=csv.QUOTE_ALL).writerows(rows)
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        content = stream.getvalue().encode(encoding)
        assert list(read_records(content, "x", encoding=encoding.removesuffix("-sig"))) == rows


def test_a_line_break_inside_quotes_is_data_and_a_blank_line_is_nothing():
    content = b'"275081";"cernusco s\r\n, milan, italy";NULL\r\n\r\n"275082";"x";"16"\r\n'
    assert list(read_records(content, "x", separator=";", escape="\\")) == [
        ["275081", "cernusco s\r\n, milan, italy", "NULL"],
        ["275082", "x", "16"],
    ]


def test_ids_stay_text_of_ten_characters():
    frame = read_table(b"user,isbn\n276726,0155061224\n276725,034545104X\n", "x")
    assert frame["isbn"].to_list() == ["0155061224", "034545104X"]
    assert frame["isbn"].str.len_chars().to_list() == [10, 10]


@pytest.mark.parametrize("text", ["007", "1e5", "1_000", "0x1F", "NaN", "NA", "null", "True", "1.0", " 7", "+7", "²"])
def test_nothing_that_looks_like_something_else_is_converted(text):
    assert read_table(f"a,b\n{text},x\n".encode(), "x").rows() == [(text, "x")]


def test_quotes_are_kept_where_quoting_is_off():
    content = b'id\ttitle\tgenre\n51372\t"Great Performances" Cats (1998)\tMusical\n7\t"half\tx"\n'
    frame = read_table(content, "x", separator="\t", quote=None)
    assert frame.rows() == [("51372", '"Great Performances" Cats (1998)', "Musical"), ("7", '"half', 'x"')]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_byte_order_mark_before_a_quoted_header_is_dropped(mark):
    assert read_table(mark + b'"user","item"\n1,2\n', "x").columns == ["user", "item"]


def test_a_byte_order_mark_inside_the_data_stays():
    assert read_table("user,item\n\ufeff1,2\n".encode(), "x").rows() == [("\ufeff1", "2")]


def test_an_empty_field_is_null_and_a_file_may_end_without_a_line_break():
    assert read_table(b'a,b\n,1\n"",2\nx,', "x").rows() == [(None, "1"), (None, "2"), ("x", None)]


def test_more_records_than_one_chunk(monkeypatch):
    monkeypatch.setattr("recprune.data.records._CHUNK", 3)
    content = "n,s\n" + "".join(f"{n},{n * n}\n" for n in range(10))
    assert read_table(content.encode(), "x").rows() == [(str(n), str(n * n)) for n in range(10)]


def test_a_field_longer_than_the_default_limit_of_python():
    long = "a" * 200_000
    assert read_table(f"a,b\n{long},1\n".encode(), "x")["a"][0] == long
    assert csv.field_size_limit() == 131_072


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"", {}, "log.csv is empty; it needs a header and records"),
        (b"\n\n", {}, "log.csv is empty; it needs a header and records"),
        (b"a,b,a\n1,2,3\n", {}, "log.csv: the header names 'a' more than once; columns are: a, b, a"),
        (b"a,b\n1,2\n1\n", {}, "log.csv: record 3 has 1 fields, the header has 2"),
        (b"a,b\n1,2,3\n", {}, "log.csv: record 2 has 3 fields, the header has 2"),
        (b"a;b\n1,5;2\n", {}, "log.csv: record 2 has 2 fields, the header has 1; is the separator ','?"),
        (b'a,b\n1,2\n"3,4\n', {}, "log.csv: record 3 is broken (unexpected end of data); the file may be truncated"),
        (b'a,b\n"x"y,2\n', {}, "log.csv: record 2 is broken (',' expected after '\"')"),
        (b"a,b\n\xe9,2\n", {}, "log.csv is not utf-8 (invalid continuation byte, after record 0); name its encoding"),
        (b"a,b\n", {"encoding": "latin1x"}, "log.csv: unknown encoding 'latin1x'"),
        (b"ab", {"encoding": "utf-16"}, "log.csv is not utf-16"),
    ],
)
def test_a_broken_file_gets_one_clear_line(content, options, message):
    with pytest.raises(RecpruneError) as error:
        read_table(content, "log.csv", **options)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("cut", range(1, 24))
def test_a_file_cut_anywhere_inside_its_last_record_is_not_read_as_whole(cut):
    whole = b'"a";"b"\r\n"1";"x; \\"y\\"\r\nz"\r\n"2";"the last one"\r\n'
    records = read_records(whole[:-cut], "x", separator=";", escape="\\")
    kept = whole[:-cut].rstrip(b"\r\n")
    if kept.count(b'"') % 2 == 0:  # (both escaped quotes are before the cut) the last field is whole or absent
        assert list(records)[2:] in ([], [["2"]], [["2", ""]], [["2", "the last one"]])
    else:
        with pytest.raises(RecpruneError, match="may be truncated"):
            list(records)


def test_numbers():
    assert as_numbers(pl.Series("a", ["1", " 2.5 ", None, "1e3"]), "x").to_list() == [1.0, 2.5, None, 1000.0]
    assert as_numbers(pl.Series("a", [1, None, 3]), "x").to_list() == [1.0, None, 3.0]


@pytest.mark.parametrize("bad", ["five", "", "nan", "inf", "-inf", "1,5", "0x1"])
def test_no_number(bad):
    with pytest.raises(RecpruneError, match=r"^x: .* in column 'stars', row 2, is no finite number \(2 such rows\)$"):
        as_numbers(pl.Series("stars", ["1", bad, bad]), "x")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_no_finite_number(bad):
    with pytest.raises(RecpruneError, match=r"^x: (nan|inf) in column 'stars', row 3, is no finite number$"):
        as_numbers(pl.Series("stars", [1.0, None, bad]), "x")
