"""The `like` models: nothing leaks, tables and overrides agree, training learns and resumes."""

import dataclasses

import numpy as np
import polars as pl
import pytest
import torch

from recprune.data import Log
from recprune.errors import RecpruneError
from recprune.recommenders.deepfm import DeepFm
from recprune.recommenders.features import Features, FeatureSettings
from recprune.recommenders.like import LIKE, LIKE_IDS, features_for, like_data, soft_targets, train_like
from recprune.recommenders.tables import ModelSettings, Table
from recprune.recommenders.training import RowAdam, Training, auc, fit, predict, tensors


def toy_log(seed: int = 0, rows: int = 4000) -> Log:
    """Users and books with a taste of their own; every third interaction is without a rating."""
    rng = np.random.default_rng(seed)
    users, books = 120, 80
    taste, quality = rng.normal(size=users), rng.normal(size=books)
    pairs = np.unique(np.stack([rng.integers(0, users, rows), rng.integers(0, books, rows)]), axis=1)
    u, b = pairs
    rating = np.clip(np.round(7 + 1.5 * taste[u] + quality[b] + 0.3 * rng.normal(size=len(u))), 1, 10)
    rating[rng.random(len(u)) < 0.3] = 0
    text = [str(i) for i in range(max(users, books))]
    return Log(
        "toy",
        pl.DataFrame({"user": [text[i] for i in u], "item": [text[i] for i in b], "rating": rating}),
        pl.DataFrame(
            {
                "user": text[:users],
                "age": [None if i % 5 == 0 else i for i in range(users)],
                "country": ["a" if i % 2 else "b" for i in range(users)],
                "region": [None] * users,
                "city": [str(i % 7) for i in range(users)],
            },
            schema_overrides={"region": pl.String},
        ),
        pl.DataFrame(
            {
                "item": text[:books],
                "author": [str(i % 10) for i in range(books)],
                "publisher": [str(i % 4) for i in range(books)],
                "work": text[:books],
                "year": [1950 + i for i in range(books)],
                "title": [f"book {i % 6} of {i}" for i in range(books)],
            }
        ),
    )


@pytest.fixture(scope="module")
def data():
    return like_data(toy_log())


def test_nothing_of_validation_and_test_reaches_the_features(data):
    features, train = Features.fit(data.train, data.implicit, LIKE.features)
    log = toy_log()
    split = {
        (u, i): part for part in ("valid", "test") for u, i in getattr(data, part).select("user", "item").iter_rows()
    }
    held = pl.Series([(u, i) in split for u, i in log.interactions.select("user", "item").iter_rows()])
    changed = log.interactions.with_columns(
        rating=pl.when(held).then(pl.col("rating") % 10 + 1).otherwise("rating").cast(pl.Float32)
    )
    other = like_data(Log("other", changed, log.users, log.items))
    assert other.labels["test"].tolist() != data.labels["test"].tolist()
    again, again_train = Features.fit(other.train, other.implicit, LIKE.features)
    for name, ids in features.ids.items():
        assert ids.to_list() == again.ids[name].to_list()
    for key, table in features.tables.items():
        np.testing.assert_array_equal(table, again.tables[key])
        np.testing.assert_array_equal(train.statistics[key], again_train.statistics[key])
    held_users = set(data.valid["user"]) | set(data.test["user"])
    assert all(user in set(data.train["user"]) | set(data.implicit["user"]) for user in features.ids["user"])
    assert held_users


def test_a_training_rows_statistics_do_not_depend_on_its_own_rating(data):
    # One column of the mean rating of a key: the row's own rating must not move it, whatever standardising does.
    settings = dataclasses.replace(LIKE.features, statistics=(("user", ("mean", "count")), ("item", ("mean effect",))))
    _, train = Features.fit(data.train, data.implicit, settings)
    row = 7
    ratings = data.train["rating"].to_numpy().copy()
    ratings[row] = 1 if ratings[row] > 5 else 10
    other = data.train.with_columns(rating=pl.Series(ratings))
    _, changed = Features.fit(other, data.implicit, settings)
    fold = np.random.default_rng(0).integers(0, settings.folds, len(ratings))
    mine = np.flatnonzero(fold == fold[row])
    for key in ("user", "item"):
        before, after = train.statistics[key][mine], changed.statistics[key][mine]
        # Rows of the same fold are an affine image of each other (standardised anew), so their order stays.
        for column in range(before.shape[1]):
            slope, intercept = np.polyfit(before[:, column].astype(float), after[:, column].astype(float), 1)
            np.testing.assert_allclose(after[:, column], slope * before[:, column] + intercept, atol=1e-4)


