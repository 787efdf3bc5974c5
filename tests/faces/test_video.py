from __future__ import annotations

import hashlib
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.hostile import corpus
from support.media import write_video
from support.odd_media import rotated
from support.odd_media import video as made

from dfbench.faces import video
from dfbench.faces.clip import Clip, CropRecipe, FramePolicy
from dfbench.faces.face import Face
from dfbench.faces.images import UnreadableError
from dfbench.faces.one_clip import ALONE, extract_clip
from dfbench.faces.video import frame_indices, read_frames


def test_even_indices_span_the_clip() -> None:
    assert frame_indices(10, 5, "even", 25) == [1, 3, 5, 7, 9]
    assert frame_indices(300, 3, "even", 25) == [50, 150, 250]
    assert frame_indices(3, 8, "even", 25) == [0, 1, 2]
    assert frame_indices(0, 8, "even", 25) == []
    assert frame_indices(-5, 8, "even", 25) == []  # some containers claim so


def test_other_policies() -> None:
    assert frame_indices(300, 3, "first", 25) == [0, 1, 2]
    assert frame_indices(2, 3, "first", 25) == [0, 1]
    assert frame_indices(101, 5, "centre", 25) == [48, 49, 50, 51, 52]
    assert frame_indices(3, 5, "centre", 25) == [0, 1, 2]
    assert frame_indices(100, 9, "second", 25) == [0, 25, 50, 75]
    assert frame_indices(100, 2, "second", 25) == [0, 25]
    assert frame_indices(100, 9, "second", 29.97) == [0, 30, 60, 90]
    assert frame_indices(3, 9, "second", 0) == [0, 1, 2]  # no rate known: every frame


def test_the_wanted_frames_are_the_decoded_ones(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", 40)
    frames = read_frames(tmp_path / "a.mp4", 4)
    assert [f.index for f in frames] == [5, 15, 25, 35]
    np.testing.assert_allclose([f.time_s for f in frames], [0.2, 0.6, 1.0, 1.4])
    for frame in frames:
        assert frame.image is not None
        assert frame.image.mean() == pytest.approx(4 * frame.index + 8, abs=3)


def test_first_frames(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", 6)
    assert [f.index for f in read_frames(tmp_path / "a.mp4", 2, "first")] == [0, 1]


def test_a_wrong_frame_count_is_corrected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "a.mp4", 20)

    class Lying:
        def __init__(self, *args: object) -> None:
            self._inner = real(*args)

        def get(self, what: int) -> float:
            claimed: float = self._inner.get(what)
            return 400.0 if what == video.cv2.CAP_PROP_FRAME_COUNT else claimed

        def __getattr__(self, name: str) -> object:
            return getattr(self._inner, name)

    real = video.cv2.VideoCapture
    monkeypatch.setattr(video.cv2, "VideoCapture", Lying)
    assert [f.index for f in read_frames(tmp_path / "a.mp4", 4)] == [2, 7, 12, 17]


def test_reasons(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no video at all\n" * 50)
    write_video(tmp_path / "whole.mp4", 10)
    data = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])  # the index is at the end
    for name, reason in {
        "empty.mp4": "empty file",
        "text.mp4": "not a video",
        "cut.mp4": "not a video",
    }.items():
        with pytest.raises(UnreadableError, match=reason):
            read_frames(tmp_path / name, 4)


# --- as players show it ---------------------------------------------------------------------------


def split_frame() -> np.ndarray:
    """Return a frame of 64x48 whose left third is white."""
    frame = np.zeros((48, 64, 3), np.uint8)
    frame[:, :21] = 255
    return frame


def shown(folder: Path, data: bytes) -> np.ndarray:
    """Return which pixels of the middle frame are white."""
    (folder / "a.mp4").write_bytes(data)
    (frame,) = read_frames(folder / "a.mp4", 1)
    assert frame.image is not None
    return frame.image[:, :, 0] > 128


@pytest.mark.parametrize(
    ("degrees", "side"),
    [
        (90, np.s_[:18, :]),  # what was left is on top
        (180, np.s_[:, -18:]),
        (270, np.s_[-18:, :]),
    ],
)
def test_a_rotated_video_is_upright(
    tmp_path: Path, degrees: int, side: tuple[slice, slice]
) -> None:
    white = shown(tmp_path, rotated(made(frames=[split_frame()] * 5), degrees))
    assert white.shape == ((48, 64) if degrees == 180 else (64, 48))
    assert white[side].mean() > 0.95
    assert white.mean() == pytest.approx(21 / 64, abs=0.05)


