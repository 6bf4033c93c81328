from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recprune.data import Log, hold_out_per_user, labels_at_least, split_by_hash, split_by_time
from recprune.data.splits import hash_ids
from recprune.errors import RecpruneError

BITS = 2**64


def mix(x):
    x = (x + 0x9E3779B97F4A7C15) % BITS
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % BITS
    x = (x ^ x >> 27) * 0x94D049BB133111EB % BITS
    return x ^ x >> 31


def slow_hash(text, seed):
    state = 0xCBF29CE484222325
    for byte in text.encode():
        state = (state ^ byte) * 0x100000001B3 % BITS
    return mix(state ^ mix(seed % BITS))


def log(users, items):
    pairs = [
        (f"u{user}", f"i{(user * 7919 + item * 104729) % 100_003}") for user in range(users) for item in range(items)
    ]
    return pl.DataFrame(pairs, schema=["user", "item"], orient="row")


@given(st.lists(st.text(max_size=12), max_size=8), st.integers(-(2**63), 2**64 - 1))
def test_the_hash_is_fnv_and_splitmix_written_plainly(texts, seed):
    result = hash_ids(pl.Series("user", texts, dtype=pl.String), seed)
    assert result.tolist() == [slow_hash(text, seed) for text in texts]


def test_splitmix_is_the_published_one():
    # The first output of splitmix64 seeded with 1234567, from its reference implementation.
    assert mix(1234567) == 6457827717110365317


def test_integers_hash_as_their_text():
    assert hash_ids(pl.Series([7, -1, 7])).tolist() == hash_ids(pl.Series(["7", "-1", "7"])).tolist()


def test_missing_ids_have_no_hash():
    with pytest.raises(RecpruneError, match=r"^column 'user' has 1 missing ids$"):
        split_by_hash(pl.DataFrame({"user": ["a", None], "item": ["b", "c"]}))


def test_a_split_never_changes():
    """Scores are compared over months: whoever changes the hash changes every result, and this test."""
    frame = pl.DataFrame(
        {"user": ["276725", "276726", "u", "", "ü"] * 2, "item": ["034545104X"] * 5 + ["1", "2", "3", "4", "5"]}
    )
    units = [mix(mix(slow_hash(user, 3)) ^ slow_hash(item, 3)) / BITS for user, item in frame.rows()]
    expected = ["train" if unit < 0.5 else "valid" if unit < 0.75 else "test" for unit in units]
    assert split_by_hash(frame, (0.5, 0.25, 0.25), seed=3).tolist() == expected
    assert expected == ["train", "valid", "valid", "test", "train", "test", "test", "train", "train", "valid"]


@settings(max_examples=20, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 5))
def test_a_pair_keeps_its_part_whatever_the_order_of_the_rows(random, seed):
    frame = log(20, 10)
    order = list(range(len(frame)))
    random.shuffle(order)
    for split in (split_by_hash, hold_out_per_user):
        parts = split(frame, seed=seed)
        assert (split(frame[order], seed=seed) == parts[order]).all()


def test_a_pair_keeps_its_part_when_others_come_and_go():
    frame = log(100, 10)
    assert (split_by_hash(frame[:500]) == split_by_hash(frame)[:500]).all()


def test_fractions_are_met():
    frame = log(1000, 50)
    counts = Counter(split_by_hash(frame, (0.8, 0.1, 0.1)).tolist())
    # Binomial: five standard deviations of 50,000 draws at .8 are 447, at .1 they are 335.
    assert abs(counts["train"] - 40_000) < 447
    assert abs(counts["valid"] - 5_000) < 335
    assert abs(counts["test"] - 5_000) < 335


def test_seeds_give_independent_splits():
    frame = log(1000, 50)
    same = (split_by_hash(frame, seed=0) == split_by_hash(frame, seed=1)).mean()
    assert abs(same - (0.8**2 + 0.1**2 + 0.1**2)) < 0.01


def test_parts_are_disjoint_even_where_pairs_repeat():
    frame = pl.concat([log(50, 10)] * 3)
    for split in (split_by_hash(frame), hold_out_per_user(frame)):
        parts = {part: set(frame.filter(split == part).rows()) for part in ("train", "valid", "test")}
        assert all(parts.values())
        assert not parts["train"] & parts["valid"]
        assert not parts["train"] & parts["test"]
        assert not parts["valid"] & parts["test"]
        assert set.union(*parts.values()) == set(frame.rows())


def test_user_and_item_are_not_exchangeable():
    frame = pl.DataFrame({"user": [str(n) for n in range(2000)], "item": [str(n + 1) for n in range(2000)]})
    same = split_by_hash(frame) == split_by_hash(frame.rename({"user": "item", "item": "user"}))
    assert abs(same.mean() - 0.66) < 0.06


def test_each_user_loses_a_fifth_half_of_it_to_each_part():
    counts = {"a": 4, "b": 5, "c": 7, "d": 8, "e": 20, "f": 100}
    frame = pl.DataFrame(
        [(user, f"{n}") for user, n_all in counts.items() for n in range(n_all)], ["user", "item"], orient="row"
    )
    frame = frame.with_columns(part=hold_out_per_user(frame, 0.2, seed=1))
    found = {user: Counter(frame.filter(user=user)["part"]) for user in counts}
    assert found["a"] == {"none": 4}
    assert {user: found[user]["train"] for user in "bcdef"} == {"b": 4, "c": 6, "d": 6, "e": 16, "f": 80}
    assert all(found["def"[n]]["valid"] == (1, 2, 10)[n] == found["def"[n]]["test"] for n in range(3))
    assert all(found[user]["valid"] + found[user]["test"] == 1 for user in "bc")


