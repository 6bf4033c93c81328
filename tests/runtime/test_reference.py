"""What every operation means, worked by hand."""

import numpy as np
import pytest

from recprune.errors import RecpruneError
from recprune.graph import KINDS, Graph, Op
from recprune.runtime.bags import Bags, look_up
from recprune.runtime.reference import _RUN, execute, rows_of
from recprune.vocabulary import ListedVocabulary, pair_keys
from recprune.weights import Dense, Param, Rows, Weights

IDS = ListedVocabulary(np.array(["a", "b", "c"]))


def dense(values):
    return Dense(np.array(values, np.float32))


def run(kind, *inputs, params=(), vocabulary=IDS, sizes=None, **attrs):
    """One operation on raw columns or, where it reads vectors, on given ones."""
    names = tuple(f"in{i}" for i in range(len(inputs)))
    weights = {}
    for i, value in enumerate(params):
        value = value if hasattr(value, "take") and hasattr(value, "spec") else dense(value)
        weights[f"p{i}"] = Param(("",) * len(value.shape), value)
    if "vocabulary" in KINDS[kind].attrs:
        attrs["vocabulary"] = "v"
    op = Op(kind, "out", names, tuple(weights), attrs)
    return _RUN[kind](op, list(inputs), Weights(weights, sizes), {"v": vocabulary})


def bags(*lists):
    rows = np.array([row for x in lists for row in x], dtype=np.int64)
    return Bags(rows, np.cumsum([0, *map(len, lists)]))


def test_every_kind_has_a_meaning_and_the_other_way_round():
    assert set(_RUN) == set(KINDS)


def test_lookup():
    assert run("lookup", np.array(["b", "x", "a"])).tolist() == [1, 3, 0]


@pytest.mark.parametrize(
    ("values", "asked"),
    [
        (np.array(["b", "x", "b", None, "a"] * 20, dtype=object), ["b", "x", None, "a"]),
        (np.array([3, 1, 3, 1] * 20), [1, 3]),
        # Equal to Python, and other ids: none is left out.
        (np.array([1, True, 1.0, "1"] * 20, dtype=object), [1, True, 1.0, "1"] * 20),
        (np.array(["b"] * 16, dtype=object), ["b"] * 16),
    ],
    ids=["texts", "integers", "mixed", "few"],
)
def test_each_text_or_integer_is_looked_up_once(values, asked):
    class Seen(ListedVocabulary):
        def lookup(self, given):
            seen.append(given.tolist())
            return super().lookup(given)

    seen = []
    vocabulary = Seen(np.array(["a", "b", "", "1", "3", "True"]))
    found = look_up(vocabulary, values)
    rows = {"a": 0, "b": 1, "": 2, None: 2, "1": 3, 3: 4}
    assert found.tolist() == [
        5 if value is True else 3 if value == 1 else rows.get(value, 6) for value in values.tolist()
    ]
    assert [[str(x) for x in given] for given in seen] == [[str(x) for x in asked]]


def test_lookup_of_pairs():
    pairs = ListedVocabulary(pair_keys(["u", "u"], ["a", "b"]))
    assert run("lookup", np.array(["u", "u", "v"]), np.array(["b", "c", "a"]), vocabulary=pairs).tolist() == [1, 2, 2]


def test_bucket_counts_edges_at_or_below():
    # Edges 18 and 30: below 18 is row 0, 18 to below 30 row 1, from 30 on row 2, missing row 3.
    given = [17.9, 18, 29, 30, 1e9, -5, None, float("nan"), "25", "", np.inf]
    found = run("bucket", np.array(given, dtype=object), edges=[18, 30])
    assert found.tolist() == [0, 1, 1, 2, 2, 0, 3, 3, 1, 3, 2]
    assert run("bucket", np.array([18, 3]), edges=[18, 30]).tolist() == [1, 0]
    assert run("bucket", np.array([np.nan, 30], np.float32), edges=[18, 30]).tolist() == [3, 2]
    assert run("bucket", np.array([5.0]), edges=[]).tolist() == [0]


