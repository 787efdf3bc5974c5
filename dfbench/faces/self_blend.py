"""Self-blended images: a fake made from one real face (Shiohara & Yamasaki, CVPR 2022).

A face is blended into itself after one of the two copies had its colours or its sharpness changed
and the pasted copy was moved and scaled a little. What is left are the traces that face swaps have
in common: a blend seam, and a face that fits its surroundings badly.
"""

from __future__ import annotations

import cv2
import jaxtyping as jt
import numpy as np

from dfbench.faces.face import Face
from dfbench.faces.images import RGB

GREY_TOLERANCE = 8  # largest difference of the channels; JPEG leaves a little

Mask = jt.Float32[np.ndarray, "height width"]


def self_blend(image: RGB, face: Face, rng: np.random.Generator) -> RGB:
    """Return `image` with the face of `face` blended into itself.

    Args:
      image: a frame or a crop.
      face: in the coordinates of `image`; its keypoints turn and centre the mask where it has some.
      rng: decides everything random.
    """
    mask = _mask(image.shape[0], image.shape[1], face, rng)
    altered = _alter(image, _side(face), rng)
    # Which copy is altered is random, so that neither inside nor outside is always the odd one.
    source, target = (altered, image) if rng.random() < 0.5 else (image, altered)
    source, mask = _move(source, mask, face, rng)
    mask = _soften(mask, face, rng) * rng.choice([0.25, 0.5, 0.75, 1.0, 1.0, 1.0])
    weight = mask.astype(np.float32)[:, :, None]
    mixed = weight * source.astype(np.float32) + (1 - weight) * target.astype(np.float32)
    return np.asarray(np.clip(np.rint(mixed), 0, 255), np.uint8)


def _side(face: Face) -> float:
    x0, y0, x1, y1 = face.box
    return max(x1 - x0, y1 - y0)


def _mask(height: int, width: int, face: Face, rng: np.random.Generator) -> Mask:
    """Fill the convex hull of a face outline whose points are jittered."""
    x0, y0, x1, y1 = face.box
    centre = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
    turn = 0.0
    if len(face.keypoints) >= 4:
        points = np.array(face.keypoints[:4])
        eyes = points[:2].mean(axis=0)
        centre = (centre + (eyes + points[3]) / 2) / 2  # between the eyes and the mouth
        across = points[1] - points[0]
        turn = float(np.arctan2(across[1], across[0]))
    radii = _side(face) * np.array([rng.uniform(0.34, 0.44), rng.uniform(0.42, 0.52)])
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    spread = 1 + rng.normal(0, 0.07, 16)
    # Some masks cover only the lower or the upper part of the face, as landmark hulls do.
    cap = rng.choice([1.0, 1.0, 0.55])
    upper = np.where(np.sin(angles) < 0, cap, 1.0)
    outline = np.stack(
        [radii[0] * np.cos(angles) * spread, radii[1] * np.sin(angles) * spread * upper], axis=1
    )
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    hull = cv2.convexHull((outline @ rotation.T + centre).astype(np.float32))
    mask = np.zeros((height, width), np.float32)
    cv2.fillConvexPoly(mask, np.rint(hull).astype(np.int32), 1.0)
    return mask


def _soften(mask: Mask, face: Face, rng: np.random.Generator) -> Mask:
    sigma = _side(face) * rng.uniform(0.01, 0.06)
    soft = np.asarray(cv2.GaussianBlur(mask, (0, 0), sigma), np.float32)
    # Keep the seam inside the hull: the background must stay what it was.
    return np.clip(2 * soft - 1, 0, 1) if rng.random() < 0.5 else soft


def _move(source: RGB, mask: Mask, face: Face, rng: np.random.Generator) -> tuple[RGB, Mask]:
    """Shift and scale the pasted copy with its mask by a few hundredths of the face."""
    x0, y0, x1, y1 = face.box
    scale = rng.uniform(0.95, 1.05)
    shift = rng.uniform(-0.03, 0.03, 2) * _side(face)
    centre = ((x0 + x1) / 2, (y0 + y1) / 2)
    matrix = cv2.getRotationMatrix2D(centre, 0, scale)
    matrix[:, 2] += shift
    size = (source.shape[1], source.shape[0])
    moved = cv2.warpAffine(
        source, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(moved, np.uint8), np.asarray(
        cv2.warpAffine(mask, matrix, size, flags=cv2.INTER_LINEAR), np.float32
    )


def _alter(image: RGB, side: float, rng: np.random.Generator) -> RGB:
    """Change colour, then frequency content. A grey image stays grey."""
    altered = _change_frequencies(_change_colour(image, rng), side, rng)
    if np.ptp(image.astype(np.int16), axis=2).max() > GREY_TOLERANCE:
        return altered
    grey = cv2.cvtColor(altered, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8)


def _change_colour(image: RGB, rng: np.random.Generator) -> RGB:
    shifted = image.astype(np.float32) + rng.uniform(-20, 20, 3).astype(np.float32)
    contrast = np.float32(rng.uniform(0.9, 1.1))
    shifted = (shifted - 128) * contrast + 128 + np.float32(rng.uniform(-12, 12))
    hsv = cv2.cvtColor(np.clip(shifted, 0, 255).astype(np.uint8), cv2.COLOR_RGB2HSV)
    hsv = hsv.astype(np.float32)
    hsv[:, :, 0] = (hsv[:, :, 0] + rng.uniform(-4, 4)) % 180
    hsv[:, :, 1] *= rng.uniform(0.8, 1.2)
    hsv[:, :, 2] *= rng.uniform(0.9, 1.1)
    hsv[:, :, 1:] = np.clip(hsv[:, :, 1:], 0, 255)
    return np.asarray(cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB), np.uint8)


def _change_frequencies(image: RGB, side: float, rng: np.random.Generator) -> RGB:
    height, width = image.shape[:2]
    if rng.random() < 0.5:
        # The face keeps some 56 px, or a small one would be nothing but a blur.
        factor = rng.uniform(1.2, float(np.clip(side / 56, 1.4, 4.0)))
        small = cv2.resize(
            image,
            (max(1, round(width / factor)), max(1, round(height / factor))),
            interpolation=cv2.INTER_AREA,
        )
        return np.asarray(
            cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8
        )
    blurred = cv2.GaussianBlur(image, (0, 0), 1.5)
    amount = rng.uniform(0.3, 0.8)
    return np.asarray(cv2.addWeighted(image, 1 + amount, blurred, -amount, 0), np.uint8)
