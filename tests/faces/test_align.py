"""Eyes come out level, heads keep their hair, and points go where their pixels go."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.photos import AS_THEY_ARE, prepare_photos, write_photos

from dfbench.errors import UserError
from dfbench.faces import one_clip
from dfbench.faces.clip import Clip, Crop, CropRecipe
from dfbench.faces.crop import cut, middle, recipe_box, square_box, turned
from dfbench.faces.detect import DetectorChoice, load_detector
from dfbench.faces.face import Face
from dfbench.faces.images import read_image
from dfbench.faces.one_clip import check_recipe, extract_clip

BOX = (150.0, 120.0, 270.0, 240.0)
CENTRE = np.array(middle(BOX))
# Of an upright head, from the centre of the face box, px: right eye, left eye, nose, mouth, crown.
POINTS = np.array([(-28.0, -20.0), (28.0, -20.0), (0.0, 8.0), (0.0, 32.0), (0.0, -88.0)])
COLOURS = [(255, 0, 0), (0, 255, 0), (255, 255, 0), (255, 0, 255), (0, 0, 255)]  # RGB
ANGLES = [-170, -60, -25, -4, 0, 13, 35, 90]  # degrees, clockwise


def turn(angle: float) -> np.ndarray:
    sine, cosine = np.sin(np.radians(angle)), np.cos(np.radians(angle))
    return CENTRE + POINTS @ np.array([[cosine, sine], [-sine, cosine]])


def picture(angle: float) -> tuple[np.ndarray, Face]:
    """Draw a dot at each point of a head that is turned, and say where they are."""
    points = turn(angle)
    image = np.full((400, 440, 3), 90, np.uint8)
    for (x, y), colour in zip(points, COLOURS, strict=True):
        # Pixel 0 is drawn at 0 and reaches from 0 to 1; 4 bits of fraction.
        place = (round(16 * (x - 0.5)), round(16 * (y - 0.5)))
        cv2.circle(image, place, 16 * 5, colour, cv2.FILLED, cv2.LINE_AA, shift=4)
    return image, Face(BOX, 0.9, tuple((float(x), float(y)) for x, y in points[:4]))


def dot(image: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Return the middle of the dot of a colour, px."""
    weight = np.clip(200 - np.abs(image.astype(float) - colour).sum(axis=2), 0, None)
    rows, columns = np.indices(weight.shape)
    total = weight.sum()
    assert total > 0
    return np.array([(columns * weight).sum() / total + 0.5, (rows * weight).sum() / total + 0.5])


def crop_of(
    tmp_path: Path, angle: float, recipe: CropRecipe, *, self_blend: bool = False
) -> tuple[Crop, np.ndarray]:
    """Extract the crop of a picture; also return its pixels, RGB."""
    image, face = picture(angle)
    assert cv2.imwrite(str(tmp_path / "face.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    clip = Clip(
        path=tmp_path / "face.png",
        label=int(self_blend),
        split="test",
        video=f"t/{self_blend}",
        manipulation="real",
        self_blend=self_blend,
    )
    (crop,) = extract_clip(clip, recipe, lambda image: [face]).crops
    decoded = cv2.imdecode(np.frombuffer(crop.image, np.uint8), cv2.IMREAD_COLOR)
    return crop, cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)


@pytest.mark.parametrize("angle", ANGLES)
def test_eyes_are_level(tmp_path: Path, angle: float) -> None:
    recipe = CropRecipe(align=True, margin=1.3, size=156, format="png")
    crop, image = crop_of(tmp_path, angle, recipe)
    right, left, nose, mouth = (dot(image, colour) for colour in COLOURS[:4])
    assert abs(right[1] - left[1]) < 0.5
    assert left[0] - right[0] == pytest.approx(56, abs=0.5)  # the person's right is on the left
    np.testing.assert_allclose(nose, (78, 78 + 8), atol=0.5)
    assert mouth[1] > nose[1] > left[1]
    assert crop.box == square_box(BOX, 1.3)


@pytest.mark.parametrize("angle", ANGLES)
def test_a_turned_head_keeps_its_hair_above_its_face(tmp_path: Path, angle: float) -> None:
    recipe = CropRecipe(align=True, crop="head", margin=1.3, size=234, format="png")
    _, image = crop_of(tmp_path, angle, recipe)
    crown = dot(image, COLOURS[4])
    # 88 px above the middle of the face, which is 0.2 of 120 px below the middle of the crop.
    np.testing.assert_allclose(crown, (117, 117 + 24 - 88), atol=0.5)


def test_a_head_is_larger_than_its_face_and_raised() -> None:
    face = CropRecipe(margin=1.3)
    assert recipe_box((100, 100, 200, 200), face) == (85, 85, 215, 215)
    head = dataclasses.replace(face, crop="head")
    expected = (52.5, 32.5, 247.5, 227.5)
    assert recipe_box((100, 100, 200, 200), head) == pytest.approx(expected)


