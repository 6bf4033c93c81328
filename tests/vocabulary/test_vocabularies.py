"""What all vocabularies promise, and what each does with what is stored."""

import lzma
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune.errors import RecpruneError
from recprune.vocabulary import (
    ExactVocabulary,
    FingerprintVocabulary,
    IntegerVocabulary,
    ListedVocabulary,
    vocabulary_from,
)
from recprune.vocabulary.places import Places

from ..small import at_most

IDS = st.lists(st.text(st.characters(exclude_characters="\n\0"), max_size=6), unique=True, max_size=30)
INTEGERS = st.lists(st.integers(-(2**63), 2**63 - 1), unique=True, max_size=30)


def stored(vocabulary):
    return vocabulary_from(vocabulary.spec(), vocabulary.arrays())


def parts(ids, at, dtype):
    return [np.array(ids[:at], dtype=dtype), np.array(ids[at:], dtype=dtype)]


# Exact


@given(IDS, st.integers(0, 30))
def test_exact_finds_every_id_in_its_group(ids, at):
    groups = parts(ids, at, np.str_)
    vocabulary, orders = ExactVocabulary.build(groups)
    rows = np.concatenate([group[order] for group, order in zip(groups, orders, strict=True)])
    for built in (vocabulary, stored(vocabulary)):
        assert len(built) == len(ids)
        assert built.ids().tolist() == rows.tolist()
        back = np.arange(len(ids))[::-2]
        assert built[back].tolist() == rows[back].tolist()
        assert built.lookup(rows).tolist() == list(range(len(ids)))
        assert built.lookup(np.array(["no such id", "no\nid"])).tolist() == [len(ids)] * 2
    # Rows of the first group come first.
    assert set(rows[: len(groups[0])].tolist()) == set(groups[0].tolist())


@given(INTEGERS, st.integers(0, 30))
def test_exact_finds_every_integer_and_the_same_as_text(ids, at):
    vocabulary, _ = ExactVocabulary.build(parts(ids, at, np.int64))
    again = stored(vocabulary)
    rows = again.ids()
    assert again[np.arange(len(rows))[::-1]].tolist() == rows[::-1].tolist()
    assert rows.dtype == np.int64
    assert sorted(rows.tolist()) == sorted(ids)
    assert again.lookup(rows).tolist() == list(range(len(ids)))
    short = np.array([i for i in rows.tolist() if abs(i) < 10**18], dtype=np.int64)
    assert again.lookup(short.astype(np.str_)).tolist() == again.lookup(short).tolist()


def test_what_is_no_integer_is_unknown_to_integers():
    vocabulary, _ = ExactVocabulary.build([np.array([-5, 0, 7])])
    assert vocabulary.lookup(np.array(["7", "²", "9" * 30, "-5", "x", ""])).tolist() == [2, 3, 3, 0, 3, 3]
    assert vocabulary.lookup(np.array([7.0, np.nan, 7.5])).tolist() == [2, 3, 3]
    assert vocabulary.lookup(np.array([2**64 - 5], dtype=np.uint64)).tolist() == [3]


def test_numbers_find_ids_that_are_text():
    vocabulary, _ = ExactVocabulary.build([np.array(["12", "7", ""])])
    assert vocabulary.lookup(np.array([7, 12, 8])).tolist() == [2, 1, 3]
    # A column of integers with one missing comes as floats; a missing id reads the id "" where there is one.
    assert vocabulary.lookup(np.array([7.0, np.nan])).tolist() == [2, 0]


def test_a_long_request_does_not_widen_the_vocabulary():
    vocabulary, _ = ExactVocabulary.build([np.array([f"{i:06}" for i in range(20000)])])
    request = np.array(["000007", "000007" + "x" * 100000])
    with at_most(4):
        assert vocabulary.lookup(request).tolist() == [7, 20000]


def test_an_id_of_which_only_the_start_is_known_is_unknown():
    vocabulary, _ = ExactVocabulary.build([np.array(["ab", "b"])])
    assert vocabulary.lookup(np.array(["abc", "a", "ab"])).tolist() == [2, 2, 0]


@pytest.mark.parametrize(
    "ids", [["a", "b", "a"], ["a\nb"], ["x" * 1025], [b"a", b"a"]], ids=["twice", "line break", "long", "bytes"]
)
def test_ids_that_cannot_be_kept_apart_are_refused(ids):
    groups = [np.array(ids[:1]), np.array(ids[1:], dtype=np.array(ids).dtype)]
    for build in (ExactVocabulary.build, lambda g: FingerprintVocabulary.build(g, 8)):
        with pytest.raises(RecpruneError, match="an id"):
            build(groups)
    with pytest.raises(RecpruneError, match="an id"):
        ListedVocabulary(np.array(ids))


