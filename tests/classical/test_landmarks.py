from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.landmarks import SIDE, render_face

from dfbench.classical.landmarks import (
    LandmarkFinder,
    centred_intensities,
    face_box,
    landmark_finder,
)
from dfbench.errors import UserError
from dfbench.faces.clip import CropRecipe

BOX = face_box(CropRecipe(), SIDE)


def test_landmarks_of_unseen_faces_are_where_they_were_rendered(landmark_model: Path) -> None:
    find, errors = landmark_finder(landmark_model), []
    for number in range(60, 70):
        image, points = render_face(number)
        found = find(image, BOX)
        assert found.seen
        eyes = np.linalg.norm(points[36:42].mean(axis=0) - points[42:48].mean(axis=0))
        errors.append(np.linalg.norm(found.points - points, axis=1).mean() / eyes)
    assert np.mean(errors) < 0.05


def test_where_dlib_sees_no_face_the_box_of_the_crop_is_taken(landmark_model: Path) -> None:
    find = landmark_finder(landmark_model)
    grey = np.full((SIDE, SIDE, 3), 128, np.uint8)
    found = find(grey, BOX)
    assert not found.seen
    left, top, right, bottom = BOX
    inside = (found.points > (left - 20, top - 20)) & (found.points < (right + 20, bottom + 20))
    assert inside.all()
    shift = np.array([10.0, 0.0])
    moved = find(grey, (left + 10, top, right + 10, bottom))
    np.testing.assert_allclose(moved.points, found.points + shift, atol=1)


def test_the_box_follows_the_recipe() -> None:
    left, top, right, bottom = face_box(CropRecipe(margin=1.3), 256)
    assert right - left == pytest.approx(bottom - top) == pytest.approx(0.91 * 256 / 1.3)
    assert (left + right, top + bottom) == (256, 256)
    wide = face_box(CropRecipe(margin=2.6), 256)
    assert wide[2] - wide[0] == pytest.approx((right - left) / 2)
    head = face_box(CropRecipe(crop="head"), 256)
    assert head[2] - head[0] < right - left
    assert head[1] + head[3] > 256  # a head's crop is raised over the face


@pytest.mark.parametrize("content", [b"", b"not a model" * 50])
def test_a_file_that_is_no_model(tmp_path: Path, content: bytes) -> None:
    pytest.importorskip("dlib", reason="needs dfbench[classical]: dlib")
    path = tmp_path / "wrong.dat"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"wrong\.dat: not a shape predictor of dlib's"):
        LandmarkFinder(path)


def test_intensities_are_those_under_the_points_minus_their_mean() -> None:
    rng = np.random.default_rng(0)
    image = np.repeat(rng.integers(0, 256, (40, 50, 1), dtype=np.uint8), 3, axis=2)
    points = np.column_stack([rng.uniform(0, 49, 68), rng.uniform(0, 39, 68)])
    grey = image[..., 0].astype(np.float64) / 255
    wanted = np.array([grey[round(y), round(x)] for x, y in points])
    values = centred_intensities(image, points)
    np.testing.assert_allclose(values, wanted - wanted.mean(), atol=1e-6)
    brighter = centred_intensities(np.minimum(image, 200) + np.uint8(20), points)
    np.testing.assert_allclose(
        brighter, centred_intensities(np.minimum(image, 200), points), atol=1e-6
    )


def test_a_point_outside_has_the_value_of_the_border() -> None:
    image = np.zeros((10, 10, 3), np.uint8)
    image[0, 0] = 255
    points = np.full((68, 2), 5.0)
    points[0] = (-30, -2)
    assert np.argmax(centred_intensities(image, points)) == 0
