from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.media import write_video

from dfbench.faces import video
from dfbench.faces.images import UnreadableError
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
