"""How far apart difference hashes are, of copies and of others: what `NEAR` stands on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.raw import TARGETS, Pool

from dfbench.data.alike import NEAR
from dfbench.faces.clip import CropRecipe
from dfbench.faces.crop import cut, recipe_box, resize
from dfbench.faces.detect import load_detector, resolve_detector
from dfbench.faces.hashing import BITS, content_hash, difference_hash
from dfbench.faces.images import RGB, read_image


def jpeg(image: RGB, quality: int) -> RGB:
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def scaled(image: RGB, factor: float) -> RGB:
    side = round(image.shape[0] * factor)
    return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


COPIES: dict[str, Callable[[RGB], RGB]] = {
    "JPEG of quality 30": lambda image: jpeg(image, 30),
    "half the size": lambda image: scaled(image, 0.5),
    "a quarter of the size, JPEG of quality 50": lambda image: jpeg(scaled(image, 0.25), 50),
    "twice the size": lambda image: scaled(image, 2),
    "brighter": lambda image: np.clip(image * 1.3 + 10.0, 0, 255).astype(np.uint8),
    "darker": lambda image: (image * 0.6).astype(np.uint8),
    "blurred": lambda image: np.asarray(cv2.GaussianBlur(image, (0, 0), 2), np.uint8),
}


def bits(one: RGB, other: RGB) -> int:
    pair = np.frombuffer(difference_hash(one) + difference_hash(other), np.uint8).reshape(2, -1)
    return int(np.unpackbits(pair[0] ^ pair[1]).sum())


def between(crops: list[RGB]) -> list[int]:
    return [bits(a, b) for k, a in enumerate(crops) for b in crops[:k]]
