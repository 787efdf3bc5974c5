"""Face detectors on annotated boxes: `python benchmarks/speed/detectors.py ANNOTATIONS`.

ANNOTATIONS is a folder of Pascal VOC files (HollywoodHeads: `.../Annotations`) or a CSV file with
the header `image,x0,y0,x1,y1`. Prints a table of every detector that is installed, as `dfbench
prepare` uses it: time, recall, precision and average precision. `--found NAME=FILE` adds the boxes
of any other detector, from a CSV file with the header `image,x0,y0,x1,y1,score`.

Faces are no heads: on annotated heads, `--boxes head` compares the square that `data.crop=head`
cuts with a margin of 1. Average precision ends at the least score that a detector reports.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import numpy as np

from dfbench.config import DetectorName
from dfbench.errors import UserError
from dfbench.faces.annotations import COLUMNS, Annotated, read_annotations, read_boxes
from dfbench.faces.average_precision import Boxes, Found, Scores, quality
from dfbench.faces.clip import CropRecipe
from dfbench.faces.crop import recipe_box
from dfbench.faces.detect import load_detector, resolve_detector
from dfbench.faces.face import Detector, Face
from dfbench.faces.images import UnreadableError, read_image
from dfbench.paths import model_files_dir

DETECTORS: tuple[DetectorName, ...] = tuple(n for n in get_args(DetectorName) if n != "none")
HEAD = CropRecipe(crop="head", margin=1.0)


@dataclass
class Measured:
    """What one detector did."""

    name: str
    found: list[Found] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)  # an image; none where they are not known

    def add(self, boxes: Boxes, scores: Scores, image: Annotated) -> None:
        """Add what was found in an image."""
        self.found.append(
            Found(boxes=boxes, scores=scores, truth=image.boxes, difficult=image.difficult)
        )

    def row(self, threshold: float) -> str:
        """Return the row of the table."""
        result = quality(self.found, threshold)
        cells = [
            self.name,
            str(len(self.found)),
            str(result.truths),
            str(result.detections),
            f"{1000 * statistics.median(self.seconds):.1f}" if self.seconds else "-",
            *map(_rate, (result.recall, result.precision, result.average_precision)),
        ]
        return f"| {' | '.join(cells)} |"


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def available(options: argparse.Namespace) -> dict[str, Detector]:
    """Load the detectors; those that nobody named may be missing, which is said."""
    found: dict[str, Detector] = {}
    for name in options.detectors or DETECTORS:
        try:
            choice = resolve_detector(name, options.detector_model, cache_dir=model_files_dir())
            if choice.note:
                raise UserError(choice.note.partition(":")[0])
        except UserError as error:
            if options.detectors:
                raise
            print(f"{name} is left out: {error}", file=sys.stderr)
            continue
        found[name] = load_detector(choice)
    return found


def boxes_of(faces: Sequence[Face], kind: str) -> tuple[Boxes, Scores]:
    """Return the boxes of faces, or of the heads around them, and their scores."""
    boxes = [face.box if kind == "face" else recipe_box(face.box, HEAD) for face in faces]
    return np.array(boxes, float).reshape(-1, 4), np.array([face.score for face in faces], float)


def measure(
    images: Sequence[Annotated], detectors: dict[str, Detector], kind: str
) -> list[Measured]:
    """Let all detectors see each image, one after the other; the first one twice, to warm up."""
    measured = {name: Measured(name) for name in detectors}
    for number, image in enumerate(images):
        try:
            pixels = read_image(image.image)
        except UnreadableError as error:
            raise UserError(f"{image.image}: {error}") from error
        for name, detect in detectors.items():
            if not number:
                detect(pixels)
            start = time.perf_counter()
            faces = detect(pixels)
            measured[name].seconds.append(time.perf_counter() - start)
            measured[name].add(*boxes_of(faces, kind), image)
    return list(measured.values())


def given(text: str, images: Sequence[Annotated]) -> Measured:
    """Read what another detector found: NAME=FILE.

    Raises:
      UserError: no such file, or no image of the annotations in it.
    """
    name, _, file = text.rpartition("=")
    path = Path(file)
    if not name or not path.is_file():
        raise UserError(f"--found {text}: expected NAME=FILE, a CSV file that is there")
    rows = read_boxes(path, (*COLUMNS, "score"))
    if not any(image.name in rows for image in images):
        raise UserError(f"{path}: no image is called as in the annotations: {images[0].name}, ..")
    measured = Measured(name)
    for image in images:
        measured.add(*rows.get(image.name, (np.zeros((0, 4)), np.zeros(0))), image)
    return measured


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("annotations", type=Path, help="folder of VOC files, or a CSV file")
    parser.add_argument("--images", type=Path, metavar="DIR", help="folder of the images")
    parser.add_argument(
        "--only",
        type=Path,
        metavar="FILE",
        help="names of the images to take, one a line: HollywoodHeads' Splits/test.txt",
    )
    parser.add_argument("--detectors", nargs="+", choices=DETECTORS, help="else all there are")
    parser.add_argument("--detector-model", type=Path, help="as of dfbench prepare")
    parser.add_argument(
        "--found", action="append", default=[], metavar="NAME=FILE", help="of another detector"
    )
    parser.add_argument("--boxes", choices=("face", "head"), default="face")
    parser.add_argument("--iou", type=float, default=0.5, help="least overlap of a hit")
    options = parser.parse_args(arguments)
    if not 0 < options.iou <= 1:
        parser.error("--iou: above 0, and 1 at most")
    return options


def main() -> int:
    """Measure and print the table."""
    options = _options(sys.argv[1:])
    try:
        names = options.only.read_text(encoding="utf-8").split() if options.only else []
        images = read_annotations(options.annotations, options.images, set(names))
        others = [given(text, images) for text in options.found]
        measured = [*measure(images, available(options), options.boxes), *others]
    except (UserError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{options.annotations.name}: hits overlap by {options.iou:g} of the union at least\n")
    print("| detector | images | boxes | found | ms an image | recall | precision | AP |")
    print("|---|---|---|---|---|---|---|---|")
    for one in measured:
        print(one.row(options.iou))
    return 0


if __name__ == "__main__":
    sys.exit(main())
