import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recprune import evaluation as ev
from recprune.errors import RecpruneError

C5_USERS = np.array(["u1"] * 2 + ["u2"] * 3 + ["u3"] * 4)
C5_LABELS = np.array([1, 0, 1, 0, 0, 1, 1, 1, 1])
C5_SCORES = np.array([0.9, 0.1, 0.5, 0.5, 0.5, 0.2, 0.4, 0.6, 0.8])


def test_case_c5_gauc_ties_count_half_and_one_class_users_are_left_out_and_counted():
    assert ev.gauc(C5_LABELS, C5_SCORES, C5_USERS) == pytest.approx(0.70)  # (2 * 1 + 3 * .5) / 5
    assert ev.gauc(C5_LABELS, C5_SCORES, C5_USERS, weight="user") == pytest.approx(0.75)  # (1 + .5) / 2
    truth = ev.RowTruth(C5_LABELS, C5_USERS)
    statistic = truth.statistic(ev.parse_metric("gauc"), truth.check(C5_SCORES))
    assert (statistic.users, statistic.left_out) == (2, 1)


@pytest.mark.parametrize("order", [[8, 6, 4, 2, 0, 1, 3, 5, 7], [4, 3, 2, 1, 0, 8, 7, 6, 5]])
def test_c5_does_not_depend_on_the_order_of_the_rows(order):
    assert ev.gauc(C5_LABELS[order], C5_SCORES[order], C5_USERS[order]) == pytest.approx(0.70)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=2, max_size=40))
def test_auc_is_the_share_of_pairs_won_with_ties_counting_half(rows):
    labels = np.array([label for label, _ in rows])
    scores = np.array([score for _, score in rows], dtype=float)
    if labels.all() or not labels.any():
        with pytest.raises(RecpruneError, match="one class"):
            ev.auc(labels, scores)
        return
    gap = scores[labels][:, None] - scores[~labels][None, :]
    assert ev.auc(labels, scores) == pytest.approx(((gap > 0) + 0.5 * (gap == 0)).mean())


def test_auc_and_logloss_agree_with_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    labels, scores = rng.random(500) < 0.4, np.round(rng.random(500), 2)
    assert ev.auc(labels, scores) == pytest.approx(metrics.roc_auc_score(labels, scores), abs=1e-12)
    inside = np.clip(scores, 0.01, 0.99)
    assert ev.logloss(labels, inside) == pytest.approx(metrics.log_loss(labels, inside), abs=1e-12)


def test_logloss_of_a_certain_mistake_is_finite():
    assert ev.logloss([1, 0], [0.0, 1.0]) == pytest.approx(-np.log(1e-7))


