"""Corners as a vector: what keeps it, and what it is worth for finding a picture again."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from support.raw import Pool

from dfbench.faces.crop import cut, inner_square, resize
from dfbench.faces.harris import LENGTH, LOOKS, corner_vector
from dfbench.faces.images import RGB

PEOPLE = 8


def jpeg(image: RGB) -> RGB:
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 30])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def elsewhere(image: RGB) -> RGB:
    """Cut a square out that is 3 % smaller, and not in the middle."""
    side = len(image)
    at = round(0.02 * side)
    return cut(image, (at, at, at + 0.97 * side, at + 0.97 * side))


COPIES: dict[str, Callable[[RGB], RGB]] = {
    "JPEG 30": jpeg,
    "half": lambda image: resize(image, len(image) // 2),
    "brighter": lambda image: np.clip(image * 1.3, 0, 255).astype(np.uint8),
    "blurred": lambda image: np.asarray(cv2.GaussianBlur(image, (0, 0), 1.5), np.uint8),
    "cut elsewhere": elsewhere,
}


@pytest.fixture(scope="module")
def faces(pool: Pool) -> list[RGB]:
    frames = [pool.frames(number)[0] for number in range(PEOPLE)]
    return [cut(frame, inner_square(*frame.shape[:2])) for frame in frames]


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_is_most_like_its_original(kind: str, faces: list[RGB]) -> None:
    known = np.stack([corner_vector(face) for face in faces])
    copies = np.stack([corner_vector(COPIES[kind](face)) for face in faces])
    assert (copies @ known.T).argmax(axis=1).tolist() == list(range(PEOPLE))


def test_both_parts_have_their_length(faces: list[RGB]) -> None:
    vector = corner_vector(faces[0])
    assert vector.shape == (LENGTH,)
    assert vector.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vector[:-128]), 1, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(vector[-128:]), LOOKS, rtol=1e-5)
    np.testing.assert_array_equal(vector, corner_vector(faces[0]))


def test_the_map_has_corners_where_they_are() -> None:
    image = np.zeros((256, 256, 3), np.uint8)
    image[64:, 160:] = 255  # its only corner is at (64, 160); an edge is none
    (fields,) = corner_vector(image)[:-128].reshape(1, 16, 16)
    row, column = np.unravel_index(fields.argmax(), fields.shape)
    assert (abs(row - 3.5), abs(column - 9.5)) <= (0.5, 0.5)
    assert fields[12].max() < 0.05 * fields.max()


def test_a_picture_without_corners_is_nothing() -> None:
    for side in (8, 300):
        assert not corner_vector(np.full((side, side, 3), 90, np.uint8)).any()


def test_the_frame_before_is_not_looked_at(faces: list[RGB]) -> None:
    pair = np.concatenate([faces[0], faces[1]], axis=2)
    np.testing.assert_array_equal(corner_vector(pair), corner_vector(faces[0]))