@pytest.mark.parametrize("angle", ANGLES)
def test_points_go_where_their_pixels_go(angle: float) -> None:
    image, face = picture(angle)
    for recipe in (CropRecipe(align=True, crop="head"), CropRecipe(crop="head", margin=1.5)):
        (cropped,), _, into = one_clip._crop([image], face, recipe)
        for point, colour in zip(turn(angle), COLOURS, strict=True):
            np.testing.assert_allclose(dot(cropped, colour), into @ (*point, 1), atol=0.3)


def test_turned_by_nothing_or_by_half_a_turn_is_exact() -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 60, 3)).astype(np.uint8)
    box, centre = (10.0, 14.0, 42.0, 46.0), (26.0, 30.0)
    upright, over = ((20.0, 20.0), (30.0, 20.0)), ((30.0, 20.0), (20.0, 20.0))
    np.testing.assert_array_equal(turned(image, box, centre, upright)[0], cut(image, box))
    half = turned(image, box, centre, over)[0]
    np.testing.assert_array_equal(half, cut(image, box)[::-1, ::-1])


def test_outside_the_frame_the_border_is_repeated() -> None:
    image = np.full((40, 40, 3), 200, np.uint8)
    square, _ = turned(image, (-30, -30, 30, 30), (0, 0), ((0, 0), (10, 5)))
    assert square.shape == (60, 60, 3)
    assert (square == 200).all()


@pytest.mark.parametrize("angle", [-60, 35])
def test_self_blends_of_turned_faces(
    tmp_path: Path, angle: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The face that is blended is level, of its own size, and where the crop shows it."""
    seen: list[Face] = []

    def spy(image: np.ndarray, face: Face, rng: np.random.Generator) -> np.ndarray:
        seen.append(face)
        return 255 - image

    recipe = CropRecipe(align=True, margin=1.3, size=156, format="png")
    _, real = crop_of(tmp_path, angle, recipe)
    monkeypatch.setattr(one_clip, "self_blend", spy)
    _, fake = crop_of(tmp_path, angle, recipe, self_blend=True)
    np.testing.assert_array_equal(fake, 255 - real)  # blended after the turn
    (face,) = seen
    np.testing.assert_allclose(face.box, (18, 18, 138, 138))
    np.testing.assert_allclose(face.keypoints, 78 + POINTS[:4], atol=1e-6)


def test_self_blends_of_aligned_crops_are_fakes(tmp_path: Path) -> None:
    recipe = CropRecipe(align=True, size=156, format="png")
    real, _ = crop_of(tmp_path, 20, recipe)
    one, _ = crop_of(tmp_path, 20, recipe, self_blend=True)
    two, _ = crop_of(tmp_path, 20, recipe, self_blend=True)
    assert one == two
    assert one.box == real.box
    assert one.image != real.image


@pytest.mark.parametrize("detector", ["haar", "none"])
def test_a_detector_without_eyes_is_an_error(tmp_path: Path, detector: str) -> None:
    check_recipe(CropRecipe(align=True))
    check_recipe(CropRecipe(align=True, detector="mtcnn"))
    check_recipe(CropRecipe(detector=detector))
    with pytest.raises(UserError, match=rf"data\.align .* finds eyes, and {detector} does not"):
        check_recipe(CropRecipe(align=True, detector=detector))
    data = dataclasses.replace(AS_THEY_ARE, detector=detector, align=True)
    with pytest.raises(UserError, match=r"data\.align"):
        prepare_photos(write_photos(tmp_path / "mine", real=2, fake=2), tmp_path / "data", data)


@pytest.mark.parametrize("angle", [-30, -12, 9, 25])
def test_a_photograph_that_was_turned_comes_back_level(shared_dir: Path, angle: float) -> None:
    model = shared_dir / "models" / "face_detection_full_range_sparse.tflite"
    detect = load_detector(DetectorChoice("mediapipe_full", model))
    photo = read_image(shared_dir / "data" / "astronaut.png")
    turning = cv2.getRotationMatrix2D((224, 130), -angle, 1.0)
    image = cv2.warpAffine(photo, turning, photo.shape[:2], borderMode=cv2.BORDER_REPLICATE)
    (face,) = detect(image)
    eyes = [turning @ (*eye, 1) for eye in ((203.0, 101.2), (246.7, 103.8))]  # seen by hand
    tilts = {}
    for align in (False, True):
        _, _, into = one_clip._crop(image, face, CropRecipe(align=align, crop="head"))
        right, left = (into @ (*eye, 1) for eye in eyes)
        tilts[align] = float(np.degrees(np.arctan2(left[1] - right[1], left[0] - right[0])))
    assert tilts[False] == pytest.approx(angle + 3.4, abs=0.1)
    # The face is 40 px wide in the network's input, and its eyes may be a pixel of that off.
    assert tilts[True] == pytest.approx(0, abs=5)
