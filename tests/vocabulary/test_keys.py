"""One id in all the shapes in which a request may give it."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.errors import RecpruneError
from recprune.vocabulary import as_text, missing, pair_keys
from recprune.vocabulary.keys import as_bytes, as_integers, id_keys


def test_a_number_is_its_digits_whatever_its_type():
    for column in (
        [7, 8],
        np.array([7, 8]),
        np.array([7.0, 8.0]),
        np.array(["7", "8"]),
        [np.float32(7), "8"],
        [b"7", 8],
    ):
        assert as_text(column).tolist() == ["7", "8"]


def test_missing_values_are_the_empty_text():
    assert as_text([None, float("nan"), pd.NA, pd.NaT, np.nan, "a"]).tolist() == ["", "", "", "", "", "a"]
    assert as_text(np.array([3.0, np.nan])).tolist() == ["3", ""]
    assert not missing("nan")


def test_nan_beside_text_is_not_the_text_nan():
    assert as_text(["nan", float("nan")]).tolist() == ["nan", ""]


def test_what_is_no_whole_number_stays_as_written():
    assert as_text(np.array([2.5, np.inf])).tolist() == ["2.5", "inf"]


def test_a_long_text_does_not_widen_the_array():
    assert as_text(["a", "x" * 10**7]).itemsize <= 4 * 1024


@pytest.mark.parametrize("texts", [["a", "bc", ""], ["é", "日本", "a"], ["\udcff"], []])
def test_bytes_are_utf8(texts):
    assert as_bytes(np.array(texts, dtype=np.str_)).tolist() == [t.encode("utf-8", "surrogatepass") for t in texts]


def test_text_that_only_looks_like_a_number_is_no_integer():
    numbers, good = as_integers(["5", "-5", "0", "²", "٣", "9" * 30, "5.0", "", "-", " 5", "007", "-0", "1\0002"])
    assert good.tolist() == [True] * 3 + [False] * 10
    assert numbers.tolist() == [5, -5, 0] + [0] * 10
    many = ["5", "-5", "0", "²", "٣", "9" * 30, "5.0", "", "-", " 5", "007", "-0", "1\0002"] * 2  # read by columns
    assert as_integers(many)[1].tolist() == good.tolist() * 2
    assert as_integers(many)[0].tolist() == numbers.tolist() * 2


@given(st.lists(st.integers(-(10**18) + 1, 10**18 - 1), max_size=40))
def test_whole_numbers_are_read_as_they_are_written(numbers):
    found, good = as_integers([str(number) for number in numbers])
    assert found.tolist() == numbers
    assert good.all()


def test_pairs_do_not_run_together():
    assert pair_keys(["a", "ab"], ["bc", "c"]).tolist() == ["a\x1fbc", "ab\x1fc"]
    assert pair_keys(np.array([1.0]), np.array([2])).tolist() == ["1\x1f2"]


def test_an_integer_that_does_not_fit_is_named():
    with pytest.raises(RecpruneError, match=str(2**63)):
        id_keys(np.array([2**63], dtype=np.uint64))