def test_long_ids_come_back():
    ids = np.array([f"{i}" * 250 for i in range(9)])  # 250 letters each: beyond any average
    vocabulary, _ = ExactVocabulary.build([ids])
    assert stored(vocabulary).ids().tolist() == sorted(ids.tolist())


def test_sorted_integers_cost_little():
    vocabulary, _ = ExactVocabulary.build([np.arange(0, 30000, 3)])
    assert sum(a.nbytes for a in vocabulary.arrays().values()) < 400
    assert vocabulary.resident_bytes == 80000


def test_long_and_short_ids_are_named_by_their_rows():
    ids = np.array(["a", "longer than eight", "b" * 40, "", "c"])
    vocabulary, (order,) = ExactVocabulary.build([ids])
    assert vocabulary[np.array([4, 0, 4])].tolist() == ids[order][[4, 0, 4]].tolist()
    with pytest.raises(IndexError, match="out of range of 5 ids"):
        vocabulary[np.array([5])]


def test_no_groups_and_no_ids():
    for vocabulary in (ExactVocabulary.build([])[0], ExactVocabulary.build([np.array([], dtype=np.str_)])[0]):
        again = stored(vocabulary)
        assert len(again) == 0
        assert again.lookup(np.array(["a"])).tolist() == [0]
        assert again.lookup(np.array([], dtype=np.str_)).tolist() == []
        assert again.ids().tolist() == []


# Fingerprint


@given(IDS, st.integers(0, 30))
def test_fingerprint_finds_every_known_id(ids, at):
    groups = parts(ids, at, np.str_)
    vocabulary, orders = FingerprintVocabulary.build(groups, 16)
    rows = np.concatenate([group[order] for group, order in zip(groups, orders, strict=True)])
    for built in (vocabulary, stored(vocabulary)):
        assert len(built) == len(rows)
        assert (built.lookup(np.array(ids, dtype=np.str_)) < len(built)).all()
        if len(rows) == len(ids):  # no two of one hash
            found = built.lookup(rows)
            first = np.arange(len(groups[0]))
            assert found[first].tolist() == first.tolist()


@pytest.mark.parametrize("bits", [1, 4, 8, 12, 16])
@pytest.mark.parametrize("n", [1, 2, 31, 32, 33, 64, 5000])
def test_fingerprint_takes_unknown_ids_for_known_ones_as_rarely_as_declared(bits, n):
    ids = np.array([f"book {i}" for i in range(n)])
    vocabulary, (order,) = FingerprintVocabulary.build([ids], bits)
    assert vocabulary.lookup(ids[order]).tolist() == list(range(len(vocabulary)))
    assert (vocabulary.lookup(ids) < len(vocabulary)).all()
    strangers = np.array([f"stranger {i}" for i in range(20000)])
    rate = (vocabulary.lookup(strangers) < len(vocabulary)).mean()
    # Each of the ids that have a row takes one of n * 2**bits places.
    expected = len(vocabulary) / (n << bits)
    assert expected <= 2.0**-bits
    assert abs(rate - expected) < 5 * np.sqrt(expected / 20000)


def test_of_two_ids_with_one_hash_the_first_given_has_the_row():
    ids = np.array([f"{i}" for i in range(2000)])
    vocabulary, (order,) = FingerprintVocabulary.build([ids], 1)
    assert len(vocabulary) < 2000
    found = order[vocabulary.lookup(ids)]
    assert (found <= np.arange(2000)).all()
    assert (found[order] == order).all()


def test_fingerprint_knows_an_integer_given_as_text_and_the_other_way_round():
    for ids, other in (
        (np.arange(50), np.arange(50).astype(np.str_)),
        (np.arange(50).astype(np.str_), np.arange(50.0)),
    ):
        vocabulary, (order,) = FingerprintVocabulary.build([ids], 16)
        assert vocabulary.lookup(other[order]).tolist() == list(range(50))


def test_fingerprint_costs_bits_and_not_letters():
    ids = np.array([f"{i:0100}" for i in range(20000)])
    vocabulary, _ = FingerprintVocabulary.build([ids], 10)
    bits = 8 * sum(a.nbytes for a in vocabulary.arrays().values()) / 20000
    assert 11.9 < bits < 12.1
    # The directory: four bytes for 32 places.
    assert 8 * vocabulary.resident_bytes / 20000 < bits + 1.01


def test_groups_may_be_empty():
    for groups in ([], [[]], [["a"], [], ["b"]]):
        vocabulary, orders = FingerprintVocabulary.build([np.array(g, dtype=np.str_) for g in groups], 16)
        again = stored(vocabulary)
        assert [len(order) for order in orders] == [len(g) for g in groups]
        known = np.array([known for group in groups for known in group], dtype=np.str_)
        assert again.lookup(known).tolist() == list(range(len(known)))
        assert again.lookup(np.array([], dtype=np.str_)).tolist() == []


