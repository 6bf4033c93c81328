"""Rows as words of a small book."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recprune.errors import RecpruneError
from recprune.weights import Codebook, codebook_bits


def test_few_different_rows_come_back_exactly():
    table = np.array([[0.5, 2], [-1, 4], [0.5, 2], [0, 0]], np.float32)
    coded = Codebook.encode(table, 2)
    assert np.array_equal(coded.decode(), table)
    # Four codes of two bits in one byte; three words of two float16.
    assert (coded.codes.nbytes, coded.words.nbytes, coded.nbytes) == (1, 12, 13)


def test_words_lie_where_the_reads_are():
    # Two words for three points: the two that are read stay exact, the unread one gets the nearer of them.
    table = np.array([[0.0], [1.0], [8.0]], np.float32)
    coded = Codebook.encode(table, 1, shares=np.array([100.0, 0, 100]))
    assert np.abs(coded.decode()[:, 0] - [0, 0, 8]).max() < 1e-2


def test_without_reads_the_words_are_the_means_of_what_is_near():
    table = np.array([[0.0], [2.0], [10.0], [12.0]], np.float32)
    assert sorted(Codebook.encode(table, 1).decode()[:, 0].tolist()) == [1, 1, 11, 11]


def test_more_bits_never_serve_worse_and_beat_the_mean():
    table = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32)
    errors = [float(((Codebook.encode(table, bits).decode() - table) ** 2).mean()) for bits in (1, 3, 5, 7)]
    assert all(b < a for a, b in pairwise(errors))
    assert errors[0] < float(((table - table.mean(axis=0)) ** 2).mean())


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 30), st.integers(1, 4), st.integers(1, 5), st.integers(0, 10))
def test_cuts_change_no_value(rows, columns, bits, seed):
    rng = np.random.default_rng(seed)
    coded = Codebook.encode(rng.normal(size=(rows, columns)).astype(np.float32), bits)
    keep = rng.permutation(rows)[: rows // 2]
    assert np.array_equal(coded.cut(0, keep).decode(), coded.decode()[keep])
    assert np.array_equal(coded.cut(1, np.array([columns - 1])).decode(), coded.decode()[:, -1:])
    assert coded.shape == (rows, columns)


@pytest.mark.parametrize("bits", [0, 13, 2.0, True])
def test_bits_out_of_range_are_named(bits):
    with pytest.raises(RecpruneError, match=r"bits of a codebook must be 1\.\.12"):
        codebook_bits(bits)


def test_a_code_beyond_the_words_is_refused():
    with pytest.raises(RecpruneError, match="beyond the 2 words"):
        Codebook(np.array([0b11000000], np.uint8), np.zeros((2, 1), np.float16), 2, 1)