def test_bucket_of_texts_names_the_column():
    with pytest.raises(RecpruneError, match="'in0' must hold numbers"):
        run("bucket", np.array(["old"]), edges=[18])


def test_words_are_bags_with_unknown_words_in_them():
    found = run("words", np.array(["A b!", "", "z", None, float("nan")], dtype=object))
    assert found.rows.tolist() == [0, 1, 3]
    assert found.offsets.tolist() == [0, 2, 2, 3, 3, 3]


def test_a_missing_title_is_not_the_word_nan():
    vocabulary = ListedVocabulary(np.array(["nan", "none"]))
    assert run("words", np.array([np.nan, np.nan]), vocabulary=vocabulary).rows.tolist() == []
    assert run("words", np.array([None], dtype=object), vocabulary=vocabulary).rows.tolist() == []


def test_history_leaves_unknown_ids_out():
    found = run("history", [["a", "x", "c"], [], ["x"], None, np.array(["b"]), ["a", None]])
    assert found.rows.tolist() == [0, 2, 1, 0]
    assert found.offsets.tolist() == [0, 2, 2, 2, 2, 3, 4]


def test_an_item_that_comes_again_counts_once_at_its_first_place():
    found = run("history", [["c", "a", "c", "x", "a", "b"], ["c"], ["a", "a"]])
    assert found.rows.tolist() == [2, 0, 1, 2, 0]
    assert found.offsets.tolist() == [0, 3, 4, 5]


@pytest.mark.parametrize("bad", ["abc", 5, 1.5])
def test_a_history_that_is_no_list_is_refused(bad):
    with pytest.raises(RecpruneError, match="list of ids"):
        run("history", [["a"], bad])


def test_take():
    assert run("take", np.array([2, 0]), params=([[1, 2], [3, 4], [5, 6]],)).tolist() == [[5, 6], [1, 2]]


def test_a_bag_with_a_pruned_id_case_c1():
    # a = [1, 1], b pruned to zero, c = [4, 0]; the shared row is zeros.
    table = Rows.encode(np.array([True, False, True, False]), dense([[1, 1], [4, 0], [0, 0]]), 2)
    given = bags([0, 1, 2], [2], [1, 3], [])
    assert run("pool", given, params=(table,), mode="sum").tolist() == [[5, 1], [4, 0], [0, 0], [0, 0]]
    mean = run("pool", given, params=(table,), mode="mean")
    np.testing.assert_allclose(mean, [[5 / 3, 1 / 3], [4, 0], [0, 0], [0, 0]], rtol=1e-6)


def test_a_bag_of_pruned_ids_only_reads_the_shared_row():
    table = Rows.encode(np.array([True, False, False]), dense([[1, 1], [7, 9]]), 1)
    assert run("pool", bags([1, 2], [2]), params=(table,), mode="mean").tolist() == [[7, 9], [7, 9]]
    assert run("pool", bags([1, 2], [2]), params=(table,), mode="sum").tolist() == [[14, 18], [7, 9]]


def test_pool_in_parts(monkeypatch):
    table = dense(np.arange(40).reshape(10, 4))
    given = bags(*[[i, (i * 3) % 10] if i % 4 else [] for i in range(10)])
    whole = run("pool", given, params=(table,), mode="sum")
    # Wide rows are decoded a few bags at a time.
    monkeypatch.setattr("recprune.weights.encoding.np.prod", lambda shape: 2**24)
    assert run("pool", given, params=(table,), mode="sum").tolist() == whole.tolist()


def test_concat_linear_cross():
    x = np.array([[1, 2]], np.float32)
    assert run("concat", x, np.array([[3]], np.float32)).tolist() == [[1, 2, 3]]
    # weight is (out, in): [1, 2] . [3, 4] + 5 = 16 and [1, 2] . [0, 1] - 1 = 1
    assert run("linear", x, params=([[3, 4], [0, 1]], [5, -1])).tolist() == [[16, 1]]
    # x0 * (W x + b) + x = [10, 100] * [16, 1] + [1, 2]
    first = np.array([[10, 100]], np.float32)
    assert run("cross", first, x, params=([[3, 4], [0, 1]], [5, -1])).tolist() == [[161, 102]]