@pytest.mark.parametrize("bits", [0, 17, True, 8.0, "8"])
def test_bits_out_of_range_are_named(bits):
    with pytest.raises(RecpruneError, match=r"fingerprint bits must be 1\.\.16"):
        FingerprintVocabulary.build([np.array(["a"])], bits)


# Integers


@given(st.lists(st.integers(-300, 300), unique=True, max_size=200), st.integers(0, 200), st.sampled_from([0, 2**62]))
def test_whole_numbers_are_found_exactly(ids, at, start):
    groups = parts([start + i for i in ids], at, np.int64)
    vocabulary, orders = IntegerVocabulary.build(groups)
    rows = np.concatenate([group[order] for group, order in zip(groups, orders, strict=True)])
    everything = np.arange(start - 400, start + 400)
    expected = {row: i for i, row in enumerate(rows.tolist())}
    for built in (vocabulary, stored(vocabulary)):
        assert len(built) == len(ids)
        assert built.lookup(everything).tolist() == [expected.get(i, len(ids)) for i in everything.tolist()]
        if not start:
            assert built.lookup(everything.astype(np.str_)).tolist() == built.lookup(everything).tolist()


def test_numbers_far_beyond_are_unknown():
    vocabulary, _ = IntegerVocabulary.build([np.array([-5, 0, 7])])
    asked = np.array([2**63 - 1, -(2**63), 7, -5, 8, -6])
    assert vocabulary.lookup(asked).tolist() == [3, 3, 2, 0, 3, 3]
    assert vocabulary.lookup(np.array(["7", "07", "²", "x", "", "-5"])).tolist() == [2, 3, 3, 3, 3, 0]


def test_every_third_number_costs_as_much_as_declared():
    vocabulary, _ = IntegerVocabulary.build([np.arange(0, 30000, 3)])
    # A span of 29,998 over 10,000 ids leaves a low bit each, and 14,999 places: 10,000 + 10,000 + 14,999 bits.
    assert sum(a.nbytes for a in vocabulary.arrays().values()) == 1250 + 3125
    assert vocabulary.resident_bytes == 1250 + 3125 + 4 * 470


@pytest.mark.parametrize("ids", [["1", "x"], ["1", "007"], [0, 2**62], [*range(5000), 10**9]], ids=str)
def test_what_is_no_number_or_lies_too_far_apart_is_left_to_others(ids):
    assert IntegerVocabulary.build([np.array(ids)]) is None


# Listed


@given(IDS, st.randoms())
def test_listed_keeps_the_order_it_is_given(ids, random):
    random.shuffle(ids)
    vocabulary = ListedVocabulary(np.array(ids, dtype=np.str_))
    assert vocabulary.lookup(np.array(ids, dtype=np.str_)).tolist() == list(range(len(ids)))
    assert vocabulary.lookup(np.array(["no such id"])).tolist() == [len(ids)]


# One request


ODD = [None, float("nan"), 7, 7.0, "7", b"7", "007", -3, "", "a\0", "\udcff", "日本", True, 2**70, "x" * 2000]


@given(IDS, st.integers(0, 30), st.lists(st.sampled_from(ODD) | st.text(max_size=4), max_size=30))
def test_ids_have_the_same_rows_one_by_one_and_together(ids, at, asked):
    groups = parts([*ids, "7"] if "7" not in ids else ids, at, np.str_)
    numbers = [np.array([-3, 7]), np.arange(40, 60)]
    asked = np.fromiter([*asked, *ids, *range(38, 62)], dtype=object)  # many, which are looked up as arrays
    for built in (
        ExactVocabulary.build(groups)[0],
        ExactVocabulary.build(numbers)[0],
        FingerprintVocabulary.build(groups, 4)[0],  # so few bits that unknown ids are taken for known ones
        IntegerVocabulary.build(numbers)[0],
    ):
        together = built.lookup(asked).tolist()
        assert together == [int(built.lookup(asked[i : i + 1])[0]) for i in range(len(asked))]


# What is stored may be damaged


def exact():
    return ExactVocabulary.build([np.array(["a", "b"]), np.array(["c"])])[0]


def integers():
    return ExactVocabulary.build([np.array([5, 3, 9])])[0]


def compact_integers():
    return IntegerVocabulary.build([np.array([5, 3, 9]), np.array([4])])[0]


def fingerprint():
    return FingerprintVocabulary.build([np.array(["a", "b"]), np.array(["c"])], 8)[0]


def raw_xz(raw):
    return np.frombuffer(
        lzma.compress(raw, lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "preset": 6}]), np.uint8
    )


