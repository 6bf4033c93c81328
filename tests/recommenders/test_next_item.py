"""Training the models that read histories: what is asked for, by hand, and a loop that goes on where it was stopped."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from recprune.errors import RecpruneError
from recprune.recommenders.next_item import Windows, held_out, next_item_loss, train_next_item
from recprune.recommenders.next_item_data import NextItemData
from recprune.recommenders.sasrec import Norm, SasRec
from recprune.recommenders.sequences import padded
from recprune.recommenders.two_tower import TwoTower

IDS = np.array([f"i{i}" for i in range(9)])


def data(histories, valid):
    arrays = [np.array(h, np.int64) for h in histories]
    held = [np.array(h, np.int64) for h in valid]
    counts = np.bincount(np.concatenate(arrays), minlength=10)
    return NextItemData(np.arange(len(arrays)), IDS, 9, counts, None, {"valid": held}, arrays, arrays, True)


def test_histories_are_padded_in_front():
    assert padded([np.array([1, 2, 3]), np.array([4])], 9).tolist() == [[1, 2, 3], [9, 9, 4]]


def test_short_histories_ask_for_each_item_given_those_before():
    ((rows, at, targets),) = Windows([np.array([1, 2, 3]), np.array([7]), np.array([4, 5])], 4, 9)
    asked = sorted((rows.flatten()[place].item(), target) for place, target in zip(at, targets.tolist(), strict=True))
    # Of a history of one item nothing is asked.
    assert asked == [(1, 2), (2, 3), (4, 5)]


def test_long_histories_are_cut_at_other_places_and_every_item_is_asked_for_once():
    history = np.arange(8)
    torch.manual_seed(0)
    starts = set()
    for _ in range(20):
        ((rows, at, targets),) = Windows([history], 3, 9)
        assert rows.shape[1] <= 3
        assert sorted(targets.tolist()) == list(range(1, 8))
        # What comes before each is the item before it, for these count upwards.
        assert (rows.flatten()[at] == targets - 1).all()
        starts.add(tuple(sorted((rows[:, -1] + 1).tolist())))
    assert len(starts) > 1


def test_what_is_held_out_is_asked_for_after_the_whole_history():
    # The second has nothing held out of the catalogue of 9, the third no history.
    given = data([[1, 2, 3], [4], [], [5, 6, 7, 8]], [[0, 9, 4], [9], [1], [2]])
    ((rows, at, targets),) = held_out(given, "valid", 3)
    assert rows.tolist() == [[1, 2, 3], [6, 7, 8]]
    assert at.tolist() == [2, 2, 5]
    assert targets.tolist() == [0, 4, 2]


def test_the_loss_of_equal_scores_is_the_logarithm_of_the_catalogue():
    model = TwoTower(IDS, np.ones(9), width=4)
    torch.nn.init.zeros_(model.items)
    for name in ("user_fall", "item_fall"):
        torch.nn.init.zeros_(getattr(model, name).bias)
    batch = (torch.tensor([[1, 2]]), torch.tensor([0, 1]), torch.tensor([2, 3]))
    assert next_item_loss(model.eval(), batch).item() == pytest.approx(np.log(9), rel=1e-5)


def test_a_norm_that_was_not_cut_is_torchs():
    norm, x = Norm(6), torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(norm(x), F.layer_norm(x, (6,)), atol=1e-5, rtol=1e-5)


def test_the_future_changes_nothing():
    torch.manual_seed(0)
    for make in (TwoTower, SasRec):
        model = make(IDS, np.ones(9), width=4, length=4).eval()
        torch.nn.init.normal_(model.items)
        one, other = torch.tensor([[1, 2, 3, 4]]), torch.tensor([[1, 2, 3, 8]])
        first, second = model.user_vectors(one)[0], model.user_vectors(other)[0]
        torch.testing.assert_close(first[:3], second[:3])
        assert (first[3] - second[3]).abs().max() > 1e-3


def test_a_width_that_heads_cannot_share():
    with pytest.raises(RecpruneError, match="a width of 5 cannot be divided among 2 heads"):
        SasRec(IDS, np.ones(9), width=5)


def circle():
    return data([[(u + i) % 9 for i in range(6)] for u in range(40)], [[(u + 6) % 9] for u in range(40)])


def right(model):
    given = circle()
    return float(np.mean(model.scores(given.histories).argmax(axis=1) == np.array([(u + 6) % 9 for u in range(40)])))


@pytest.mark.parametrize("make", [TwoTower, SasRec])
def test_a_row_is_inherited_by_its_item_and_drawn_to_a_fresh_one_by_the_readers_who_are_gone(make):
    older = make(np.array(["a", "b", "c"]), np.array([0.3, 0.2, 0.1]), width=2)
    model = make(np.array(["b", "a"]), np.array([0.1, 0.3]), width=2)
    fresh = model.items.detach().clone()
    model.inherit(older)
    assert torch.allclose(model.items[0], (fresh[0] + older.items[1]) / 2)  # half of the readers of b
    assert torch.allclose(model.items[1], older.items[0])
    assert torch.equal(model.items[2], fresh[2])
    assert model.popularity.flatten().tolist() == pytest.approx([0.1, 0.3, 0.0])
    layers = [name for name in model.state_dict() if name not in ("items", "popularity")]
    assert all(torch.equal(model.state_dict()[name], older.state_dict()[name]) for name in layers)


@pytest.mark.parametrize("make", [TwoTower, SasRec])
def test_training_finds_the_next_item_and_goes_on_where_it_was_stopped(make, tmp_path):
    def trained(epochs, stop=None, checkpoint=None):
        torch.manual_seed(0)
        model = make(IDS, np.ones(9), width=16, length=1)
        seen = []

        def progress(record):
            seen.append(record["epoch"])
            if record["epoch"] == stop:
                raise KeyboardInterrupt

        settings = {"epochs": epochs, "rate": 0.03, "patience": epochs, "progress": progress, "checkpoint": checkpoint}
        try:
            history = train_next_item(model, circle(), right, **settings)
        except KeyboardInterrupt:
            return model, None, seen
        return model, history, seen

    whole, history, _ = trained(12)
    # The last item alone tells the next.
    assert history.epochs[history.best]["ndcg@10"] == right(whole) > 0.6  # by chance a ninth
    file = tmp_path / "training.pt"
    trained(12, stop=5, checkpoint=file)
    again, resumed, seen = trained(12, checkpoint=file)
    assert seen[0] == 5  # the stop came before the sixth epoch was written
    assert resumed.epochs == history.epochs
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), whole.parameters(), strict=True))
    # What is of another training is not gone on from.
    assert trained(3, checkpoint=file)[2] == [0, 1, 2]
