"""EASE over many items: with every item as a candidate it is EASE, and memory is asked for before it is needed."""

import numpy as np
import pytest

from recprune import memory
from recprune.errors import RecpruneError
from recprune.recommenders import ease
from recprune.recommenders.sparse_ease import fit_sparse, fit_sparse_bytes

sparse = pytest.importorskip("scipy.sparse")


@pytest.fixture(scope="module")
def user_items():
    rng = np.random.default_rng(0)
    shelf = rng.integers(0, 3, 150)
    likely = np.where(np.arange(30)[None, :] % 3 == shelf[:, None], 0.5, 0.25)
    return sparse.csr_array((rng.random((150, 30)) < likely).astype(np.float32))


def test_with_every_item_as_a_candidate_it_is_ease(user_items):
    np.testing.assert_allclose(
        fit_sparse(user_items, 3.0, neighbours=29).toarray(), ease.fit(user_items, 3.0), atol=1e-5
    )


def test_a_column_is_the_ridge_regression_on_its_candidates(user_items):
    found = fit_sparse(user_items, 2.0, neighbours=4).toarray()
    x = user_items.toarray().astype(np.float64)
    together, reads = x.T @ x, x.sum(axis=0)
    for j in range(30):
        alone = together[:, j] / (reads + 2)
        alone[j] = 0
        kept = np.flatnonzero(found[:, j])
        assert len(kept) == 4
        assert np.sort(alone[kept]) == pytest.approx(np.sort(alone)[-4:])  # which of those that tie is open
        a = x[:, kept]
        np.testing.assert_allclose(found[kept, j], np.linalg.solve(a.T @ a + 2 * np.eye(4), a.T @ x[:, j]), atol=1e-5)


def test_an_item_of_one_reader_says_nothing_but_is_found():
    # Item 0 and 1 are read by both, item 2 by the second user only.
    matrix = fit_sparse(sparse.csr_array(np.array([[1, 1, 0], [1, 1, 1]], np.float32)), 1.0).toarray()
    assert matrix[2].tolist() == [0, 0, 0]
    # Candidates 0 and 1 of item 2: (2 + 1) b + 2 b = 1.
    np.testing.assert_allclose(matrix[:, 2], [0.2, 0.2, 0], rtol=1e-6)


def test_tail_divides_by_a_power_of_the_readers(user_items):
    plain, raised = (fit_sparse(user_items, 2.0, 4, tail=tail).toarray() for tail in (0.0, 0.5))
    reads = user_items.toarray().sum(axis=0)
    np.testing.assert_allclose(raised, plain / np.sqrt(reads), rtol=1e-5)


def test_nobody_and_nothing():
    assert fit_sparse(sparse.csr_array((3, 4), dtype=np.float32), 1.0).nnz == 0
    assert fit_sparse(sparse.csr_array((0, 0), dtype=np.float32), 1.0).shape == (0, 0)


def test_what_does_not_fit_is_refused_with_the_numbers():
    # 10^6 items: two dense matrices of 4 * 10^12 bytes.
    many = sparse.csr_array((2, 10**6), dtype=np.float32)
    with pytest.raises(
        RecpruneError, match=r"EASE over 1,000,000 items needs 8,000\.0 GB of memory, .* train it sparse"
    ):
        ease.fit(many, 1.0)
    with pytest.raises(RecpruneError, match=r"products of 1,000,000 items needs 4,000\.0 GB"):
        ease.gram(many)
    assert fit_sparse_bytes(many, 32) == 10**6 * 32 * 32
    with pytest.raises(RecpruneError, match=r"1,000,000 items with 1000000 neighbours needs .* take fewer neighbours"):
        fit_sparse(many, 1.0, neighbours=10**6)


def test_settings_are_checked(user_items):
    with pytest.raises(RecpruneError, match="l2 must be above 0, got 0"):
        fit_sparse(user_items, 0)
    with pytest.raises(RecpruneError, match="neighbours must be 1 or more, got 0"):
        fit_sparse(user_items, 1.0, 0)
    with pytest.raises(RecpruneError, match=r"tail must be in \[0, 1\], got 2"):
        fit_sparse(user_items, 1.0, tail=2)


def test_where_the_system_does_not_say_nothing_is_refused(monkeypatch, tmp_path):
    assert memory.free_bytes() > 10**7
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:  2 kB\n")
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    assert memory.free_bytes() == 2048
    memory.require(2048, "this", "less")
    with pytest.raises(RecpruneError, match=r"this needs 0\.0 GB of memory, 0\.0 GB are free; less"):
        memory.require(2049, "this", "less")
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "nothing")
    memory.require(10**30, "this", "less")
