"""A crop as one vector by its Harris corners: where they are, and what they look like.

Harris & Stephens, A combined corner and edge detector (Alvey Vision Conference 1988). Govi, Poppi &
Marinelli (2022) find similar pictures by it: in grey, scaled to one size, compared by cosine. The
response is a map that is nearly empty, of corners a pixel or two wide, so that compared point by
point a copy that was cut out a few pixels aside has little in common with its original. The vector
here has two parts:

- the map: the root of the response where it is a corner's, blurred and averaged in 16 x 16 fields;
- the looks: the mean of the SIFT descriptors (Lowe 2004) at the strongest corners, each in its
  Hellinger form (Arandjelović & Zisserman 2012), upright and of one size.

What the first loses when a crop is cut elsewhere, turned or scaled, the second keeps; what the
second loses when a picture is blurred, the first keeps.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float32

from dfbench.faces.images import RGB

SIDE = 256  # px, of the picture that corners are looked for in
FIELDS = 16  # of the map, in each direction
BLOCK, APERTURE, K = 5, 3, 0.04  # of Harris: window and Sobel kernel, px; and its constant
CORNERS = 150  # described, at most
APART = 4  # px, at least, between two of these
WEAKEST = 0.005  # response of these over the strongest one's
PATCH = 24.0  # px, of a corner, as SIFT counts a keypoint's size
LOOKS = 3.0  # length of that part; the map's is 1
LENGTH = FIELDS**2 + 128
RECIPE = {  # all that decides a vector
    "version": 1,
    "opencv": cv2.__version__,
    "harris": [SIDE, FIELDS, BLOCK, APERTURE, K, CORNERS, APART, WEAKEST, PATCH, LOOKS],
}


def corner_vector(image: RGB) -> Float32[np.ndarray, " 384"]:
    """Return the vector of a crop; zeros of one without any corner."""
    grey = cv2.cvtColor(np.ascontiguousarray(image[..., :3]), cv2.COLOR_RGB2GRAY)
    how = cv2.INTER_AREA if min(grey.shape) > SIDE else cv2.INTER_LINEAR
    grey = cv2.resize(grey, (SIDE, SIDE), interpolation=how)
    return np.concatenate([_unit(_map(grey)), np.float32(LOOKS) * _unit(_looks(grey))])


def _map(grey: np.ndarray) -> np.ndarray:
    response = cv2.cornerHarris(grey.astype(np.float32) / 255, BLOCK, APERTURE, K)
    corners = np.sqrt(np.maximum(response, 0))
    field = SIDE / FIELDS
    blurred = cv2.GaussianBlur(corners, (0, 0), field / 2)
    return np.asarray(cv2.resize(blurred, (FIELDS, FIELDS), interpolation=cv2.INTER_AREA)).ravel()


def _looks(grey: np.ndarray) -> np.ndarray:
    points = cv2.goodFeaturesToTrack(
        grey, CORNERS, WEAKEST, APART, blockSize=BLOCK, useHarrisDetector=True, k=K
    )
    if points is None:
        return np.zeros(128, np.float32)
    keypoints = [cv2.KeyPoint(float(x), float(y), PATCH, 0.0) for x, y in points[:, 0]]
    _, found = cv2.SIFT.create().compute(grey, keypoints)
    sums = found.sum(axis=1, keepdims=True)
    return np.asarray(np.sqrt(found / np.maximum(sums, 1e-9)).mean(axis=0))


def _unit(values: np.ndarray) -> Float32[np.ndarray, " n"]:
    length = float(np.linalg.norm(values))
    return np.asarray(values / length if length else values, np.float32)
