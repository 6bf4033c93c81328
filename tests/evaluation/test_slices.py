import numpy as np
import pytest

from recprune import evaluation as ev
from recprune.errors import RecpruneError


def masks(slices):
    return {s.name: s.mask.tolist() for s in slices}


def test_thirds_hold_equal_shares_of_the_interactions():
    # 30 interactions: 10 of one item, five items of 2, ten items of 1; and two items that training never saw.
    part = ev.popularity_thirds([10] + [2] * 5 + [1] * 10 + [0, 0])
    assert part.tolist() == [0] + [1] * 5 + [2] * 10 + [3, 3]


def test_items_with_equal_counts_stay_together():
    part = ev.popularity_thirds([1] * 100)
    assert part.tolist() == [1] * 100
    assert ev.popularity_thirds([0, 0]).tolist() == [3, 3]


def test_popularity_over_rows_knows_the_row_outside_of_the_vocabulary():
    counts = [3, 1, 1, 1, 0]
    found = ev.by_popularity(counts, [0, 1, 4, 5])
    assert masks(found) == {
        "books:head": [True, False, False, False],
        "books:tail": [False, True, False, False],
        "books:unseen": [False, False, True, True],
    }
    assert {s.axis for s in found} == {"rows"}
    assert {s.axis for s in ev.by_popularity(counts)} == {"items"}
    with pytest.raises(RecpruneError, match=r"item rows must be 0\.\.5"):
        ev.by_popularity(counts, [6])


def test_activity_splits_at_the_threshold():
    found = ev.by_activity([0, 1, 4, 5, 90], name="users")
    assert masks(found) == {
        "users:unseen": [True, False, False, False, False],
        "users:cold": [False, True, True, False, False],
        "users:warm": [False, False, False, True, True],
    }
    assert ev.by_activity([9], [0, 1])[0].mask.tolist() == [False, True]


def test_groups_name_the_top_values_other_and_unknown():
    found = ev.by_group("country", ["usa", "peru", "usa", "spain", "spain", "usa", "", None, float("nan")], top=2)
    assert [s.name for s in found] == ["country:usa", "country:spain", "country:other", "country:unknown"]
    assert [int(s.mask.sum()) for s in found] == [3, 2, 1, 3]
    assert sum(s.mask.astype(int) for s in found).tolist() == [1] * 9


def test_ages_meet_without_gap_or_overlap():
    ages = np.append(np.arange(0, 100, 0.5), [np.nan, -1])
    found = ev.by_age(ages)
    assert (sum(s.mask.astype(int) for s in found) == 1).all()
    assert masks(found)["age:18-24"] == [18 <= a < 25 for a in ages]
    assert masks(found)["age:unknown"][-2:] == [True, True]


def test_bad_slices():
    with pytest.raises(RecpruneError, match="axis must be"):
        ev.Slice("x", np.array([True]), "columns")
    with pytest.raises(RecpruneError, match="must be booleans"):
        ev.Slice("x", np.array([1, 0]))
    with pytest.raises(RecpruneError, match="negative"):
        ev.popularity_thirds([-1])
