"""Packed integers and the hash of ids: formats that artifacts on disk depend on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune import bits
from recprune.bits import fnv64, fnv_of, hash64, pack, packed_bytes, unpack, unpack_first, utf8


@given(st.integers(1, 24), st.data())
def test_what_is_packed_is_read_back_in_any_order(width, data):
    values = data.draw(st.lists(st.integers(0, 2**width - 1), max_size=40))
    packed = pack(np.array(values, dtype=np.int64), width)
    assert packed.dtype == np.uint8
    assert len(packed) == packed_bytes(len(values), width) == -(-len(values) * width // 8)
    index = data.draw(st.lists(st.integers(0, len(values) - 1), max_size=40)) if values else []
    assert unpack(packed, np.array(index, dtype=np.int64), width).tolist() == [values[i] for i in index]
    first = data.draw(st.integers(0, len(values)))
    assert unpack_first(packed, first, width).tolist() == values[:first]


def test_the_most_significant_bit_comes_first():
    assert pack(np.array([5, 1]), 3).tolist() == [0b10100100]
    assert pack(np.array([1]), 12).tolist() == [0, 0b00010000]


def test_unpack_keeps_the_shape_of_the_index():
    packed = pack(np.arange(8), 3)
    assert unpack(packed, np.array([[7, 0], [1, 6]]), 3).tolist() == [[7, 0], [1, 6]]
    assert unpack(packed, np.zeros((0, 5), np.int64), 3).shape == (0, 5)


@pytest.mark.parametrize("width", [1, 3, 12])
def test_parts_of_a_large_array_join_without_a_gap(width, monkeypatch):
    values = np.arange(100) % 2**width
    whole = pack(values, width)
    monkeypatch.setattr(bits, "_PART", 16)
    assert pack(values, width).tolist() == whole.tolist()
    assert unpack_first(whole, 100, width).tolist() == values.tolist()


def test_hashes_stay_what_they_are_for_ever():
    # Fingerprint vocabularies on disk hold these bits: a change here makes every shipped artifact unreadable.
    given_ids = np.array(["0155061224", "034545104X", "", "é", "日本"])
    assert hash64(given_ids).tolist() == [
        1941870569410762832,
        1292257856235184320,
        14087677454934409008,
        7936488146098753722,
        17593466052193023829,
    ]
    assert hash64(np.array(["a"]), seed=3).tolist() == [10097168137260107602]


def test_the_hash_is_fnv_then_splitmix():
    # Worked in Python's own integers.
    mask = 2**64 - 1
    state = 0xCBF29CE484222325
    for byte in "né".encode():
        state = (state ^ byte) * 0x100000001B3 & mask
    z = (state + 0x9E3779B97F4A7C15 * 5) & mask
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & mask
    z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
    assert hash64(np.array(["né"]), seed=2).tolist() == [z ^ z >> 31]


def test_text_bytes_and_integers_of_one_id_have_one_hash():
    assert hash64(np.array(["é1", "7"])).tolist() == hash64(np.array(["é1".encode(), b"7"])).tolist()
    assert hash64(np.array([7, -12])).tolist() == hash64(np.array(["7", "-12"])).tolist()


def test_a_neighbour_in_the_array_does_not_change_a_hash():
    alone = hash64(np.array(["ab"]))[0]
    assert hash64(np.array(["ab", "a much longer text"]))[0] == alone
    assert hash64(np.array([b"ab\0\0"]))[0] == alone


def test_a_lone_surrogate_has_a_hash_and_no_id_none():
    assert hash64(np.array(["\udcff"])).shape == (1,)
    assert hash64(np.array([], dtype=np.str_)).tolist() == []


_TEXT = st.text(st.characters() | st.characters(categories=["Cs"]), max_size=12)


@given(st.lists(_TEXT.map(lambda text: text.rstrip("\0"))))
def test_texts_together_are_what_each_is(texts):
    array = np.array(texts, np.str_)
    each = [text.encode("utf-8", "surrogatepass") for text in texts]
    assert utf8(array).tolist() == each
    assert fnv64(array).tolist() == [fnv_of(text) for text in each]
