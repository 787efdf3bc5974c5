"""Face detectors find the rendered faces, and reals and fakes have what they should."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from dfbench.faces.clip import Clip
from dfbench.synth.dataset import NAMES

Image = np.ndarray


def frames(clip: Clip, every: int) -> list[Image]:
    with av.open(str(clip.path)) as file:
        return [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)][::every]


def coverage(clips: list[Clip], found: Callable[[Image], bool], every: int) -> float:
    return float(np.mean([found(image) for clip in clips for image in frames(clip, every)]))


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("name", NAMES)
def test_haar_finds_the_faces(name: str, label: int, rendered: dict[str, list[Clip]]) -> None:
    cascade = cv2.CascadeClassifier(
        str(Path(cv2.data.haarcascades) / "haarcascade_frontalface_alt.xml")
    )

    def found(image: Image) -> bool:
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        least = min(gray.shape) // 8
        boxes = cascade.detectMultiScale(
            gray, scaleFactor=1.1, minNeighbors=3, minSize=(least, least)
        )
        return len(boxes) > 0

    clips = [clip for clip in rendered[name] if clip.label == label]
    assert coverage(clips, found, every=4) >= 0.95


@pytest.mark.parametrize("name", NAMES)
def test_mediapipe_finds_the_faces(
    name: str, rendered: dict[str, list[Clip]], shared_dir: Path
) -> None:
    model = shared_dir / "models" / "face_detection_full_range_sparse.tflite"
    if not model.is_file():
        pytest.skip(f"{model.name} is not in {model.parent}")
    import mediapipe as mp
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.FaceDetectorOptions(
        base_options=BaseOptions(model_asset_path=str(model)), min_detection_confidence=0.5
    )
    with vision.FaceDetector.create_from_options(options) as detector:

        def found(image: Image) -> bool:
            picture = mp.Image(image_format=mp.ImageFormat.SRGB, data=np.ascontiguousarray(image))
            return bool(detector.detect(picture).detections)

        for label in (0, 1):
            clips = [clip for clip in rendered[name] if clip.label == label]
            assert coverage(clips, found, every=6) >= 0.95


def test_a_fake_differs_from_its_original_in_the_face_only(
    rendered: dict[str, list[Clip]],
) -> None:
    for clips in rendered.values():
        by_video = {clip.video: clip for clip in clips}
        for fake in [clip for clip in clips if clip.label == 1][:6]:
            ours, theirs = (
                np.mean([f.astype(np.float64) for f in frames(clip, 1)], axis=0)
                for clip in (fake, by_video[fake.original])
            )
            change = np.abs(ours - theirs).mean(axis=-1)
            height, width = change.shape
            border = np.ones_like(change, bool)
            border[: int(0.9 * height), int(0.15 * width) : int(0.85 * width)] = False
            face = change[
                int(0.35 * height) : int(0.65 * height), int(0.4 * width) : int(0.6 * width)
            ]
            assert change[border].mean() < 3.5 < face.mean()
