from __future__ import annotations

import numpy as np

from dfbench.faces.tracks import PATIENCE, join_tracks


def boxes(*corners: tuple[float, float]) -> np.ndarray:
    return np.array([(x, y, x + 10, y + 10) for x, y in corners], float).reshape(-1, 4)


def test_two_people_keep_their_numbers_whatever_the_order_of_boxes() -> None:
    frames = [boxes((0, 0), (50, 0)), boxes((53, 1), (3, 1)), boxes((6, 2), (56, 2))]
    assert join_tracks(frames) == [[1, 2], [2, 1], [1, 2]]


def test_the_sum_of_overlaps_decides_where_faces_are_near_each_other() -> None:
    # The first overlaps the second's next place too; taking the best first would swap nothing here,
    # but taking each box's own best would give both to one track.
    assert join_tracks([boxes((0, 0), (8, 0)), boxes((4, 0), (12, 0))]) == [[1, 2], [1, 2]]


def test_who_comes_later_and_who_leaves() -> None:
    frames = [boxes((0, 0)), boxes((1, 0), (80, 0)), boxes((80, 1)), boxes()]
    assert join_tracks(frames) == [[1], [1, 2], [2], []]


def test_a_face_may_be_missed_for_a_while() -> None:
    gap = [boxes()] * PATIENCE
    assert join_tracks([boxes((0, 0)), *gap, boxes((2, 0))])[-1] == [1]
    assert join_tracks([boxes((0, 0)), *gap, boxes(), boxes((2, 0))])[-1] == [2]


def test_no_overlap_is_another_person() -> None:
    assert join_tracks([boxes((0, 0)), boxes((9.9, 9.9))]) == [[1], [2]]


def test_nothing_at_all() -> None:
    assert join_tracks([]) == []
    assert join_tracks([boxes(), boxes()]) == [[], []]
