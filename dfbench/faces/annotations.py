"""Annotated boxes of faces or heads: Pascal VOC folders and a simple CSV."""

from __future__ import annotations

import csv
import xml.etree.ElementTree as ElementTree
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dfbench.errors import UserError
from dfbench.faces.average_precision import Boxes, Flags, Scores
from dfbench.faces.images import IMAGE_SUFFIXES
from dfbench.storage.listing import is_safe

COLUMNS = ("image", "x0", "y0", "x1", "y1")
VOC_IMAGES = "JPEGImages"


@dataclass(frozen=True, kw_only=True)
class Annotated:
    """The boxes of one image."""

    image: Path
    name: str  # as in the annotations
    boxes: Boxes
    difficult: Flags


def read_annotations(
    path: Path, images: Path | None = None, names: Collection[str] = ()
) -> list[Annotated]:
    """Read a VOC folder of XML files, or a CSV file, sorted by image name.

    Args:
      path: the folder or file.
      images: folder of the images; else, of VOC, the folder `JPEGImages` beside it or the folder
        itself, and of a CSV its own folder.
      names: image names without suffix; others are left out. Empty: all.

    Raises:
      UserError: nothing to read, a file that is malformed, or an image that is not there.
    """
    if path.is_dir():
        beside = path.parent / VOC_IMAGES
        found = _read_voc(path, images or (beside if beside.is_dir() else path), names)
    elif path.is_file():
        found = _read_csv(path, images or path.parent, names)
    else:
        raise UserError(f"{path}: no such folder of VOC annotations or CSV file")
    if not found:
        raise UserError(f"{path}: no annotated image{' of the list' if names else ''}")
    return found


def _read_voc(folder: Path, images: Path, names: Collection[str]) -> list[Annotated]:
    files = sorted(folder.glob("*.xml"))
    if not files:
        raise UserError(f"{folder}: no annotation of Pascal VOC (*.xml) in this folder")
    return [_read_xml(file, images) for file in files if not names or file.stem in names]


class _Plain(ElementTree.TreeBuilder):
    """Refuses what may define texts by others, which a few lines make gigabytes of."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError("a document type definition, which annotations do not have")


def _read_xml(file: Path, images: Path) -> Annotated:
    try:
        root = ElementTree.parse(file, ElementTree.XMLParser(target=_Plain())).getroot()
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # or an unknown encoding
        raise UserError(f"{file}: not XML: {error}") from error
    except OSError as error:
        raise UserError(f"{file}: {error.strerror or error}") from error
    name = (root.findtext("filename") or "").strip() or file.stem
    boxes, difficult = [], []
    for thing in root.iter("object"):
        corners = thing.find("bndbox")
        if corners is None:  # HollywoodHeads has such objects where a frame shows nobody
            continue
        values = [corners.findtext(tag, "") for tag in ("xmin", "ymin", "xmax", "ymax")]
        x0, y0, x1, y1 = _numbers(values, str(file))
        # VOC counts pixels from 1 and names the last one; ours are edges, from 0.
        boxes.append(_checked((x0 - 1, y0 - 1, x1, y1), str(file)))
        difficult.append(thing.findtext("difficult", "0").strip() == "1")
    return Annotated(
        image=_image(images, name, str(file)),
        name=name,
        boxes=np.array(boxes, float).reshape(-1, 4),
        difficult=np.array(difficult, bool),
    )


def _read_csv(file: Path, images: Path, names: Collection[str]) -> list[Annotated]:
    rows = {
        name: boxes
        for name, boxes in read_boxes(file, COLUMNS).items()
        if not names or Path(name).stem in names
    }
    return [
        Annotated(
            image=_image(images, name, str(file)),
            name=name,
            boxes=boxes,
            difficult=np.zeros(len(boxes), bool),
        )
        for name, (boxes, _) in sorted(rows.items())
    ]


def read_boxes(file: Path, columns: tuple[str, ...]) -> dict[str, tuple[Boxes, Scores]]:
    """Read boxes of images from a CSV file with a header: `image,x0,y0,x1,y1`, px.

    A row with nothing but an image is an image without a box. Without a column `score` scores
    are 1.

    Raises:
      UserError: no such column, or a value that is no number.
    """
    rows: dict[str, list[tuple[float, ...]]] = {}
    try:
        with file.open(newline="", encoding="utf-8-sig") as text:
            reader = csv.DictReader(text)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise UserError(
                    f"{file}: no column {', '.join(missing)}; the header must be "
                    f"{','.join(columns)}"
                )
            for row in reader:
                where = f"{file}, line {reader.line_num}"
                boxes = rows.setdefault((row["image"] or "").strip(), [])
                values = [(row[name] or "").strip() for name in columns[1:]]
                if any(values):
                    x0, y0, x1, y1, *score = _numbers(values, where)
                    boxes.append((*_checked((x0, y0, x1, y1), where), *score, 1.0)[:5])
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file}: not a CSV file: {error}") from error
    except OSError as error:
        raise UserError(f"{file}: {error.strerror or error}") from error
    arrays = {name: np.array(boxes, float).reshape(-1, 5) for name, boxes in rows.items()}
    return {name: (array[:, :4], array[:, 4]) for name, array in arrays.items()}


def _numbers(values: list[str], where: str) -> list[float]:
    try:
        return [float(value) for value in values]
    except ValueError as error:
        raise UserError(f"{where}: a box needs numbers, not {', '.join(map(repr, values))}") from (
            error
        )


def _checked(box: tuple[float, float, float, float], where: str) -> tuple[float, ...]:
    x0, y0, x1, y1 = box
    if not (x0 < x1 and y0 < y1):
        raise UserError(f"{where}: the box {box} is empty; corners are left top right bottom")
    return box


def _image(folder: Path, name: str, where: str) -> Path:
    """Find an image by its name; some annotations leave the suffix out."""
    if not is_safe(name):
        raise UserError(f"{where}: {name!r} is no name of an image in a folder")
    path = folder / name
    if path.is_file():
        return path
    for suffix in sorted(IMAGE_SUFFIXES):
        other = path.with_name(f"{path.stem}{suffix}")
        if other.is_file():
            return other
    raise UserError(f"{where}: its image {path} is not there; name the folder with --images")
