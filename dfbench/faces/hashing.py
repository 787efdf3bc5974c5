"""Hashes of a crop: of its bytes, and of what it looks like."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np

from dfbench.faces.images import RGB

SIDE = 16
BITS = SIDE * SIDE  # of a difference hash


def content_hash(data: bytes) -> int:
    """Return the first 64 bits of the SHA-256 of some bytes."""
    return int.from_bytes(hashlib.sha256(data).digest()[:8])


def difference_hash(image: RGB) -> bytes:
    """Return whether each of 16 x 16 fields is brighter than the one left of it: 256 bits.

    It changes little where a picture is scaled, compressed again, or made brighter or darker.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    fields = cv2.resize(grey, (SIDE + 1, SIDE), interpolation=cv2.INTER_AREA)
    return np.packbits(fields[:, 1:] > fields[:, :-1]).tobytes()