def test_fm_is_the_sum_over_pairs():
    a, b, c = (np.array([v], np.float32) for v in ([1, 2], [3, 4], [5, -1]))
    # a.b + a.c + b.c = 11 + 3 + 11
    assert run("fm", a, b, c).tolist() == [[25]]
    # A narrower vector is zero in its missing columns: a.d = 6, b.d = 18.
    assert run("fm", a, b, np.array([[6]], np.float32)).tolist() == [[11 + 6 + 18]]
    assert run("fm", a).tolist() == [[0]]


def test_the_rest():
    x = np.array([[-1, 2, 0]], np.float32)
    assert run("relu", x).tolist() == [[0, 2, 0]]
    assert run("add", x, x, np.array([[1, 1, 1]], np.float32)).tolist() == [[-1, 5, 1]]
    assert run("sum", x).tolist() == [[1]]
    found = run("sigmoid", np.array([[0, np.log(3), -1e9, 1e9]], np.float32))
    np.testing.assert_allclose(found, [[0.5, 0.75, 0, 1]], atol=1e-7)
    assert np.isfinite(found).all()


def vectors(*rows):
    return np.array(rows, np.float32)


def test_recent_keeps_the_last_of_each_bag():
    found = run("recent", bags([1, 2, 3], [], [4], [5, 6]), length=2)
    assert found.rows.tolist() == [2, 3, 4, 5, 6]
    assert found.offsets.tolist() == [0, 2, 2, 3, 5]
    assert run("recent", bags([], []), length=2).rows.tolist() == []


def test_places_count_what_comes_later():
    found = run("places", bags([7, 7, 7, 7], [], [9]), length=2)
    # Three, two, one and none come later; more than two is two.
    assert found.rows.tolist() == [2, 2, 1, 0, 0]
    assert found.offsets.tolist() == [0, 4, 4, 5]


def test_take_of_bags_gives_a_vector_for_each_row():
    assert run("take", bags([1], [], [0, 1]), params=([[1, 2], [3, 4]],)).tolist() == [[3, 4], [1, 2], [3, 4]]


def test_layer_norm_counts_the_columns_that_were_cut_as_zeros():
    # [3, 1]: mean 2, variance 1, so [1, -1]; scaled and shifted [2 * 1 + 5, 4 * -1 + 6].
    found = run("layer_norm", vectors([3, 1]), params=([2, 4], [5, 6]), width=2)
    np.testing.assert_allclose(found, [[7, 2]], rtol=1e-4)
    # [3, 1] of four columns: mean 1, variance (4 + 0 + 1 + 1) / 4 = 1.5, the same as of [3, 1, 0, 0].
    cut = run("layer_norm", vectors([3, 1]), params=([1, 1], [0, 0]), width=4)
    np.testing.assert_allclose(cut, [[2 / np.sqrt(1.5), 0]], rtol=1e-4, atol=1e-7)
    whole = run("layer_norm", vectors([3, 1, 0, 0]), params=([1, 1, 1, 1], [0, 0, 0, 0]), width=4)
    np.testing.assert_allclose(whole[:, :2], cut, atol=1e-7)


def attend(query, key, value, given, heads=1, factor=1.0):
    return run("attention", query, key, value, given, sizes={"head": heads}, heads="head", factor=factor)


def test_attention_looks_at_what_came_before_and_at_itself():
    # The second row matches the first by log 3 and itself by 0: shares 3/4 and 1/4. The first sees itself only.
    query, key = vectors([9], [1]), vectors([np.log(3)], [0])
    value = vectors([4, 0], [0, 8])
    np.testing.assert_allclose(attend(query, key, value, bags([0, 0])), [[4, 0], [3, 2]], rtol=1e-6)
    # Half the factor: shares sqrt(3) to 1.
    half = attend(query, key, value, bags([0, 0]), factor=0.5)
    share = np.sqrt(3) / (1 + np.sqrt(3))
    np.testing.assert_allclose(half[1], [4 * share, 8 * (1 - share)], rtol=1e-6)


