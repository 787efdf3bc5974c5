from __future__ import annotations

import numpy as np
import pytest

from dfbench.report.annotate import Mark, annotated
from dfbench.report.figures.style import FAKE, REAL

GREY = np.full((100, 200, 3), 128, np.uint8)


def colour(text: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(text[1:]))


def where(picture: np.ndarray, text: str) -> np.ndarray:
    """Return which pixels have a colour."""
    found: np.ndarray = (picture == colour(text)).all(-1)
    return found


def test_boxes_are_where_they_belong_in_the_colour_of_their_class() -> None:
    marks = [Mark((20, 30, 60, 80), "0.1", False), Mark((120, 30, 160, 80), "0.9", True)]
    picture = annotated(GREY, marks, "caption")
    height, width = picture.shape[:2]
    assert width == 640  # small ones grow
    assert height > 320  # by the caption
    for mark, kind in zip(marks, (REAL, FAKE), strict=True):
        rows, columns = np.nonzero(where(picture, kind))
        x0, y0, x1, y1 = (value * 3.2 for value in mark.box)
        assert columns.min() == pytest.approx(x0, abs=2)
        assert columns.max() == pytest.approx(x1, abs=2)
        assert rows.max() == pytest.approx(y1, abs=2)
        assert 0 < rows.min() < y0  # its text is above it
    assert (picture[:300, 300:360] == 128).all()


@pytest.mark.parametrize("shape", [(3000, 1001), (31, 47), (1, 1), (1080, 1920)])
def test_any_size_has_even_sides(shape: tuple[int, int]) -> None:
    picture = annotated(np.zeros((*shape, 3), np.uint8), [], "a " * 500)
    assert picture.shape[0] % 2 == picture.shape[1] % 2 == 0
    assert picture.shape[1] <= 1920
    assert picture.dtype == np.uint8


def test_a_box_beyond_the_picture_is_cut_off() -> None:
    marks = [Mark((-50, -50, 400, 300), "1", True), Mark((300, 300, 400, 400), "2", False)]
    picture = annotated(GREY, marks, "")
    rows, columns = np.nonzero(where(picture, FAKE))
    assert (rows.min(), columns.min()) == (0, 0)
    assert columns.max() == 639


def test_texts_do_not_cover_each_other() -> None:
    one = annotated(GREY, [Mark((20, 40, 60, 90), "0.123", True)], "")
    two = annotated(GREY, [Mark((20, 40, 60, 90), "0.123", True)] * 2, "")
    assert where(two, FAKE).sum() > 1.2 * where(one, FAKE).sum()


def test_hostile_text_is_text() -> None:
    marks = [Mark((20, 40, 60, 90), "0.5", True)]
    annotated(GREY, marks, "\x1b[31m\n$\\frac{ \u202e 名前 \ud800")