def test_odd_ones_go_to_both_halves():
    parts = Counter(hold_out_per_user(log(2000, 5)).tolist())
    assert parts["train"] == 8000
    assert abs(parts["valid"] - 1000) < 112  # five standard deviations of 2,000 fair coins


def test_at_least_one_is_kept_and_one_held_out():
    parts = hold_out_per_user(log(200, 2), 0.9, min_interactions=2)
    assert Counter(parts.tolist())["train"] == 200
    assert Counter(hold_out_per_user(log(200, 2), 0.01, min_interactions=2).tolist())["train"] == 200


def test_time_cuts_once_for_all():
    frame = pl.DataFrame({"user": ["u"] * 10, "item": ["i"] * 10, "time": [9, 0, 1, 2, 3, 4, 5, 6, 7, 8]})
    assert split_by_time(frame).tolist() == ["test", *["train"] * 8, "valid"]


def test_rows_of_one_time_stay_together():
    frame = pl.DataFrame({"user": ["u"] * 10, "item": ["i"] * 10, "time": [1.0] * 5 + [2.0] * 4 + [3.0]})
    assert split_by_time(frame, (0.4, 0.4, 0.2)).tolist() == ["train"] * 5 + ["valid"] * 4 + ["test"]


def test_a_log_is_split_like_its_interactions():
    frame = log(20, 10).with_columns(rating=pl.lit(1.0), time=pl.int_range(200))
    whole = Log("toy", frame)
    for split in (split_by_hash, hold_out_per_user, split_by_time):
        assert (split(whole) == split(frame)).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda frame: split_by_hash(frame[:2]), "split 'valid' is empty: 2 rows are too few for these fractions"),
        (lambda frame: split_by_hash(frame[:0]), "split 'train' is empty: 0 rows"),
        (lambda frame: split_by_hash(frame, (0.8, 0.2)), "fractions must be three positive numbers that sum to 1"),
        (lambda frame: split_by_hash(frame, (0.8, 0.2, 0.0)), "fractions must be three positive numbers"),
        (lambda frame: split_by_hash(frame, (0.8, 0.2, float("nan"))), "fractions must be three positive numbers"),
        (lambda frame: split_by_hash(frame.drop("item")), "cannot split: no column 'item'; columns are: user"),
        (lambda frame: split_by_time(frame), "cannot split: no column 'time'; columns are: user, item"),
        (lambda frame: split_by_time(frame.with_columns(time=None)), "cannot split by time: 100 rows have no time"),
        (lambda frame: split_by_time(frame.with_columns(time=float("nan"))), "cannot split by time: 100 rows"),
        (lambda frame: split_by_time(frame.with_columns(time=1)), "split 'valid' is empty"),
        (lambda frame: split_by_time(frame[:0].with_columns(time=1)), "split 'train' is empty: 0 rows"),
        (lambda frame: hold_out_per_user(frame[:0]), "no user has 5 items"),
        (lambda frame: hold_out_per_user(frame, 1.0), r"fraction must be in \(0, 1\), got 1.0"),
        (lambda frame: hold_out_per_user(frame, min_interactions=1), "min_interactions must be at least 2"),
        (lambda frame: hold_out_per_user(frame, min_interactions=11), "no user has 11 items; nothing can be held out"),
    ],
)
def test_what_cannot_be_split_gets_one_clear_line(call, message):
    with pytest.raises(RecpruneError, match=f"^{message}"):
        call(log(10, 10))


def test_the_latest_items_are_held_out_and_the_very_last_test():
    # Ten items each, taken in the order of their number, by two users whose rows lie the other way round.
    frame = log(2, 10).with_columns(time=pl.col("item").rank("dense")).reverse()
    split = hold_out_per_user(frame, 0.4, latest=True)
    for user in frame["user"].unique():
        mine = frame.with_columns(split=pl.Series(split)).filter(pl.col("user") == user).sort("time")
        assert mine["split"].to_list() == ["train"] * 6 + ["valid"] * 2 + ["test"] * 2


def test_an_item_taken_again_has_the_time_of_the_first():
    times = [1, 2, 3, 4, 5, 9]
    frame = pl.DataFrame({"user": "u", "item": ["a", "b", "c", "d", "e", "a"], "time": times})
    other = frame.with_columns(user=pl.lit("v"))
    split = hold_out_per_user(pl.concat([frame, other]), 0.4, latest=True)
    assert split.tolist() == ["train", "train", "train", "valid", "test", "train"] * 2
    with pytest.raises(RecpruneError, match="1 rows have no time"):
        hold_out_per_user(frame.with_columns(time=pl.Series([1, 2, 3, 4, 5, None])), latest=True)


def test_labels():
    ratings = pl.Series("rating", [7.0, 8.0, 10.0, 1.0])
    assert labels_at_least(ratings, 8).tolist() == [0.0, 1.0, 1.0, 0.0]


def test_labels_of_one_class_are_refused_where_they_are():
    ratings = pl.Series("rating", [7.0, 8.0, 9.0, 10.0])
    with pytest.raises(
        RecpruneError, match=r"^labels are of one class: all 4 are 0 at threshold 11; all ratings run from 7"
    ):
        labels_at_least(ratings, 11)
    with pytest.raises(RecpruneError, match=r"^labels are of one class in 'test': all 2 are 1 at threshold 8"):
        labels_at_least(ratings, 8, np.array(["train", "train", "test", "test"]))
    with pytest.raises(RecpruneError, match=r"^column 'rating' has 1 ratings that are missing or not finite$"):
        labels_at_least(pl.Series("rating", [1.0, float("nan")]), 1)