def test_each_bag_and_each_head_attends_for_itself():
    query = np.ones((3, 2), np.float32)
    # In head 0 the second row matches the first as itself; in head 1 it matches itself by log 3 more.
    key = vectors([0, 0], [0, np.log(3)], [50, 50])
    value = vectors([2, 4], [6, 8], [1, 1])
    found = attend(query, key, value, bags([0, 0], [], [0]), heads=2)
    np.testing.assert_allclose(found, [[2, 4], [4, 7], [1, 1]], rtol=1e-6)
    large = attend(query * 1e4, key, value, bags([0, 0], [], [0]), heads=2)
    np.testing.assert_allclose(large, [[2, 4], [4, 8], [1, 1]], rtol=1e-6)
    empty = attend(query[:0], key[:0], value[:0], bags([], []), heads=2)
    assert empty.shape == (0, 2)


def test_last_every_dot():
    assert run("last", vectors([1, 2], [3, 4], [5, 6]), bags([0, 0], [], [0])).tolist() == [[3, 4], [0, 0], [5, 6]]
    table = [[1, 2], [3, 4], [5, 6]]
    assert run("every", params=(table,)).tolist() == table
    # [1, 10] . [1, 2] = 21, . [3, 4] = 43, . [5, 6] = 65
    assert run("dot", vectors([1, 10]), vectors(*table)).tolist() == [[21, 43, 65]]


def test_solve_is_the_minimum_of_what_it_says():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(7, 3)).astype(np.float32)
    given = bags([2, 5], [], [0])
    fold = {"whole": 0.5, "read": 3.0, "target": 2.0, "l2": 0.7}
    found = run("solve", given, params=(table,), **fold)
    assert found[1].tolist() == [0, 0, 0]
    for row, read in ((0, [2, 5]), (2, [0])):
        items, wanted = table[:6].astype(np.float64), np.zeros(6)  # the last row is that of unknown ids
        wanted[read] = 2

        def loss(x, items=items, wanted=wanted, read=read):
            misses = (items @ x - wanted) ** 2
            return 0.5 * misses.sum() + 3 * misses[read].sum() + 0.7 * (x @ x)

        for step in np.eye(3) * 1e-3:
            assert loss(found[row]) < min(loss(found[row] + step), loss(found[row] - step))


def test_solve_by_hand():
    # Rows 3 and 4 of one column: 1 * (9 + 16) + 2 * 16 + 1 = 58, and (1 + 2) * 4 = 12.
    found = run("solve", bags([1]), params=([[3], [4], [9]],), whole=1, read=2, target=1, l2=1)
    np.testing.assert_allclose(found, [[12 / 58]], rtol=1e-6)
    assert run("solve", bags(), params=([[3], [4], [9]],), whole=1, read=2, target=1, l2=1).shape == (0, 1)


def test_a_penalty_that_is_lost_beside_the_factors_is_named():
    with pytest.raises(RecpruneError, match=r"l2 1e-300 is too small for these factors"):
        run("solve", bags([0]), params=([[1, 1], [1, 1], [0, 0]],), whole=1, read=1, target=1, l2=1e-300)


def test_what_is_given_is_not_computed():
    graph = Graph(("c",), (Op("lookup", "r", ("c",), (), {"vocabulary": "v"}), Op("take", "o", ("r",), ("t",))), "o")
    weights = Weights({"t": Param(("", ""), dense([[1], [2], [3], [4]]))})
    columns = {"c": np.array(["c", "x"])}
    rows = rows_of(graph, {"v": IDS}, columns)
    assert rows["r"].tolist() == [2, 3]
    assert execute(graph, weights, {}, rows).tolist() == [[3], [4]]
    assert execute(graph, weights, {"v": IDS}, columns).tolist() == [[3], [4]]
    assert columns.keys() == {"c"}
