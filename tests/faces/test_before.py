"""A crop and the same place in the frame before."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.media import write_image, write_video
from support.raw import Pool, write_frames

from dfbench.faces.clip import FAKE, Clip, CropRecipe, recipe_values
from dfbench.faces.crop import decode
from dfbench.faces.detect import DetectorChoice, load_detector
from dfbench.faces.face import Face
from dfbench.faces.images import RGB
from dfbench.faces.one_clip import ALONE, extract_clip
from dfbench.faces.video import read_frames

RECIPE = CropRecipe(detector="haar", frames=3, size=64, format="png", before=True)
EYES = ((60.0, 50.0), (90.0, 58.0), (75.0, 70.0), (75.0, 80.0))


def one_face(image: RGB) -> list[Face]:
    """Find a face whose place depends on the frame, so that a second search would show."""
    shift = float(image[0, 0, 0] % 7)
    return [Face((40 + shift, 30 + shift, 100 + shift, 100 + shift), 0.9, EYES)]


def clip_of(path: Path, **more: bool) -> Clip:
    return Clip(path=path, label=FAKE, split="test", video="x/y/z", manipulation="y", **more)


@pytest.mark.parametrize(
    ("policy", "count", "pairs"),
    [
        ("even", 4, [(5, 4), (15, 14), (25, 24), (35, 34)]),
        ("first", 2, [(0, 1), (1, 0)]),  # there is none before the first
        ("second", 2, [(0, 1), (25, 24)]),
        ("centre", 3, [(18, 17), (19, 18), (20, 19)]),
    ],
)
def test_each_frame_comes_with_the_one_before(
    tmp_path: Path, policy: str, count: int, pairs: list[tuple[int, int]]
) -> None:
    write_video(tmp_path / "a.mp4", 40)
    frames = read_frames(tmp_path / "a.mp4", count, policy, before=True)  # type: ignore[arg-type]
    all_of_them = [f.image for f in read_frames(tmp_path / "a.mp4", 40, "first")]
    assert [f.index for f in frames] == [index for index, _ in pairs]
    for frame, (index, other) in zip(frames, pairs, strict=True):
        np.testing.assert_array_equal(frame.image, all_of_them[index])
        np.testing.assert_array_equal(frame.before, all_of_them[other])
        assert not np.array_equal(frame.image, frame.before)
    alone = read_frames(tmp_path / "a.mp4", count, policy)  # type: ignore[arg-type]
    assert [(f.index, f.time_s) for f in frames] == [(f.index, f.time_s) for f in alone]
    assert all(f.before is None for f in alone)


def test_frames_in_a_folder(tmp_path: Path, pool: Pool) -> None:
    for number in range(4):
        pool.image(tmp_path / f"clip/{number:03}", 0, frame=number)
    (tmp_path / "clip/002").write_bytes(b"damaged")
    frames = read_frames(tmp_path / "clip", 4, before=True)
    images = [frame.image for frame in frames]
    assert [f.before is None for f in frames] == [False, False, False, True]
    for frame, other in zip(frames[:3], (1, 0, 1), strict=True):
        np.testing.assert_array_equal(frame.before, images[other])


@pytest.mark.parametrize("align", [False, True])
def test_both_are_cut_at_one_place(tmp_path: Path, pool: Pool, align: bool) -> None:
    """Of a frame and its copy that is inverted, the crops are inverted too, to the last pixel."""
    frames = [f if n % 2 else 255 - pool.frames(0)[n + 1] for n, f in enumerate(pool.frames(0))]
    for number, frame in enumerate(frames):
        path = tmp_path / f"clip/{number:03}.png"
        path.parent.mkdir(exist_ok=True)
        assert cv2.imwrite(str(path), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    recipe = dataclasses.replace(RECIPE, frames=4, align=align)
    found = extract_clip(clip_of(tmp_path / "clip"), recipe, one_face)
    assert [crop.frame for crop in found.crops] == [1, 3, 5, 7]
    for crop in found.crops:
        image, before = decode(crop.image).astype(int), decode(crop.before).astype(int)
        assert np.abs(image - (255 - before)).max() <= 1  # scaled, and so rounded
        assert image.std() > 10


def test_a_fakes_box_is_used_for_both(tmp_path: Path, pool: Pool) -> None:
    pool.place(tmp_path / "a.mp4", 0)
    own = extract_clip(clip_of(tmp_path / "a.mp4"), RECIPE, one_face)
    there = tuple(dataclasses.replace(c, box=(1.0, 2.0, 31.0, 32.0)) for c in own.crops)
    original = dataclasses.replace(own, crops=there)
    found = extract_clip(clip_of(tmp_path / "a.mp4"), RECIPE, one_face, original=original)
    assert [c.box for c in found.crops] == [c.box for c in there]
    for old, new in zip(own.crops, found.crops, strict=True):
        assert new.before != old.before


def test_a_self_blended_pair_is_blended_alike(tmp_path: Path, pool: Pool) -> None:
    """Two equal frames give two equal fakes, each time another one."""
    still = pool.frames(0)[0]
    write_frames(tmp_path / "still.mp4", [still] * 8)
    clip = clip_of(tmp_path / "still.mp4", self_blend=True)
    recipe = dataclasses.replace(RECIPE, frames=8)
    plain = extract_clip(dataclasses.replace(clip, self_blend=False), recipe, one_face)
    found = extract_clip(clip, recipe, one_face)
    assert len(found.crops) == 8
    for crop, real in zip(found.crops, plain.crops, strict=True):
        images = [decode(data).astype(int) for data in (crop.image, crop.before, real.image)]
        apart, changed = (np.abs(images[0] - other).mean() for other in images[1:])
        assert apart < 2  # what the video's compression leaves
        assert changed > 2 * apart
    assert len({crop.content for crop in found.crops}) > 4


def test_a_clip_without_a_second_frame_gives_no_crop(tmp_path: Path, pool: Pool) -> None:
    write_frames(tmp_path / "one.mp4", pool.frames(0)[:1])
    found = extract_clip(clip_of(tmp_path / "one.mp4"), RECIPE, one_face)
    assert (found.crops, found.misses) == ((), ((0, ALONE),))
    assert found.reason == f"{ALONE} in 1 frame"
    write_image(tmp_path / "a.png")
    assert extract_clip(clip_of(tmp_path / "a.png"), RECIPE, one_face).reason == found.reason


def test_without_it_a_crop_is_what_it_was(tmp_path: Path, pool: Pool) -> None:
    pool.place(tmp_path / "a.mp4", 0)
    haar = load_detector(DetectorChoice("haar"))
    pairs = extract_clip(clip_of(tmp_path / "a.mp4"), RECIPE, haar)
    single = dataclasses.replace(RECIPE, before=False)
    alone = extract_clip(clip_of(tmp_path / "a.mp4"), single, haar)
    assert alone.crops
    assert tuple(dataclasses.replace(c, before=b"") for c in pairs.crops) == alone.crops
    assert recipe_values(RECIPE) == recipe_values(single) | {"before": True}
    assert "before" not in recipe_values(single)
