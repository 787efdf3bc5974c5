"""What a recipe asks for is what is cut out, of odd clips too."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.raw import Pool, lay_on_side, write_frames

from dfbench.errors import UserError
from dfbench.faces.clip import FAKE, REAL, Clip, CropRecipe
from dfbench.faces.crop import recipe_box
from dfbench.faces.detect import DetectorChoice, load_detector
from dfbench.faces.extract import extract_clips, read_shard
from dfbench.faces.one_clip import check_recipe, extract_clip
from dfbench.faces.video import read_frames

HAAR = load_detector(DetectorChoice("haar"))
RECIPE = CropRecipe(detector="haar", frames=2, size=64)


def clip_of(path: Path, label: int = FAKE) -> Clip:
    return Clip(path=path, label=label, split="test", video="x/y/z", manipulation="y")


def test_real_clips_may_give_more_frames(tmp_path: Path, pool: Pool) -> None:
    pool.place(tmp_path / "a.mp4", 0)
    recipe = dataclasses.replace(RECIPE, real_oversample=3)
    wanted = [
        extract_clip(clip_of(tmp_path / "a.mp4", label), recipe, HAAR).wanted
        for label in (REAL, FAKE)
    ]
    assert wanted == [6, 2]


@pytest.mark.parametrize(
    ("policy", "frames"), [("even", [2, 6]), ("first", [0, 1]), ("centre", [3, 4]), ("second", [0])]
)
def test_policies(tmp_path: Path, pool: Pool, policy: str, frames: list[int]) -> None:
    pool.place(tmp_path / "a.mp4", 0)  # 8 frames, 25 a second
    recipe = dataclasses.replace(RECIPE, policy=policy)
    found = extract_clip(clip_of(tmp_path / "a.mp4"), recipe, HAAR)
    seen = [c.frame for c in found.crops] + [index for index, _ in found.misses]
    assert sorted(seen) == frames


def test_encoding(tmp_path: Path, pool: Pool) -> None:
    pool.place(tmp_path / "a.mp4", 0)
    sizes = {}
    for format, quality in (("png", 95), ("jpeg", 95), ("jpeg", 50)):
        recipe = dataclasses.replace(RECIPE, format=format, quality=quality)
        crop = extract_clip(clip_of(tmp_path / "a.mp4"), recipe, HAAR).crops[0]
        assert crop.image.startswith(b"\x89PNG" if format == "png" else b"\xff\xd8")
        sizes[format, quality] = len(crop.image)
    assert sizes["png", 95] > sizes["jpeg", 95] > sizes["jpeg", 50]


def test_a_fake_is_cut_where_its_original_was(tmp_path: Path, pool: Pool) -> None:
    pool.place(tmp_path / "real.mp4", 0)
    pool.place(tmp_path / "fake.mp4", 0, fake=True)
    real = dataclasses.replace(clip_of(tmp_path / "real.mp4", REAL), video="x/real/0")
    fake = dataclasses.replace(clip_of(tmp_path / "fake.mp4"), original="x/real/0")
    for boxes in ("own", "original"):
        recipe = dataclasses.replace(RECIPE, boxes=boxes, frames=4, real_oversample=2)
        folder = tmp_path / boxes
        # The fake comes first in the list, and is cut all the same after its original.
        shards = extract_clips([fake, real], recipe, folder, detector=DetectorChoice("haar"))
        of_fake, of_real = (read_shard(shard) for shard in shards)
        assert len(of_real.crops) > len(of_fake.crops) >= 2
        places = {crop.box for crop in of_real.crops}
        assert ({crop.box for crop in of_fake.crops} <= places) == (boxes == "original")
        assert not {c.content for c in of_fake.crops} & {c.content for c in of_real.crops}


def test_a_fake_whose_original_does_not_help_is_searched(tmp_path: Path, pool: Pool) -> None:
    pool.place(tmp_path / "fake.mp4", 0, fake=True)
    clip = clip_of(tmp_path / "fake.mp4")
    own = extract_clip(clip, RECIPE, HAAR)
    assert own.crops
    there = tuple(dataclasses.replace(c, box=(1.0, 2.0, 31.0, 32.0)) for c in own.crops)
    original = dataclasses.replace(own, crops=there)
    helped = extract_clip(clip, RECIPE, HAAR, original=original)
    assert [c.box for c in helped.crops] == [c.box for c in there]
    late = tuple(dataclasses.replace(c, time_s=c.time_s + 1) for c in there)
    for useless in (
        dataclasses.replace(original, crops=()),
        dataclasses.replace(original, crops=late),
        dataclasses.replace(original, frame_shape=(9, 9)),
    ):
        assert extract_clip(clip, RECIPE, HAAR, original=useless) == own


def test_turned_crops_have_no_box_to_use(tmp_path: Path) -> None:
    recipe = CropRecipe(detector="mediapipe_full", boxes="original", align=True)
    with pytest.raises(UserError, match="exclude each other"):
        check_recipe(recipe)


def test_a_heads_square_is_larger_and_higher() -> None:
    box = (100.0, 100.0, 200.0, 200.0)
    face = recipe_box(box, CropRecipe())
    head = recipe_box(box, CropRecipe(crop="head"))
    np.testing.assert_allclose(face, (85, 85, 215, 215))
    np.testing.assert_allclose(head, (52.5, 32.5, 247.5, 227.5))


def test_of_two_faces_the_larger_one(tmp_path: Path, pool: Pool) -> None:
    frame = pool.frames(0)[0]
    height, width = frame.shape[:2]
    small = cv2.resize(pool.frames(2)[0], (width // 2, height // 2))
    both = np.zeros((height, width + width // 2, 3), np.uint8)
    both[:, :width] = frame
    both[: height // 2, width:] = small
    write_frames(tmp_path / "two.mp4", [both[:, : both.shape[1] // 2 * 2]] * 4)
    assert len(HAAR(both)) == 2
    found = extract_clip(clip_of(tmp_path / "two.mp4"), RECIPE, HAAR)
    assert [crop.box[2] < width * 1.2 for crop in found.crops] == [True, True]
    assert all((crop.box[0] + crop.box[2]) / 2 < width for crop in found.crops)


def test_a_phone_video_on_its_side_is_turned(tmp_path: Path, pool: Pool) -> None:
    frames = pool.frames(0)
    write_frames(tmp_path / "upright.mp4", frames)
    # The sensor's picture is turned to the left; the matrix says: turn it to the right.
    write_frames(tmp_path / "side.mp4", [np.rot90(frame) for frame in frames])
    lay_on_side(tmp_path / "side.mp4")
    upright, turned = (
        read_frames(tmp_path / name, 1)[0].image for name in ("upright.mp4", "side.mp4")
    )
    assert upright is not None
    assert turned is not None
    assert turned.shape == upright.shape
    assert np.abs(turned.astype(int) - upright).mean() < 5
    found = extract_clip(clip_of(tmp_path / "side.mp4"), RECIPE, HAAR)
    assert len(found.crops) == 2


def test_times_of_a_variable_rate(tmp_path: Path, pool: Pool) -> None:
    times = [0, 4, 8, 50, 54, 100, 104, 108]  # hundredths of a second
    write_frames(tmp_path / "vfr.mp4", pool.frames(0), times=times)
    frames = read_frames(tmp_path / "vfr.mp4", 8)
    assert [f.index for f in frames] == list(range(8))
    np.testing.assert_allclose([f.time_s for f in frames], np.array(times) / 100, atol=0.011)


def test_a_clip_of_one_frame(tmp_path: Path, pool: Pool) -> None:
    write_frames(tmp_path / "one.mp4", pool.frames(0)[:1])
    found = extract_clip(clip_of(tmp_path / "one.mp4"), RECIPE, HAAR)
    assert (found.wanted, [crop.frame for crop in found.crops]) == (1, [0])


def test_a_folder_of_frames(tmp_path: Path, pool: Pool) -> None:
    for number in range(5):
        pool.image(tmp_path / f"clip/{number + 1:03}", 0, frame=number)
    (tmp_path / "clip/.hidden").touch()
    found = extract_clip(clip_of(tmp_path / "clip"), RECIPE, HAAR)
    assert (found.wanted, [crop.frame for crop in found.crops]) == (2, [1, 3])
    (tmp_path / "clip/002").write_bytes(b"damaged")
    found = extract_clip(clip_of(tmp_path / "clip"), RECIPE, HAAR)
    assert found.misses == ((1, "cannot decode"),)
    (tmp_path / "none").mkdir()
    assert "empty folder" in extract_clip(clip_of(tmp_path / "none"), RECIPE, HAAR).reason