def test_calibration_error_by_hand():
    # Bins of width 1/15: .75 in bin 11, .25 in bin 3, 1.0 in the last. Two rows of gap |.5 - .75|, two of |1 - .25|.
    assert ev.calibration_error([1, 0, 1, 1], [0.75, 0.75, 0.25, 0.25]) == pytest.approx((2 * 0.25 + 2 * 0.75) / 4)
    assert ev.calibration_error([1, 1], [1.0, 1.0]) == 0
    # Opposite errors in different bins do not cancel, in one bin they do.
    assert ev.calibration_error([0, 1], [0.1, 0.9]) == pytest.approx(0.1)
    assert ev.calibration_error([0, 1], [0.5, 0.5]) == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_refused_with_their_row(bad):
    with pytest.raises(RecpruneError, match="1 of 3 are not finite, first at row 1"):
        ev.auc([1, 0, 1], [0.1, bad, 0.2])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ev.auc([1, 0], [0.1, 0.2, 0.3]), r"2 test rows but scores of shape \(3,\)"),
        (lambda: ev.auc([1, 2], [0.1, 0.2]), "labels must be 0 or 1, got 2"),
        (lambda: ev.auc([1, np.nan], [0.1, 0.2]), "labels must be 0 or 1, got nan"),
        (lambda: ev.auc([], []), "non-empty"),
        (lambda: ev.auc([1, 1], [0.1, 0.2]), "2 positive and 0 negative"),
        (lambda: ev.gauc([1, 0], [0.1, 0.2], ["a", "b"]), "every user has labels of one class"),
        (lambda: ev.gauc([1, 0], [0.1, 0.2], ["a"]), "2 labels but users of shape"),
        (lambda: ev.logloss([1, 0], [-2.0, 3.0]), r"probabilities in \[0, 1\], got -2 to 3"),
        (lambda: ev.parse_metric("ndgc@10"), "did you mean 'ndcg'"),
        (lambda: ev.parse_metric("ndcg@ten"), "whole number"),
        (lambda: ev.parse_metric("ndcg@0"), "at least 1"),
        (lambda: ev.parse_metric("auc@3"), "takes no cut-off"),
        (lambda: ev.parse_metric(""), "unknown metric ''"),
    ],
)
def test_bad_input_gets_one_clear_line(call, message):
    with pytest.raises(RecpruneError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_case_c6_missing_places_are_not_item_0():
    ranked, relevant = [[2, -1, -1]], [[0]]
    for metric in (ev.hit_rate, ev.precision, ev.ndcg, ev.recall, ev.mrr):
        assert metric(ranked, relevant, k=3) == 0
    assert ev.ndcg([[2]], relevant, k=3) == 0  # a list that is simply shorter


@pytest.mark.parametrize("relevant", [[[4], [4]], [[0], [4]], [[4, 0], [0, 4]]])
def test_c6_missing_places_are_no_item_of_any_user(relevant):
    # -1 must match neither item 0, nor the last item, nor the item before in a joint table of users and items.
    for metric in (ev.hit_rate, ev.precision, ev.ndcg, ev.recall, ev.mrr):
        assert metric([[-1, -1], [-1, -1]], relevant, k=2) == 0
    assert ev.coverage([[-1, -1], [-1, -1]], n_items=5) == 0


def test_ranked_metrics_by_hand():
    ranked = [[5, 1, 3, 2], [0, 4, -1, -1], [1, 2, 3, 4]]
    relevant = [[1, 2, 0], [4], []]  # the third user has nothing held out and is left out
    assert ev.recall(ranked, relevant, k=2) == pytest.approx((1 / 3 + 1) / 2)
    assert ev.recall(ranked, relevant, k=4) == pytest.approx((2 / 3 + 1) / 2)
    assert ev.precision(ranked, relevant, k=4) == pytest.approx((2 / 4 + 1 / 4) / 2)
    assert ev.hit_rate(ranked, relevant, k=1) == 0
    assert ev.mrr(ranked, relevant) == pytest.approx(1 / 2)
    log = np.log2
    first = (1 / log(3) + 1 / log(5)) / (1 + 1 / log(3) + 1 / log(4))
    assert ev.ndcg(ranked, relevant, k=4) == pytest.approx((first + 1 / log(3)) / 2)
    assert ev.coverage(ranked, n_items=8) == pytest.approx(6 / 8)
    assert ev.coverage(ranked, n_items=8, k=1) == pytest.approx(3 / 8)
    truth = ev.ListTruth(relevant, 8)
    statistic = truth.statistic(ev.parse_metric("recall@2"), truth.check(ranked))
    assert (statistic.users, statistic.left_out) == (2, 1)


def test_ndcg_agrees_with_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(2)
    scores, truth = rng.random((30, 50)), rng.random((30, 50)) < 0.1
    truth[:, 0] = True
    ranked = np.argsort(-scores, axis=1)[:, :10]
    expected = metrics.ndcg_score(truth, scores, k=10)
    assert ev.ndcg(ranked, [np.flatnonzero(row) for row in truth], k=10) == pytest.approx(expected)


def test_tail_recall_looks_at_tail_items_only():
    truth = ev.ListTruth([[0, 3], [0], [4, 3]], 5, tail=np.array([0, 0, 0, 1, 1], bool))
    lists = truth.check([[0, 3], [0, 1], [4, 0]])
    statistic = truth.statistic(ev.parse_metric("tail_recall@2"), lists)
    assert statistic(np.ones((1, 3)))[0] == pytest.approx((1 + 1 / 2) / 2)
    assert (statistic.users, statistic.left_out) == (2, 1)
    # A model restricted to popular items has none.
    assert truth.statistic(ev.parse_metric("tail_recall"), truth.check([[0], [0], [1]]))(np.ones((1, 3)))[0] == 0


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ([[0, 9]], "item 9 is outside of the catalogue of 5 items"),
        ([[0, -2]], "item -2 is outside"),
        ([[1, 1]], "names an item twice"),
        ([[0.5, 1.0]], "must hold item rows"),
        ([[0], [1]], r"1 users but lists of shape \(2, 1\)"),
        ([0], "lists of shape"),
    ],
)
def test_bad_lists_get_one_clear_line(lists, message):
    with pytest.raises(RecpruneError, match=message):
        ev.ListTruth([[1]], 5).check(lists)


def test_bad_held_out_items_get_one_clear_line():
    with pytest.raises(RecpruneError, match="held-out item 5 is outside"):
        ev.ListTruth([[5]], 5)
    with pytest.raises(RecpruneError, match="none of 2 users"):
        ev.ListTruth([[], []], 5)
    truth = ev.ListTruth([[1]], 5)
    with pytest.raises(RecpruneError, match="needs to know the tail"):
        truth.statistic(ev.parse_metric("tail_recall"), truth.check([[1]]))


def test_metrics_of_the_other_kind_of_test_are_refused():
    rows, lists = ev.RowTruth([1, 0], [0, 0]), ev.ListTruth([[1]], 5)
    with pytest.raises(RecpruneError, match="judged on ranked lists"):
        rows.statistic(ev.parse_metric("ndcg@10"), rows.check([0.1, 0.2]))
    with pytest.raises(RecpruneError, match="judged on labelled rows"):
        lists.statistic(ev.parse_metric("auc"), lists.check([[1]]))


@pytest.mark.parametrize("name", ev.METRICS)
def test_every_description_names_cutoff_candidates_ties_and_excluded_users(name):
    metric = ev.Metric(name, 7) if ev.METRICS[name][2] else ev.Metric(name)
    text = metric.describe("all 12 books")
    assert text.startswith(f"{metric}: ")
    assert "first 7" in text or "no cut-off" in text
    assert "left out" in text
    assert text.endswith("candidates: all 12 books")
    assert "ties" in text or name in ("logloss", "calibration_error", "coverage")  # where no order is involved
    assert ev.parse_metric(str(metric)) == metric
