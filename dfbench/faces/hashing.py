"""Hashes of a crop: of its bytes, and of what it looks like."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np

from dfbench.faces.images import RGB

SIDE = 11
BITS = 2 * SIDE * SIDE  # of a difference hash
BYTES = -(-BITS // 8)


def content_hash(data: bytes) -> int:
    """Return the first 64 bits of the SHA-256 of some bytes."""
    return int.from_bytes(hashlib.sha256(data).digest()[:8])


def difference_hash(image: RGB) -> bytes:
    """Return whether 11 x 11 fields are brighter than those left of and above them: 242 bits.

    They change little where a picture is scaled, compressed again, or made brighter or darker.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    wide, high = (
        cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        for size in ((SIDE + 1, SIDE), (SIDE, SIDE + 1))
    )
    bits = np.concatenate([(wide[:, 1:] > wide[:, :-1]).ravel(), (high[1:] > high[:-1]).ravel()])
    return np.packbits(bits).tobytes()