@pytest.mark.parametrize(
    ("aspect", "shape"),
    [
        (Fraction(1), (48, 64)),
        (Fraction(2), (48, 128)),
        (Fraction(1, 2), (96, 64)),
        (Fraction(16, 15), (48, 68)),  # 4:3 on PAL
        (Fraction(405, 404), (48, 64)),  # rounding of an encoder: not worth a resampled picture
        (Fraction(9, 1), (48, 64)),  # no camera's
    ],
)
def test_pixels_are_made_square(tmp_path: Path, aspect: Fraction, shape: tuple[int, int]) -> None:
    white = shown(tmp_path, made(codec="libx264", frames=[split_frame()] * 5, aspect=aspect))
    assert white.shape == shape
    assert white.any(axis=0).mean() == pytest.approx(21 / 64, abs=0.05)
    assert white.any(axis=1).all()


def test_a_rotated_video_of_other_pixels(tmp_path: Path) -> None:
    wide = made(codec="libx264", frames=[split_frame()] * 5, aspect=Fraction(2))
    white = shown(tmp_path, rotated(wide, 90))
    assert white.shape == (128, 48)  # 128x48, turned
    assert white[:38].mean() > 0.95


# --- hostile headers ------------------------------------------------------------------------------


def test_frames_that_are_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "a.mp4", 8)
    monkeypatch.setattr(video, "MAX_PIXELS", 64 * 48 - 1)
    with pytest.raises(UnreadableError, match=r"frames too large \(64x48\)"):
        read_frames(tmp_path / "a.mp4", 4)
    monkeypatch.setattr(video, "MAX_PIXELS", 64 * 48)
    assert len(read_frames(tmp_path / "a.mp4", 4)) == 4
    # The header is right, and a pixel's shape blows the frame up.
    (tmp_path / "b.mp4").write_bytes(made(codec="libx264", aspect=Fraction(2)))
    with pytest.raises(UnreadableError, match=r"frames too large \(128x48\)"):
        read_frames(tmp_path / "b.mp4", 4)


def test_frames_that_are_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "a.mp4", 8)
    for name in ("0.png", "1.png", "2.png", "3.png"):
        (tmp_path / "frames").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "frames" / name), np.zeros((48, 64, 3), np.uint8))
    monkeypatch.setattr(video, "MAX_HELD", 4 * 64 * 48 * 3)
    for place in ("a.mp4", "frames"):
        assert len(read_frames(tmp_path / place, 4)) == 4
    monkeypatch.setattr(video, "MAX_HELD", 4 * 64 * 48 * 3 - 1)
    for place in ("a.mp4", "frames"):
        with pytest.raises(UnreadableError, match="its frames take more than"):
            read_frames(tmp_path / place, 4)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("policy", ["even", "second"])
def test_headers_without_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float, policy: FramePolicy
) -> None:
    write_video(tmp_path / "a.mp4", 6)

    class Lying:
        def __init__(self, *args: object) -> None:
            self._inner = real(*args)

        def get(self, what: int) -> float:
            return value

        def __getattr__(self, name: str) -> object:
            return getattr(self._inner, name)

    real = cv2.VideoCapture
    monkeypatch.setattr(video.cv2, "VideoCapture", Lying)
    frames = read_frames(tmp_path / "a.mp4", 4, policy)
    assert len(frames) == 4
    assert all(frame.time_s == 0 for frame in frames)


def test_a_neighbour_of_another_size_is_none(tmp_path: Path) -> None:
    """Some streams change the size of their frames; the same place is then another one."""
    for name, side in (("0.png", 64), ("1.png", 64), ("2.png", 32)):
        cv2.imwrite(str(tmp_path / name), np.zeros((side, side, 3), np.uint8))
    recipe = CropRecipe(detector="none", frames=3, size=16, before=True)
    one = Clip(path=tmp_path, label=0, split="test", video="v", manipulation="real")
    box = Face((40, 40, 60, 60), 1.0)
    result = extract_clip(one, recipe, lambda image: [box])
    assert [crop.frame for crop in result.crops] == [0, 1]
    assert result.misses == ((2, ALONE),)


def test_a_damaged_video_is_the_same_each_time(tmp_path: Path) -> None:
    """FFmpeg's threads filled the gaps of this one with another picture in one of forty times."""
    (tmp_path / "a.mp4").write_bytes(next(f.data for f in corpus() if f.name == "flipped-0.mp4"))
    digests = set()
    for _ in range(150):
        digest = hashlib.sha256()
        for frame in read_frames(tmp_path / "a.mp4", 12):
            assert frame.image is not None
            digest.update(frame.image)
        digests.add(digest.digest())
    assert len(digests) == 1
