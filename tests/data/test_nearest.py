from __future__ import annotations

import numpy as np
import pytest

from dfbench.data.nearest import Metric, most_similar, nearest


def rows(n: int, width: int = 5, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


@pytest.mark.parametrize("block", [1, 40, 2**24])
def test_nearest_has_the_largest_products(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dfbench.data.nearest._BLOCK", block)
    known, asked = rows(31), rows(17, seed=1)
    products = asked @ known.T
    order = np.argsort(-products, axis=1)
    for top in (1, 4):
        at, product = nearest(known, asked, top=top)
        np.testing.assert_array_equal(at, order[:, :top])
        np.testing.assert_allclose(
            product, np.take_along_axis(products, order[:, :top], 1), rtol=1e-5
        )


def test_of_equal_ones_the_first_is_found() -> None:
    known = np.ones((4, 2), np.float32)
    at, _ = nearest(known, known[:1], top=3)
    assert at.tolist() == [[0, 1, 2]]


def test_where_nothing_more_is_known() -> None:
    known, asked = rows(2), rows(3, seed=1)
    metrics: tuple[Metric, ...] = ("cosine", "euclidean")
    for metric in metrics:
        _, found = most_similar(known, asked, metric, top=4)
        assert np.isfinite(found[:, :2]).all()
        assert (found[:, 2:] == -np.inf).all()
        _, found = most_similar(known[:0], asked, metric, top=1)
        assert (found == -np.inf).all()
    assert (nearest(known[:0], asked)[1] == -np.inf).all()
    assert nearest(known, asked[:0])[0].shape == (0, 1)


def test_of_a_group_the_best_is_found() -> None:
    known = np.array([[1, 0], [0.9, 0.1], [0.5, 0.5], [0, 1]], np.float32)
    groups = np.array([7, 7, 3, 3])
    asked = np.array([[1, 0], [0, 1]], np.float32)
    at, found = nearest(known, asked, top=3, groups=groups)
    assert at[:, :2].tolist() == [[0, 2], [3, 1]]
    assert (found[:, 2] == -np.inf).all()


@pytest.mark.parametrize("offset", [0, 1000])
def test_metrics_are_what_they_are_called(offset: int) -> None:
    """Far from the origin too, where single precision has little left for differences."""
    known, asked = rows(50) + np.float32(offset), rows(8, seed=1) + np.float32(offset)
    wide, other = known.astype(np.float64), asked.astype(np.float64)
    distances = np.linalg.norm(wide[None] - other[:, None], axis=2)
    lengths = np.linalg.norm(other, axis=1)[:, None] * np.linalg.norm(wide, axis=1)
    cosines = other @ wide.T / lengths
    at, found = most_similar(known, asked, "euclidean", top=5)
    np.testing.assert_array_equal(at, np.argsort(distances, axis=1)[:, :5])
    np.testing.assert_allclose(found, np.sort(1 / (1 + distances), axis=1)[:, :-6:-1], rtol=1e-4)
    at, found = most_similar(known, asked, "cosine", top=5)
    np.testing.assert_allclose(found, np.sort(cosines, axis=1)[:, :-6:-1], atol=1e-6)
    if not offset:
        np.testing.assert_array_equal(at, np.argsort(-cosines, axis=1)[:, :5])


def test_metrics_differ_by_length() -> None:
    known = np.array([[10, 0], [1, 1]], np.float32)
    asked = np.array([[1, 0]], np.float32)
    assert most_similar(known, asked, "cosine", top=1)[0].tolist() == [[0]]
    assert most_similar(known, asked, "euclidean", top=1)[0].tolist() == [[1]]


def test_the_same_vector_has_similarity_1() -> None:
    known = rows(20) * 30
    metrics: tuple[Metric, ...] = ("cosine", "euclidean")
    for metric in metrics:
        at, found = most_similar(known, known, metric, top=1)
        assert at[:, 0].tolist() == list(range(20))
        np.testing.assert_allclose(found, 1, atol=1e-6)
        assert (found <= 1).all()
    assert most_similar(known, known[:1] * 0, "cosine", top=1)[1] == 0
