"""One clip to face crops: frames, faces, the square around each, with a reason a miss."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

from dfbench.errors import UserError
from dfbench.faces.clip import Clip, ClipResult, Crop, CropRecipe
from dfbench.faces.crop import (
    Affine,
    Box,
    cut,
    encode,
    inner_square,
    middle,
    recipe_box,
    resize,
    turned,
)
from dfbench.faces.detect import has_eyes
from dfbench.faces.face import Detector, Face
from dfbench.faces.hashing import content_hash, difference_hash
from dfbench.faces.images import RGB, UnreadableError, is_image, no_memory, read_image, reason
from dfbench.faces.self_blend import self_blend
from dfbench.faces.video import Frame, read_frames

NO_FACE = "no face found"
UNDECODABLE = "cannot decode"
ALONE = "no other frame beside it"
TOO_MUCH = "it takes more memory than one clip may"
# What the system says of a disk or of the machine, and not of one file.
_NOT_THE_FILE = frozenset(
    number
    for name in ("EIO", "ESTALE", "ENODEV", "ENXIO", "ENOTCONN", "EHOSTDOWN", "EREMOTEIO", "ENFILE")
    if (number := getattr(errno, name, None))
)
NEAR_S = 0.5  # how far a frame of the original may be for its box to be used


def extract_clip(
    clip: Clip, recipe: CropRecipe, detector: Detector, *, original: ClipResult | None = None
) -> ClipResult:
    """Find and crop the faces of one clip; a file that cannot be read gives a reason instead.

    With `original`, frames are cut where those of that clip were, if they are of the same size.
    Where the recipe wants the frame before, what is done to a frame is done to both.

    Raises:
      OSError: the folder of the file is gone, or its disk fails: no fault of one file.
    """
    wanted = 1
    if not is_image(clip.path):
        wanted = recipe.frames * (recipe.real_oversample if not clip.label else 1)
    try:
        return _extract(clip, wanted, recipe, detector, original)
    except UnreadableError as error:
        why = str(error)
    except OSError as error:
        _require_disk(clip.path, error)
        why = reason(error)
    except (MemoryError, cv2.error) as error:
        if not no_memory(error):
            raise
        why = TOO_MUCH
    return ClipResult(video=clip.video, wanted=wanted, crops=(), reason=why)


def _require_disk(path: Path, error: OSError) -> None:
    """Raise what the system says where it is not about this file alone."""
    if error.errno in _NOT_THE_FILE:
        error.filename = str(path)
        raise error
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "this folder is gone", str(path.parent)) from error


def _extract(
    clip: Clip,
    wanted: int,
    recipe: CropRecipe,
    detector: Detector,
    original: ClipResult | None,
) -> ClipResult:
    frames = (
        [Frame(0, 0.0, read_image(clip.path))]
        if is_image(clip.path)
        else read_frames(clip.path, wanted, recipe.policy, before=recipe.before)
    )
    crops: list[Crop] = []
    misses: list[tuple[int, str]] = []
    for frame in frames:
        found, miss = _found(frame, clip, recipe, detector, original)
        if not found:
            misses.append((frame.index, miss))
        crops += [_stored(images, box, score, frame, recipe) for images, box, score in found]
    why = {miss for _, miss in misses}
    common = why.pop() if len(why) == 1 else NO_FACE
    return ClipResult(
        video=clip.video,
        wanted=len(frames),
        crops=tuple(crops),
        misses=tuple(misses),
        reason="" if crops else f"{common} in {len(frames)} frame{'s' if len(frames) > 1 else ''}",
        frame_shape=next((f.image.shape[:2] for f in frames if f.image is not None), (0, 0)),
    )


Cut = tuple[list[RGB], Box, float]  # of the frame and of the one before; square; score


def _found(
    frame: Frame,
    clip: Clip,
    recipe: CropRecipe,
    detector: Detector,
    original: ClipResult | None,
) -> tuple[list[Cut], str]:
    """Return the faces of a frame, or why there is none."""
    if frame.image is None:
        return [], UNDECODABLE
    # Some streams change the size of their frames: then there is no same place.
    other = frame.before
    if recipe.before and (other is None or other.shape != frame.image.shape):
        return [], ALONE
    pair = (frame.image,) if other is None else (frame.image, other)
    same = _same_place(original, frame)
    if same:
        return [([cut(image, same.box) for image in pair], same.box, same.score)], ""
    try:
        faces = detector(frame.image)
    except Exception as error:  # whatever it stumbles over, in a frame of a stranger
        if no_memory(error):
            raise
        return [], f"the detector failed: {reason(error)}"
    inside = [
        face
        for face in faces
        if all(_is_inside(box, frame.image) for box in (face.box, recipe_box(face.box, recipe)))
    ]
    found = [_cut_face(pair, face, clip, recipe, frame.index) for face in _chosen(inside, clip)]
    return found, NO_FACE


def _is_inside(box: Box, image: RGB) -> bool:
    """Tell whether a box has a pixel of the frame: detectors pad what is far from square."""
    x0, y0, x1, y1 = box
    height, width = image.shape[:2]
    return bool(min(x1, width) - max(x0, 0) >= 1 and min(y1, height) - max(y0, 0) >= 1)


def _chosen(faces: Sequence[Face], clip: Clip) -> Sequence[Face]:
    return faces if clip.every_face else sorted(faces, key=lambda f: -f.area)[:1]


def _cut_face(pair: Sequence[RGB], face: Face, clip: Clip, recipe: CropRecipe, frame: int) -> Cut:
    """Cut a face out of a frame and the one before; also return the square and the score."""
    images, box, into = _crop(pair, face, recipe)
    if clip.self_blend:
        images = [_blended(image, face, into, clip, frame) for image in images]
    return images, box, face.score


def _stored(
    images: Sequence[RGB], box: Box, score: float, frame: Frame, recipe: CropRecipe
) -> Crop:
    pixels, *before = (resize(image, recipe.size) for image in images)
    encoded = encode(pixels, recipe)
    return Crop(
        frame=frame.index,
        time_s=frame.time_s,
        box=box,
        score=score,
        image=encoded,
        content=content_hash(encoded),
        phash=difference_hash(pixels),
        before=encode(before[0], recipe) if before else b"",
    )


def _same_place(original: ClipResult | None, frame: Frame) -> Crop | None:
    """Return the crop of the original that is nearest in time, if there is one near enough."""
    if original is None or frame.image is None or original.frame_shape != frame.image.shape[:2]:
        return None
    crop = min(original.crops, key=lambda crop: abs(crop.time_s - frame.time_s), default=None)
    return crop if crop and abs(crop.time_s - frame.time_s) <= NEAR_S else None


def check_recipe(recipe: CropRecipe) -> None:
    """Raise UserError where the recipe contradicts itself, or asks for more than is found."""
    if recipe.align and recipe.boxes == "original":
        raise UserError(
            "data.align and data.boxes=original exclude each other: a turned crop is of one frame"
        )
    if recipe.align and not has_eyes(recipe.detector):
        raise UserError(
            f"data.align needs a detector that finds eyes, and {recipe.detector} does not"
        )


def _crop(images: Sequence[RGB], face: Face, recipe: CropRecipe) -> tuple[list[RGB], Box, Affine]:
    """Cut the face out of frames, at one place.

    Also return the square in the frame and the map of points into the crop.
    """
    if recipe.detector == "none":
        box = inner_square(*images[0].shape[:2])
    else:
        box = recipe_box(face.box, recipe)
    if recipe.align:
        right, left, *_ = face.keypoints  # of the person: the right one is left in the frame
        squares = [turned(image, box, middle(face.box), (right, left)) for image in images]
        return [square for square, _ in squares], box, squares[0][1]
    into = np.array([[1.0, 0.0, -round(box[0])], [0.0, 1.0, -round(box[1])]])
    return [cut(image, box) for image in images], box, into


def _blended(image: RGB, face: Face, into: Affine, clip: Clip, frame: int) -> RGB:
    """Blend in the crop, before it is scaled; the result depends on the clip's name and frame."""

    def moved(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
        return [(float(x), float(y)) for x, y in (into @ (*point, 1.0) for point in points)]

    # A turned box would be another one; its centre turns, and its size is that of the face.
    ((x, y),) = moved([middle(face.box)])
    width, height = face.box[2] - face.box[0], face.box[3] - face.box[1]
    box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    local = Face(box, face.score, tuple(moved(face.keypoints)))
    digest = hashlib.sha256(f"{clip.video}#{frame}".encode()).digest()
    return self_blend(image, local, np.random.default_rng(list(digest)))
