"""How often is the original of a changed portrait the first that Harris features find?

    python benchmarks/retrieval.py --faces FOLDER

Every picture of FOLDER is changed in each of six ways and looked for among all of them. Prints the
table of docs/similar.md: the whole response of the detector, as Govi et al. (2022) compare it, the
two parts of `dfbench.faces.harris.corner_vector`, and both.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float

from dfbench.faces.crop import cut, inner_square, resize
from dfbench.faces.harris import FIELDS, corner_vector
from dfbench.faces.images import RGB, read_image

SIDE = 256  # px, of a portrait
RESPONSE = 299  # px, of the picture whose response the report compares

Vector = Float[np.ndarray, " n"]


def moved(image: RGB, by: float) -> RGB:
    """Move by some px, 3 % larger."""
    return warped(image, np.array([[1.03, 0, by], [0, 1.03, by]]))


def warped(image: RGB, into: Float[np.ndarray, "2 3"]) -> RGB:
    """Warp; what was not in the picture repeats its border."""
    size, border = (SIDE, SIDE), cv2.BORDER_REPLICATE
    return np.asarray(cv2.warpAffine(image, into, size, borderMode=border), np.uint8)


CHANGES: dict[str, Callable[[RGB], RGB]] = {
    "half the size": lambda image: resize(resize(image, SIDE // 2), SIDE),
    "blurred, 1.5 px": lambda image: np.asarray(cv2.GaussianBlur(image, (0, 0), 1.5), np.uint8),
    "blurred, 3 px": lambda image: np.asarray(cv2.GaussianBlur(image, (0, 0), 3), np.uint8),
    "moved by 4 px, 3 % larger": lambda image: moved(image, 4),
    "moved by 14 px, 3 % larger": lambda image: moved(image, -14),
    "turned by 5 degrees": lambda image: warped(
        image, cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), 5, 1)
    ),
}


def response(image: RGB) -> Vector:
    """Return the whole response, as the report has it."""
    grey = cv2.cvtColor(resize(image, RESPONSE), cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.cornerHarris(grey.astype(np.float32), 2, 3, 0.04)).ravel()


VECTORS: dict[str, Callable[[RGB], Vector]] = {
    "whole response": response,
    "fields": lambda image: corner_vector(image)[: FIELDS**2],
    "descriptors": lambda image: corner_vector(image)[FIELDS**2 :],
    "both": corner_vector,
}


def first_found(
    images: list[RGB], change: Callable[[RGB], RGB], vector: Callable[[RGB], Vector]
) -> float:
    """Return the share of changed pictures whose original is the most similar by cosine."""
    pool, asked = ([vector(one) for one in some] for some in (images, map(change, images)))
    units = [np.stack([v / np.linalg.norm(v) for v in vectors]) for vectors in (pool, asked)]
    return float(np.mean((units[1] @ units[0].T).argmax(axis=1) == np.arange(len(images))))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", type=Path, required=True, metavar="FOLDER")
    faces = sorted(path for path in parser.parse_args().faces.iterdir() if path.is_file())
    images = []
    for path in faces:
        image = read_image(path)
        images.append(resize(cut(image, inner_square(*image.shape[:2])), SIDE))
    print(f"{len(images)} pictures, OpenCV {cv2.__version__}\n")
    print(f"| | {' | '.join(VECTORS)} |\n|---|{'---|' * len(VECTORS)}")
    for name, change in CHANGES.items():
        shares = [f"{first_found(images, change, vector):.2f}" for vector in VECTORS.values()]
        print(f"| {name} | {' | '.join(shares)} |", flush=True)


if __name__ == "__main__":
    main()
