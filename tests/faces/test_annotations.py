from __future__ import annotations

from pathlib import Path

import pytest
from support.media import write_image

from dfbench.errors import UserError
from dfbench.faces.annotations import COLUMNS, read_annotations, read_boxes

HEAD = """
  <object><name>head</name>
    <bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox>
    <difficult>{}</difficult>
  </object>"""


def write_voc(root: Path, name: str, *objects: str, filename: str = "") -> None:
    """Write an annotation as HollywoodHeads has it, and its image."""
    (root / "Annotations").mkdir(parents=True, exist_ok=True)
    write_image(root / "JPEGImages" / f"{name}.jpeg")
    text = f"<annotation><filename>{filename or name + '.jpeg'}</filename>{''.join(objects)}"
    (root / "Annotations" / f"{name}.xml").write_text(f"{text}</annotation>")


def test_voc_folder(tmp_path: Path) -> None:
    write_voc(tmp_path, "b", HEAD.format(1, 1, 480, 263, 0), HEAD.format(3, 4, 241.5, 285, 1))
    write_voc(tmp_path, "a", "<object><name>head</name></object>", filename="a")
    empty, two = read_annotations(tmp_path / "Annotations")
    assert empty.image == tmp_path / "JPEGImages" / "a.jpeg"  # the file says no suffix
    assert empty.boxes.shape == (0, 4)
    assert two.image.name == "b.jpeg"
    # Pixels from 1, the last one named: edges from 0.
    assert two.boxes.tolist() == [[0, 0, 480, 263], [2, 3, 241.5, 285]]
    assert two.difficult.tolist() == [False, True]
    (only,) = read_annotations(tmp_path / "Annotations", names={"a"})
    assert only.name == "a"


def test_csv_file(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "a.png")
    write_image(tmp_path / "images" / "b.png")
    (tmp_path / "boxes.csv").write_text(
        "\ufeffimage,x0,y0,x1,y1,note\na.png,1,2,3.5,4,x\nb.png,,,,,\na.png,5,6,7,8,\n",
        encoding="utf-8",
    )
    one, other = read_annotations(tmp_path / "boxes.csv", tmp_path / "images")
    assert one.boxes.tolist() == [[1, 2, 3.5, 4], [5, 6, 7, 8]]
    assert other.boxes.shape == (0, 4)
    assert not one.difficult.any()


def test_boxes_with_scores(tmp_path: Path) -> None:
    path = tmp_path / "found.csv"
    path.write_text("score,image,x0,y0,x1,y1\n0.25,a.png,1,2,3,4\n")
    boxes, scores = read_boxes(path, (*COLUMNS, "score"))["a.png"]
    assert boxes.tolist() == [[1, 2, 3, 4]]
    assert scores.tolist() == [0.25]
    assert read_boxes(path, COLUMNS)["a.png"][1].tolist() == [1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,x0,y0,x1\na.png,1,2,3\n", "no column y1; the header must be image,x0,y0,x1,y1"),
        ("image,x0,y0,x1,y1\na.png,1,2,x,4\n", "line 2: a box needs numbers"),
        ("image,x0,y0,x1,y1\na.png,1,2,3\n", "line 2: a box needs numbers"),
        ("image,x0,y0,x1,y1\na.png,5,2,3,4\n", "line 2: the box .* is empty"),
        ("image,x0,y0,x1,y1\na.png,nan,2,3,4\n", "line 2: the box .* is empty"),
        ("image,x0,y0,x1,y1\ngone.png,1,2,3,4\n", "gone.png is not there; .* --images"),
        ("image,x0,y0,x1,y1\n", "no annotated image"),
        ("", "no column image"),
    ],
)
def test_wrong_csv_files_are_named(tmp_path: Path, text: str, message: str) -> None:
    write_image(tmp_path / "a.png")
    (tmp_path / "boxes.csv").write_text(text)
    with pytest.raises(UserError, match=rf"boxes\.csv.*{message}"):
        read_annotations(tmp_path / "boxes.csv")


def test_wrong_voc_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: no such folder"):
        read_annotations(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no annotation of Pascal VOC"):
        read_annotations(tmp_path)
    write_voc(tmp_path, "a", HEAD.format(1, 2, "x", 4, 0))
    with pytest.raises(UserError, match=r"a\.xml: a box needs numbers"):
        read_annotations(tmp_path / "Annotations")
    (tmp_path / "Annotations" / "a.xml").write_text("<annotation>")
    with pytest.raises(UserError, match=r"a\.xml: not XML"):
        read_annotations(tmp_path / "Annotations")
    with pytest.raises(UserError, match="no annotated image of the list"):
        read_annotations(tmp_path / "Annotations", names={"z"})
