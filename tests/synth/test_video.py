from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from dfbench.synth import video
from dfbench.synth.video import AVX512, Encoding, h264, mpeg4, write_video

NOISE = np.random.default_rng(0).integers(0, 256, (8, 240, 320, 3), np.uint8)


@pytest.mark.parametrize("encoding", [h264(23), mpeg4(3)], ids=["h264", "mpeg4"])
def test_equal_frames_give_equal_bytes(encoding: Encoding, tmp_path: Path) -> None:
    """Whatever was in the memory before."""
    smooth = [cv2.GaussianBlur(frame, (0, 0), 3.0) for frame in NOISE]
    found = set()
    for number in range(12):
        memory = np.full((number + 1) * 1_000_003, number, np.uint8)  # freed before the next one
        write_video(tmp_path / "clip.mp4", smooth, encoding)
        found.add((tmp_path / "clip.mp4").read_bytes())
        del memory
    assert len(found) == 1


@pytest.mark.parametrize("there", [True, False])
def test_x264_leaves_avx512_alone(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    assert cv2.getHardwareFeatureName(AVX512) == "AVX512-SKX"
    monkeypatch.setattr(video.cv2, "checkHardwareSupport", lambda feature: there)
    assert (dict(h264(20).options).get("x264-params") == "asm=avx2") == there