@pytest.mark.parametrize("make", [exact, integers, compact_integers, fingerprint])
@pytest.mark.parametrize(
    "change",
    [
        {"vocabulary": "trie"},
        {"vocabulary": []},
        {"vocabulary": None},
        {"counts": 5},
        {"counts": "12"},
        {"counts": [2]},
        {"counts": [2, 1, 1]},
        {"counts": [3, 0]},
        {"counts": [2, -1]},
        {"counts": [2.0, 1.0]},
        {"counts": ["x", None]},
        {"counts": [10**11, 1]},
        {"counts": [2**31, 2**31]},
        {"counts": [10**400, 1]},
        {"type": "float", "bits": 0, "first": [0]},
        {"type": [], "bits": "8", "first": "7"},
    ],
    ids=str,
)
def test_a_spec_that_does_not_fit_is_refused_without_a_large_allocation(make, change):
    vocabulary = make()
    arrays = vocabulary.arrays()
    with at_most(10), pytest.raises(RecpruneError):  # the window of xz is 8 MiB
        vocabulary_from(vocabulary.spec() | change, arrays)


@pytest.mark.parametrize("make", [exact, integers, compact_integers, fingerprint])
def test_a_spec_that_is_none_is_refused(make):
    for spec in (None, [], "exact", 5, {}):
        with pytest.raises(RecpruneError):
            vocabulary_from(spec, make().arrays())


@pytest.mark.parametrize("make", [exact, integers, compact_integers, fingerprint])
def test_an_array_missing_cut_extra_or_of_another_type_is_refused(make):
    vocabulary = make()
    spec, arrays = vocabulary.spec(), vocabulary.arrays()
    for name, array in arrays.items():
        for other in (
            array[:-1],
            np.append(array, np.uint8(1)),
            array.astype(np.int32),
            array.reshape(1, -1),
            array[:0],
        ):
            with pytest.raises(RecpruneError):
                vocabulary_from(spec, arrays | {name: other})
        with pytest.raises(RecpruneError):
            vocabulary_from(spec, {k: v for k, v in arrays.items() if k != name})
    with pytest.raises(RecpruneError, match=r"other\.0"):
        vocabulary_from(spec, arrays | {"other.0": np.zeros(3, np.uint8)})


def test_ids_that_are_not_sorted_or_twice_are_refused():
    for raw in (b"b\na", b"a\na"):
        with pytest.raises(RecpruneError, match="sorted"):
            vocabulary_from({"vocabulary": "exact", "counts": [2], "type": "text"}, {"ids.0": raw_xz(raw)})


def test_ids_that_are_no_utf8_are_refused():
    with pytest.raises(RecpruneError, match="malformed"):
        vocabulary_from({"vocabulary": "exact", "counts": [1], "type": "text"}, {"ids.0": raw_xz(b"\xff\xfe")})


def test_a_file_that_unpacks_to_gigabytes_is_cut_off():
    bomb = raw_xz(b"a" * 50_000_000)
    assert len(bomb) < 10000
    for kind in ("text", "integer"):
        with at_most(10), pytest.raises(RecpruneError):
            vocabulary_from({"vocabulary": "exact", "counts": [3], "type": kind}, {"ids.0": bomb})


def test_marks_that_no_hash_would_make_are_refused():
    # 8,000 ids in one place: every look-up would read them all.
    marks = np.concatenate([np.ones(8000, np.uint8), np.zeros(8000, np.uint8)])
    with pytest.raises(RecpruneError, match="more than 992 ids in 32 places"):
        Places(1, 8000, np.zeros(1000, np.uint8), np.packbits(marks))


@pytest.mark.parametrize("make", [exact, integers, compact_integers, fingerprint])
def test_random_damage_is_refused_or_answers_within_bounds(make):
    vocabulary = make()
    rng = np.random.default_rng(0)
    for _ in range(300):
        arrays = {k: v.copy() for k, v in vocabulary.arrays().items()}
        name = rng.choice(list(arrays))
        if len(arrays[name]):
            arrays[name][rng.integers(len(arrays[name]))] ^= np.uint8(1 << rng.integers(8))
        try:
            damaged = vocabulary_from(vocabulary.spec(), arrays)
        except RecpruneError:
            continue
        rows = damaged.lookup(np.array(["a", "b", "c", "5", "z"]))
        assert ((rows >= 0) & (rows <= len(damaged))).all()


def test_a_hundred_thousand_look_ups_take_a_moment():
    ids = np.array([f"{i:010}" for i in range(300_000)])
    asked = np.concatenate([ids[:50_000], np.array([f"x{i}" for i in range(50_000)])])
    for vocabulary in (FingerprintVocabulary.build([ids], 8)[0], ExactVocabulary.build([ids])[0]):
        start = time.process_time()
        rows = vocabulary.lookup(asked)
        assert time.process_time() - start < 0.6  # 0.1 s on the machine where this was written
        assert (rows[:50_000] < len(vocabulary)).all()
