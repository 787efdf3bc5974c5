from __future__ import annotations

import numpy as np
import pytest

from dfbench.faces.average_precision import Found, average_precision, hits_of, overlaps, quality

BOX = (0.0, 0.0, 10.0, 10.0)
ELSEWHERE = (50.0, 50.0, 60.0, 60.0)


def found(
    boxes: list[tuple[float, ...]],
    scores: list[float],
    truth: list[tuple[float, ...]],
    difficult: list[bool] | None = None,
) -> Found:
    return Found(
        boxes=np.array(boxes, float).reshape(-1, 4),
        scores=np.array(scores, float),
        truth=np.array(truth, float).reshape(-1, 4),
        difficult=np.array(difficult or [False] * len(truth), bool),
    )


def ap(scores: list[float], hits: list[bool], truths: int) -> float | None:
    return average_precision(np.array(scores, float), np.array(hits, bool), truths)


def test_overlaps() -> None:
    others = np.array([BOX, (5, 0, 15, 10), (10, 0, 20, 10), ELSEWHERE, (0, 0, 5, 5)], float)
    np.testing.assert_allclose(overlaps(np.array([BOX]), others), [[1, 1 / 3, 0, 0, 0.25]])
    assert overlaps(np.zeros((0, 4)), others).shape == (0, 5)
    nothing = np.zeros((1, 4))
    assert overlaps(nothing, nothing) == 0  # no division by zero


def test_average_precision_by_hand() -> None:
    assert ap([0.9, 0.8], [True, True], 2) == 1
    # Precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1: best from there on 1, 2/3, 2/3.
    assert ap([0.9, 0.8, 0.7], [True, False, True], 2) == pytest.approx(0.5 + 0.5 * 2 / 3)
    # The order of rows is nothing, that of scores is all.
    assert ap([0.7, 0.9, 0.8], [True, True, False], 2) == pytest.approx(0.5 + 0.5 * 2 / 3)
    # A wrong box before the right ones: 1/2 at recall 1/2, 2/3 at 1, and 2/3 is best for both.
    assert ap([0.9, 0.8, 0.7], [False, True, True], 2) == pytest.approx(2 / 3)
    assert ap([0.9], [False], 3) == 0
    assert ap([], [], 3) == 0


def test_missed_boxes_count_unlike_in_scikit_learn() -> None:
    from sklearn.metrics import average_precision_score

    assert ap([0.9, 0.8], [True, False], 4) == 0.25
    assert average_precision_score([1, 0], [0.9, 0.8]) == 1


def test_without_annotated_boxes_it_is_undefined() -> None:
    assert ap([0.9], [False], 0) is None
    empty = quality([found([BOX], [0.9], [])])
    assert (empty.recall, empty.precision, empty.average_precision) == (None, 0, None)
    nothing = quality([found([], [], [BOX])])
    assert (nothing.recall, nothing.precision, nothing.average_precision) == (0, None, 0)


def test_boxes_of_one_score_come_in_together() -> None:
    for hits in ([True, False, False], [False, False, True]):
        assert ap([1.0, 1.0, 1.0], hits, 1) == pytest.approx(1 / 3)


def test_it_is_the_sum_over_recalls_of_the_best_precision() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        count = int(rng.integers(1, 30))
        hits, truths = rng.random(count) < 0.6, count + 3
        right = np.cumsum(hits)
        precision, recall = right / np.arange(1, count + 1), right / truths
        before = np.append(0, recall[:-1])
        expected = sum((recall[k] - before[k]) * precision[k:].max() for k in range(count))
        scores = np.sort(rng.permutation(1000)[:count])[::-1] / 1000
        assert average_precision(scores, hits, truths) == pytest.approx(expected)


def test_a_second_box_on_a_face_is_wrong_and_the_better_score_is_first() -> None:
    both = found([(1, 0, 10, 10), BOX], [0.6, 0.9], [BOX, ELSEWHERE])
    hits, counts = hits_of(both, 0.5)
    assert hits.tolist() == [False, True]
    assert counts.all()
    result = quality([both])
    assert (result.truths, result.detections, result.hits) == (2, 2, 1)
    assert (result.recall, result.precision, result.average_precision) == (0.5, 0.5, 0.5)


def test_difficult_boxes_count_for_nothing() -> None:
    one = found([BOX, BOX, ELSEWHERE], [0.9, 0.8, 0.7], [BOX, ELSEWHERE], [True, False])
    result = quality([one])
    assert (result.truths, result.detections, result.hits) == (1, 1, 1)
    assert result.average_precision == 1


def test_a_box_belongs_to_the_one_it_overlaps_most() -> None:
    """Even where that one is taken and another would be free: VOC's rule."""
    near = (0.0, 3.0, 10.0, 13.0)
    one = found([BOX, (0, 1, 10, 11)], [0.9, 0.8], [BOX, near])
    assert hits_of(one, 0.5)[0].tolist() == [True, False]


def test_the_threshold_is_the_least_overlap_of_a_hit() -> None:
    half = found([(0, 0, 10, 5)], [0.9], [BOX])
    assert quality([half], 0.5).hits == 1
    assert quality([half], 0.51).hits == 0


def test_images_are_ranked_together() -> None:
    images = [
        found([BOX], [0.5], [BOX]),
        found([ELSEWHERE], [0.9], [BOX]),
        found([ELSEWHERE], [0.7], []),
    ]
    result = quality(images)
    assert result.average_precision == pytest.approx(0.5 * 1 / 3)
    assert result.recall == 0.5
    assert result.precision == pytest.approx(1 / 3)
