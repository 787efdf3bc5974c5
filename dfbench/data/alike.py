"""Clips that look alike: by difference hashes of their crops, or by a network's features.

Differing bits, of 242, as `pytest -s tests/faces/test_hashing.py` prints them: copies of a crop
(JPEG of quality 30, half or twice the size, a third brighter, two fifths darker, blurred) differ by
20 at most. Of 222 official portraits, all of one pose and many from one studio, two people differ
by 39 at least (24,531 pairs); of rendered faces others by 35, and the same person in another scene
by 29. Among the 560 clips of the embedded datasets, whose faces are less unlike than people are, it
is 23 (some 156,000 pairs), and tenfold fewer pairs are within 8 bits less.

In copies of whole portraits the face is found again some pixels aside. Of these `NEAR` finds 75 %
(JPEG), 38 % (half), 82 % (twice), 84 % (brighter), 92 % (darker), 52 % (blurred): enough to notice
that data were copied, not to count each clip. It is strict since one pair marks a result.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Int32

from dfbench.data.nearest import unit
from dfbench.faces.hashing import BITS, BYTES

NEAR = 20  # differing bits of near duplicates, at most
# Cosine of `directions` of clips that are alike to a network, at least. To Meso-4 trained on
# synth_swap (tiny) and to ResNet-18 trained on self-blended portraits, test clips and their nearest
# of the training had 0.80 at most; 95 % of crops as JPEG of quality 30, or halved, had 0.95.
ALIKE = 0.9
AXES = 64  # of features, at most; and half as many as there are clips


def signs(clips: pa.Table) -> Float32[np.ndarray, "clip 242"]:
    """Return the difference hashes of a clip table, each bit as -1 or 1."""
    packed = np.frombuffer(b"".join(clips["phash"].to_pylist()), np.uint8)
    found = np.unpackbits(packed.reshape(-1, BYTES), axis=1)[:, :BITS].astype(np.float32)
    found *= 2  # in place: of 100,000 clips each copy takes 100 MB
    found -= 1
    return found


def differing(product: Float32[np.ndarray, " n"]) -> Float32[np.ndarray, " n"]:
    """Return how many bits two hashes differ by, given the product of their signs."""
    return np.asarray((BITS - product) / 2, np.float32)


def directions(
    features: Float32[np.ndarray, "n f"],
    labels: Int32[np.ndarray, " n"],
    known: Float32[np.ndarray, "known f"],
    known_labels: Int32[np.ndarray, " known"],
) -> Float32[np.ndarray, "n axis"]:
    """Return features as vectors of length 1 whose products tell clips apart.

    What a detector's features say first of all is whether a face is real, and little else changes
    them much: of a bad detector any two faces had a cosine of 0.96. So the mean of a clip's class
    in `known` is taken away, and the main axes of what is left there are scaled to one variance.
    """
    means = np.stack([_mean(known[known_labels == label]) for label in (0, 1)])
    left = known - means[known_labels]
    variance, axes = np.linalg.eigh(left.T @ left / np.float32(len(left)))
    kept = np.flatnonzero(variance > 1e-6 * variance[-1])[-min(AXES, len(known) // 2) :]
    scaled = (features - means[labels]) @ (axes[:, kept] / np.sqrt(variance[kept]))
    return unit(scaled)


def _mean(rows: Float32[np.ndarray, "n f"]) -> Float32[np.ndarray, " f"]:
    mean = rows.mean(axis=0) if len(rows) else np.zeros(rows.shape[1])
    return np.asarray(mean, np.float32)
