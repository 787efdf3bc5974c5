"""How far apart difference hashes are, of copies and of others: what `NEAR` stands on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest

from dfbench.data.alike import NEAR
from dfbench.faces.clip import CropRecipe
from dfbench.faces.crop import cut, recipe_box, resize
from dfbench.faces.detect import load_detector, resolve_detector
from dfbench.faces.face import Detector
from dfbench.faces.hashing import BITS, BYTES, content_hash, difference_hash
from dfbench.faces.images import RGB, read_image
from dfbench.synth.dataset import FRAMES
from dfbench.synth.face import build_head
from dfbench.synth.identity import make_identity
from dfbench.synth.scene import make_scene, render_moment

PEOPLE, SCENES = 8, 3


def jpeg(image: RGB, quality: int) -> RGB:
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def scaled(image: RGB, factor: float) -> RGB:
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=how), np.uint8)


COPIES: dict[str, Callable[[RGB], RGB]] = {
    "JPEG 30": lambda image: jpeg(image, 30),
    "half": lambda image: scaled(image, 0.5),
    "double": lambda image: scaled(image, 2),
    "brighter": lambda image: np.clip(image * 1.3 + 10.0, 0, 255).astype(np.uint8),
    "darker": lambda image: (image * 0.6).astype(np.uint8),
    "blurred": lambda image: np.asarray(cv2.GaussianBlur(image, (0, 0), 2), np.uint8),
}


def apart(one: RGB, other: RGB) -> int:
    return differing(difference_hash(one), difference_hash(other))


def differing(one: bytes, other: bytes) -> int:
    return (int.from_bytes(one) ^ int.from_bytes(other)).bit_count()


def face_of(image: RGB, detect: Detector) -> RGB | None:
    face = max(detect(image), key=lambda face: face.area, default=None)
    if face is None:
        return None
    recipe = CropRecipe()
    return resize(cut(image, recipe_box(face.box, recipe)), recipe.size)


def farthest(crops: Sequence[RGB]) -> dict[str, int]:
    return {name: max(apart(copy(c), c) for c in crops) for name, copy in COPIES.items()}


def test_rendered_people(tmp_path: Path) -> None:
    """Copies of a crop are near; the same person in another scene is not, nor are others."""
    detect = load_detector(resolve_detector("haar", None, cache_dir=tmp_path))
    crops: dict[tuple[int, int], RGB] = {}
    for person in range(PEOPLE):
        head = build_head(make_identity(0, 0, person))
        for number in range(SCENES):
            scene = make_scene(np.random.default_rng([person, number]), FRAMES)
            linear, _ = render_moment(scene, head, scene.moments[FRAMES // 2])
            frame = np.rint(255 * np.sqrt(np.clip(linear, 0, 1))).astype(np.uint8)
            if (crop := face_of(frame, detect)) is not None:
                crops[person, number] = crop
    assert len(crops) > 0.9 * PEOPLE * SCENES
    copies = farthest(list(crops.values()))
    hashes = {place: difference_hash(crop) for place, crop in crops.items()}
    pairs = [(a[0] == b[0], differing(hashes[a], hashes[b])) for a, b in combinations(crops, 2)]
    same, other = (min(bits for person, bits in pairs if person == k) for k in (True, False))
    print(f"\nof {BITS} bits: copies {copies}, same person {same}, others {other}")
    assert max(copies.values()) <= NEAR < min(same, other)


def portraits(shared_dir: Path) -> list[RGB]:
    folders = [shared_dir / f"data/portraits_{kind}" for kind in ("color", "gray")]
    return [read_image(file) for folder in folders for file in sorted(folder.iterdir())]


def full_range(shared_dir: Path, tmp_path: Path) -> Detector:
    choice = resolve_detector("mediapipe_full", shared_dir / "models", cache_dir=tmp_path)
    return load_detector(choice)


def test_portraits(shared_dir: Path, tmp_path: Path) -> None:
    """The hardest case for telling people apart: official portraits, all in one pose."""
    detect = full_range(shared_dir, tmp_path)
    faces = [face_of(image, detect) for image in portraits(shared_dir)]
    crops = [face for face in faces if face is not None]
    assert len(crops) == len(faces) == 222
    copies = farthest(crops)
    other = min(differing(a, b) for a, b in combinations(map(difference_hash, crops), 2))
    print(f"\nof {BITS} bits: copies {copies}, others {other}")
    assert max(copies.values()) <= NEAR < other


@pytest.mark.slow
def test_copies_of_whole_portraits(shared_dir: Path, tmp_path: Path) -> None:
    """The hardest case for finding copies: the face is found again, some pixels aside."""
    detect = full_range(shared_dir, tmp_path)
    found = dict.fromkeys(COPIES, 0.0)
    images = portraits(shared_dir)
    for image in images:
        crop = face_of(image, detect)
        assert crop is not None
        for name, copy in COPIES.items():
            again = face_of(copy(image), detect)
            found[name] += (again is not None and apart(again, crop) <= NEAR) / len(images)
    print({name: round(share, 2) for name, share in found.items()})
    assert min(found.values()) >= 0.35
    assert sum(found.values()) >= 0.65 * len(found)


@pytest.mark.parametrize("side", [1, 8, 32, 299])
def test_a_crop_of_any_size_has_a_hash(side: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    assert len(difference_hash(image)) == BYTES
    assert apart(image, image) == 0
    assert difference_hash(np.zeros_like(image)) == bytes(BYTES)


def test_the_content_hash_is_sha256() -> None:
    assert content_hash(b"abc") == 0xBA7816BF8F01CFEA  # FIPS 180-2