def test_statistics_by_hand():
    frame = pl.DataFrame({"user": ["u", "u", "v"], "item": ["a", "b", "a"], "rating": [10.0, 6.0, 8.0]})
    unread = pl.DataFrame({"user": ["u", "w"], "item": ["c", "a"]})
    settings = FeatureSettings(
        ids=("user", "item"), words=None, statistics=(("user", ("count", "implicit", "mean")),), folds=3
    )
    features, _ = Features.fit(frame, unread, settings)
    assert features.ids["user"].to_list() == ["u", "v", "w"]
    assert features.readings["user"].tolist() == [2, 1, 0, 0]
    table = features.tables["user"].astype(float)
    # Standardised: differences between rows are in proportion to the raw ones.
    counts = np.log1p([2, 1, 0, 0])
    means = (np.array([16, 8, 0, 0]) + 3 * 8) / (np.array([2, 1, 0, 0]) + 3)
    implicit = np.log1p([1, 0, 1, 0])
    for column, wanted in enumerate([counts, implicit]):
        ratio = np.diff(table[:, column])[np.abs(np.diff(wanted)) > 0] / np.diff(wanted)[np.abs(np.diff(wanted)) > 0]
        np.testing.assert_allclose(ratio, ratio[0], rtol=1e-4)
    np.testing.assert_allclose(means, 8)  # u's mean is the mean of all
    np.testing.assert_allclose(np.ptp(table[:, 2]), 0, atol=1e-3)


def test_unknown_ids_and_pairs_read_the_last_row(data):
    features, _ = Features.fit(data.train, data.implicit, LIKE.features)
    row = data.valid.head(1).with_columns(user=pl.lit("nobody"), title=pl.lit("zzz book"), year=pl.lit(None, pl.Int64))
    encoded = features.encode(row)
    assert encoded.rows["user"][0] == len(features.ids["user"])
    assert encoded.rows["user x author"][0] == len(features.pairs["user x author"][0])
    assert encoded.words.tolist() == [len(features.ids["title"]), features.ids["title"].index_of("book")]
    years = dict(LIKE.features.buckets)["year"]
    assert encoded.rows["year"][0] == len(years) + 1
    assert len(features.tables["user"]) == len(features.ids["user"]) + 1


def test_the_model_reads_its_own_tables_unless_statistics_are_given(data):
    trained = train_like(data, dataclasses.replace(LIKE, training=Training(epochs=1)))
    rows = trained.features.encode(data.valid)
    given = {
        f"{key} statistics": torch.from_numpy(table[rows.rows[key]]) for key, table in trained.features.tables.items()
    }
    trained.model.eval()
    batch = tensors(rows)
    assert torch.equal(trained.model(batch), trained.model(batch | given))
    moved = trained.model(batch | {k: v + 1 for k, v in given.items()})
    assert (trained.model(batch) - moved).abs().max() > 1e-3


@pytest.mark.parametrize("model", ["dcn", "deepfm"])
def test_it_learns_what_there_is_to_learn(data, model):
    settings = dataclasses.replace(
        LIKE_IDS, model=model, training=Training(epochs=15, batch=128, rate=5e-3, row_rate=2e-2, patience=5)
    )
    trained = train_like(data, settings)
    scores = predict(trained.model, trained.features.encode(data.test))
    assert auc(data.labels["test"], scores) > 0.85
    assert trained.history.epochs[trained.history.best]["auc"] == max(e["auc"] for e in trained.history.epochs)


def test_rare_ids_share_the_last_row_and_dropout_reads_it_only_in_training():
    table = Table(torch.tensor([9, 5, 2, 0]), ModelSettings(width=2, min_readings=3, id_dropout=0.5))
    assert table.factor.shape == (3, 2)
    assert table.readings.tolist() == [9, 5, 2]
    table.eval()
    assert table.drop(torch.tensor([0, 1, 2, 3])).tolist() == [0, 1, 2, 2]
    table.train()
    torch.manual_seed(0)
    share = (table.drop(torch.zeros(10_000, dtype=torch.int64)) == 2).float().mean()
    assert abs(share - 0.5) < 0.03


