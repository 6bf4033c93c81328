"""The knapsack, by hand and against trying everything."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recprune.pruning.choices import Choices


def test_by_hand():
    both = Choices.of([100, 50, 10], [0.0, 1.0, 9.0]) + Choices.of([80, 20], [0.0, 2.0]) + Choices.fixed(5)
    assert both.best(185)[1].tolist() == [0, 0]
    assert both.best(184)[1].tolist() == [1, 0]  # 130 bytes lose 1; dropping 80 to 20 would lose 2
    assert both.best(125)[1].tolist() == [0, 1]
    size, picks = both.best(35)
    assert (size, picks.tolist()) == (35, [2, 1])
    assert both.best(34) is None
    assert int(both.bytes[0]) == 35


def test_one_of_two():
    way = Choices.of([4], [1.0]) + Choices.fixed(6) | Choices.of([2, 30], [5.0, 0.5])
    assert way.bytes.tolist() == [2, 10, 30]
    assert way.loss.tolist() == [5, 1, 0.5]


ways = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=4)


@given(st.lists(ways, min_size=1, max_size=4), st.integers(0, 150))
def test_nothing_that_fits_loses_less(parts, limit):
    total = Choices.fixed(0)
    for part in parts:
        total = total + Choices.of(*zip(*part, strict=True))
    fitting = [
        sum(loss for _, loss in pick) for pick in itertools.product(*parts) if sum(size for size, _ in pick) <= limit
    ]
    found = total.best(limit)
    if found is None:
        assert not fitting
        return
    chosen = [part[i] for part, i in zip(parts, found[1], strict=True)]
    assert sum(size for size, _ in chosen) == found[0] <= limit
    assert sum(loss for _, loss in chosen) == min(fitting)


def test_many_ways_are_thinned_and_the_smallest_stays():
    size = np.arange(1, 20_001)
    found = Choices.of(size, 1 / size)
    assert len(found.bytes) <= 3001
    assert found.bytes[0] == 1
    assert found.bytes[-1] == 20_000
    # What is found for a bound is within a part in a hundred of it.
    assert all(found.bytes[found.bytes <= limit][-1] > 0.99 * limit for limit in (1000, 5000, 19_000))
