"""Files of logs: random bytes, odd encodings, broken csv and parquet, and what is no file at all."""

import io

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.data import read_log
from recprune.data.own import read_file
from recprune.errors import RecpruneError
from tests.fuzz.harness import broken, few, many, parsed

CSV = b'user,item,rating,at\nu1,i1,5,2004-08-31\nu2,i2,1,2004-09-01T12:00:00\nu1,"i, 3",3,0\n'
LOG = {"file": "log.csv", "user": "user", "item": "item", "rating": "rating"}
ENCODINGS = (
    *(
        "utf-8",
        "utf-16",
        "utf-7",
        "utf-32",
        "latin-1",
        "cp1252",
        "ascii",
        "hz",
        "shift_jis",
        "mbcs",
        "idna",
        "punycode",
    ),
    *("rot13", "base64", "zlib", "unicode_escape", "raw_unicode_escape", "undefined", "", "a\0b", "x" * 300),
)
settings_of_csv = st.fixed_dictionaries(
    {},
    optional={
        "separator": st.sampled_from([",", ";", "tab", "\t", "|", '"', " ", "\0", "\n", "", "ab", "é", "😀"]),
        "quote": st.sampled_from(['"', "'", "none", ",", "", "\0", "\\", "ab"]),
        "encoding": st.sampled_from(ENCODINGS),
        "rating": st.sampled_from(["rating", "at", "item", "none"]),
        "time": st.sampled_from(["at", "rating", "user"]),
        "integers": st.lists(st.sampled_from(["user", "item", "rating"]), max_size=2),
        "numbers": st.lists(st.sampled_from(["rating", "at", "x"]), max_size=1),
        "item_attributes": st.lists(st.sampled_from(["at", "rating", "user", "x"]), max_size=2),
    },
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("logs")


def log(folder, content, name, given):
    (folder / name).write_bytes(content)
    return parsed(read_log, LOG | given | {"file": str(folder / name)})


def frames():
    """Tables of every kind of column, some as logs have them."""
    rng = np.random.default_rng(0)
    ids = [f"u{i}" for i in range(20)]
    many = {
        "lists": [[1, 2]] * 20,
        "structs": [{"a": 1}] * 20,
        "binary": [b"\xff\x00"] * 20,
        "nothing": [None] * 20,
        "huge": [1e300] * 20,
        "times": pl.Series([0] * 20).cast(pl.Datetime("ns", "UTC")),
        "spans": pl.Series([10**15] * 20).cast(pl.Duration),
        "decimals": pl.Series(["1.5"] * 20).cast(pl.Decimal(10, 2)),
        "places": pl.Series(ids, dtype=pl.Categorical),
        "truths": [True, False] * 10,
        "unsigned": pl.Series([2**64 - 1] * 20, dtype=pl.UInt64),
    }
    for name, values in many.items():
        for role in ("user", "item", "rating", "at"):
            yield (
                pl.DataFrame(
                    {"user": ids, "item": ids[::-1], "rating": rng.random(20), "at": range(20)} | {role: values}
                ),
                name,
            )


def parquet(frame):
    content = io.BytesIO()
    frame.write_parquet(content)
    return content.getvalue()


PARQUET = parquet(pl.DataFrame({"user": ["a", "b"] * 9, "item": range(18), "rating": [0.5] * 18, "at": range(18)}))


@few
@given(st.integers(0, 2**31), settings_of_csv)
def test_mutated_logs(folder, seed, given):
    mutate(folder, seed, given)


@few
@given(st.binary(max_size=300), st.text(max_size=300), settings_of_csv)
def test_made_up_logs(folder, content, text, given):
    made_up(folder, content, text, given)


@pytest.mark.slow
@many
@given(st.integers(0, 2**31), settings_of_csv)
def test_many_mutated_logs(folder, seed, given):
    mutate(folder, seed, given)


@pytest.mark.slow
@many
@given(st.binary(max_size=3000), st.text(max_size=3000), settings_of_csv)
def test_many_made_up_logs(folder, content, text, given):
    made_up(folder, content, text, given)


def mutate(folder, seed, given):
    rng = np.random.default_rng(seed)
    log(folder, broken(CSV, rng), "log.csv", given)
    log(folder, broken(PARQUET, rng), "log.parquet", {})


def made_up(folder, content, text, given):
    log(folder, content, "log.csv", given)
    log(folder, CSV + content, "log.csv", given)
    log(folder, b"user,item,rating,at\n" + text.encode(errors="surrogatepass"), "log.csv", given)
    log(folder, content, "log.parquet", given)
    log(folder, b"PAR1" + content + b"PAR1", "log.parquet", given)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_reads_every_file_or_says_why(folder, encoding):
    for content in (CSV, "ü,ö".encode(), CSV.decode().encode("utf-16"), b"", b"\xff", b"\0" * 100, bytes(range(256))):
        log(folder, content, "log.csv", {"encoding": encoding})


def test_columns_of_every_kind(folder):
    for frame, name in frames():
        for more in (
            {},
            {"time": "at"},
            {"item_attributes": ["at"]},
            {"integers": ["user", "item"]},
            {"label": "rating", "rating": None},
        ):
            given = {key: value for key, value in (LOG | more).items() if value is not None}
            (folder / "log.parquet").write_bytes(parquet(frame))
            if parsed(read_log, given | {"file": str(folder / "log.parquet")}):
                found = read_log(given | {"file": str(folder / "log.parquet")})
                assert found.interactions["rating"].is_finite().all(), (name, given)
                assert not found.interactions.select(pl.any_horizontal(pl.col("user", "item").is_null()).any()).item()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n\n\n",
        b"user,item,rating\n",
        b"user,user,item,rating\na,b,c,1\n",
        b"user,item,rating\na,b\n",
        b'user,item,rating\n"a,b,1\n',
        b"user,item,rating\na,b,1e999\n",
        b"user,item,rating\na,b,1e300\n",
        b"user,item,rating\na,b,nan\n",
        b"user\0,item,rating\na,b,1\n",
        b"user,item,rating\n" + b"," * 100_000 + b"\n",
        b'user,item,rating\n"' + b"x\n" * 100_000,
    ],
    ids=range(12),
)
def test_broken_csv_is_refused(folder, content):
    assert not log(folder, content, "log.csv", {})


def test_odd_csv_is_read(folder):
    assert log(folder, b"user,item,rating\n\0,\xc2\x85,1\n", "log.csv", {})
    assert log(folder, b"user,item,rating\n" + b"x" * 5_000_000 + b",b,1\n", "log.csv", {})


def test_what_is_no_file(folder, tmp_path):
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "gone.parquet").symlink_to("nowhere")
    for name in ("loop.csv", "folder.csv", "gone.parquet", "x" * 300, "a\0b", "", "."):
        assert not parsed(read_log, LOG | {"file": str(tmp_path / name) if name else ""})
        assert not parsed(read_file, tmp_path / name, {})


def test_a_few_bytes_that_claim_very_many_rows(tmp_path, monkeypatch):
    """Runs of one value take next to nothing in parquet: whether what they stand for fits is asked before."""
    path = tmp_path / "rows.parquet"
    pl.DataFrame({"user": [1] * 1_000_000, "item": [1] * 1_000_000}).write_parquet(path)
    assert path.stat().st_size < 100_000
    monkeypatch.setattr("recprune.memory.free_bytes", lambda: 8_000_000)
    with pytest.raises(RecpruneError, match=r"rows\.parquet of 2,000,000 values needs 0\.0 GB of memory"):
        read_file(path, {})