def test_row_adam_is_adam_on_rows_read_at_every_step():
    start = torch.randn(4, 3)
    mine, theirs = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    ours = RowAdam([{"params": [mine], "lr": 0.1}])
    adam = torch.optim.Adam([theirs], lr=0.1, betas=(0.9, 0.99))
    index = torch.tensor([0, 2, 2])
    for step in range(5):
        for parameter, optimizer, sparse in ((mine, ours, True), (theirs, adam, False)):
            optimizer.zero_grad()
            rows = torch.nn.functional.embedding(index, parameter, sparse=sparse)
            (rows * (step + torch.arange(3.0))).sum().backward()
            optimizer.step()
    torch.testing.assert_close(mine, theirs)
    assert torch.equal(mine[1], start[1])


def test_a_row_left_unread_does_not_move():
    parameter = torch.nn.Parameter(torch.ones(2, 1))
    optimizer = RowAdam([{"params": [parameter], "lr": 0.1}])
    for row in (0, 1, 1):
        optimizer.zero_grad()
        torch.nn.functional.embedding(torch.tensor([row]), parameter, sparse=True).sum().backward()
        optimizer.step()
    assert parameter[0].item() == pytest.approx(0.9, abs=1e-6)


def test_training_goes_on_where_it_stopped(data, tmp_path):
    features, train = Features.fit(data.train, data.implicit, LIKE_IDS.features)
    valid, targets = features.encode(data.valid), data.labels["train"]

    def run(checkpoint, stop=None, targets=targets, width=8):
        torch.manual_seed(0)
        model = DeepFm(features, ModelSettings(width=width))

        def progress(record):
            if record["epoch"] == stop:
                raise KeyboardInterrupt

        settings = Training(epochs=4, patience=4, row_rate=1e-2)
        fit(model, train, targets, valid, data.labels["valid"], settings, progress=progress, checkpoint=checkpoint)
        return predict(model, valid)

    whole = run(None)
    path = tmp_path / "state"
    with pytest.raises(KeyboardInterrupt):
        run(path, stop=2)
    state = path.read_bytes()
    np.testing.assert_array_equal(run(path), whole)
    # Not from the state of other targets, of a model of another width, or that is damaged.
    for other in ({"targets": 1 - targets}, {"width": 4}):
        path.write_bytes(state)
        np.testing.assert_array_equal(run(path, **other), run(None, **other))
    for at in np.linspace(0, len(state) - 1, 5).astype(int):
        path.write_bytes(state[:at] + bytes([state[at] ^ 16]) + state[at + 1 :])
        np.testing.assert_array_equal(run(path), whole)
        path.write_bytes(state[:at])
        np.testing.assert_array_equal(run(path), whole)


def test_a_row_is_inherited_by_its_id_and_drawn_to_the_shared_row_by_the_readings_that_are_gone():
    def features(rows):
        frame = pl.DataFrame(rows, schema=["user", "item", "rating"], orient="row")
        settings = FeatureSettings(ids=("user", "item"), words=None)
        return Features.fit(frame, frame.clear(), settings)[0]

    kept = [("ann", "x", 8.0), ("ann", "y", 3.0), ("bob", "x", 9.0), ("bob", "y", 1.0)]
    sizes = ModelSettings(width=1, min_readings=2, deep=())
    older = DeepFm(features([*kept, ("eve", "x", 8.0), ("eve", "z", 9.0)]), sizes)
    model = DeepFm(features(kept), sizes)
    assert older.features.ids["item"].to_list() == ["x", "y", "z"]
    with torch.no_grad():
        # Items x, y and the shared row, which z reads, as it was read once.
        older.tables["item"].factor.copy_(torch.tensor([[4.0], [6.0], [1.0]]))
        older.tables["user"].bias.copy_(torch.tensor([[1.0], [2.0], [3.0], [0.5]]))
        older.output.weight.fill_(7.0)
    model.inherit(older)
    # One reading of three of x is gone: 1 + 2/3 * (4 - 1). Nothing of y is.
    assert model.tables["item"].factor.flatten().tolist() == pytest.approx([3.0, 6.0, 1.0])
    assert model.tables["user"].bias.flatten().tolist() == pytest.approx([1.0, 2.0, 0.5])
    assert (model.output.weight == 7).all()


def test_a_teacher_takes_its_share(data):
    features, train = Features.fit(data.train, data.implicit, LIKE_IDS.features)
    valid = features.encode(data.valid)
    torch.manual_seed(0)
    model = DeepFm(features, ModelSettings())
    against = np.where(data.labels["train"] > 0, -3, 3).astype(np.float32)
    settings = Training(epochs=6, batch=128, row_rate=2e-2, rate=5e-3, teacher=1.0, patience=6)
    fit(model, train, data.labels["train"], valid, 1 - data.labels["valid"], settings, teacher=against)
    assert auc(data.labels["valid"], predict(model, valid)) < 0.3


def test_bags_are_taken_with_their_rows(data):
    _, train = Features.fit(data.train, data.implicit, LIKE_IDS.features)
    part = train.take(np.array([5, 2]))
    for place, row in enumerate((5, 2)):
        mine = part.words[part.offsets[place] : part.offsets[place + 1]].tolist()
        assert mine == train.words[train.offsets[row] : train.offsets[row + 1]].tolist()


def test_soft_targets_keep_the_order_of_ratings():
    targets = soft_targets(np.arange(1, 11), 8.0, 0.5)
    assert (np.diff(targets) > 0).all()
    assert soft_targets(np.arange(1, 11), 8.0, 0.0).tolist() == [0.0] * 7 + [1.0] * 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ModelSettings(min_readings=0), "sizes must be positive"),
        (lambda: FeatureSettings(statistics=(("reader", ("count",)),)), "no column 'reader'"),
        (lambda: FeatureSettings(statistics=(("user", ("median",)),)), "no statistic 'median'; statistics are: count"),
        (lambda: dataclasses.replace(LIKE, model="dnc"), "did you mean 'dcn'"),
        (lambda: Training(teacher=2), r"teacher must be in \[0, 1\], got 2"),
        (lambda: auc(np.ones(3), np.ones(3)), "both classes, got 3 positive and 0"),
    ],
)
def test_errors_name_the_input(make, message):
    with pytest.raises(RecpruneError, match=message):
        make()


def test_a_missing_column_is_named(data):
    with pytest.raises(RecpruneError, match="no column 'author'"):
        Features.fit(data.train.drop("author"), data.implicit, LIKE.features)


def own_log(**renamed: str) -> Log:
    """The toy log with attributes called otherwise."""
    log = toy_log()
    of = {table: {a: b for a, b in renamed.items() if a in getattr(log, table).columns} for table in ("users", "items")}
    return Log("own", log.interactions, log.users.rename(of["users"]), log.items.rename(of["items"]))


def test_every_attribute_of_a_log_is_read_whatever_it_is_called():
    # `type`, `items` and `keys` are methods of torch's modules too.
    log = own_log(author="type", country="items", city="keys", age="income", publisher="publisher")
    data = like_data(log)
    found = features_for(LIKE.features, data.train, 8.0)
    assert set(found.columns) == {*log.users.columns, *log.items.columns}
    assert set(dict(found.buckets)) == {"year", "income"}
    stated = dict(found.statistics)
    assert {name: stated[name] for name in ("type", "items", "income")} == dict.fromkeys(
        ("type", "items", "income"), ("like",)
    )
    assert "user x publisher" in stated
    settings = dataclasses.replace(LIKE, features=found, training=Training(epochs=1))
    model = train_like(data, settings).model
    assert {"type", "items", "keys", "income"} <= set(model.tables)
    assert np.isfinite(predict(model, model.features.encode(data.test))).all()


def test_numbers_are_cut_at_their_tenths():
    rows = pl.DataFrame({"user": ["u"] * 101, "item": ["i"] * 101, "price": range(101), "alike": [7.0] * 101})
    rows = rows.with_columns(none=pl.lit(None, pl.Float64))
    found = dict(features_for(FeatureSettings(), rows, 8.0).buckets)
    assert found == {"price": tuple(map(float, range(10, 100, 10))), "alike": (7.0,), "none": ()}


def test_a_year_that_is_text_is_an_id():
    found = features_for(LIKE.features, like_data(toy_log()).train.cast({"year": pl.String}), 8.0)
    assert "year" in found.ids
    assert "year" not in dict(found.buckets)


@pytest.mark.parametrize("name", ["price.eur", "a x b", "a+b", "a*", "training"])
def test_a_name_that_no_table_can_have_is_refused(name):
    with pytest.raises(RecpruneError, match="cannot be read: a name must have no"):
        features_for(LIKE.features, like_data(own_log(author=name)).train, 8.0)
