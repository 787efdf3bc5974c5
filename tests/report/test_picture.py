from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image
from support.cards import make_card

from dfbench.report.matrix import matrix
from dfbench.report.picture import COLOURS, fold, ink, matrix_figure, save, write_matrix_png
from dfbench.results.card import ResultCard

LONG = "folder:/mnt/storage/deepfakes/collected_in_the_wild/2026"


def grid(
    models: int, columns: int, seeds: int = 1, prefix: str = "dataset_", trains: int = 1
) -> list[ResultCard]:
    names = [f"{prefix}{k:02}" for k in range(columns)]
    places = itertools.product(range(models), names[:trains], enumerate(names), range(seeds))
    return [
        make_card(0.4 + 0.05 * k, model=f"model_{m}", train=train, eval=name, seed=seed)
        for m, train, (k, name), seed in places
    ]


SHAPES = {
    "1x1": grid(1, 1),
    "8x12": grid(8, 12),
    "groups": grid(2, 4, trains=3),
    "seeds": grid(1, 3, seeds=3),
    "long names": grid(2, 3, prefix=LONG, trains=2),
    "settings": [*grid(1, 2), make_card(0.7, model="model_0", train="dataset_00", lr=0.5)],
    "undefined": [make_card(None), make_card(0.02, shared=1, train="other")],
    "n differs": [make_card(0.6, n=20), make_card(0.7, n=30, train="other")],
}


LEAKS = [make_card(0.9, shared=1), make_card(0.9, train="other")]


def texts(figure: Figure) -> list[tuple[str, Bbox]]:
    figure.canvas.draw()
    found = [t for axes in figure.axes for t in axes.findobj(Text) if t.get_text().strip()]
    return [(t.get_text(), t.get_window_extent()) for t in found if t.get_visible()]


def shown(cards: list[ResultCard]) -> list[str]:
    return [text for text, _ in texts(matrix_figure(matrix(cards)))]


@pytest.mark.parametrize("name", SHAPES)
def test_labels_stay_apart_and_inside(tmp_path: Path, name: str) -> None:
    figure = matrix_figure(matrix(SHAPES[name]))
    drawn = texts(figure)
    for (one, here), (other, there) in itertools.combinations(drawn, 2):
        shared = Bbox.intersection(here, there)
        overlaps = shared is not None and shared.width > 1 and shared.height > 1
        assert not overlaps, f"{one!r} and {other!r}"
    axes = figure.axes[0]
    cells = [p for p in axes.patches if isinstance(p, Rectangle) and p.get_width() == 1]
    inside = [p.get_window_extent() for p in cells]
    for text in axes.texts:
        extent = text.get_window_extent()
        if text.get_text().startswith(("0.", "[", "(", "n=")) and text.axes is axes:
            fits = any(
                b.x0 <= extent.x0 and extent.x1 <= b.x1 and b.y0 <= extent.y0 and extent.y1 <= b.y1
                for b in inside
            )
            note = text.get_text().startswith(("[low", "(low"))
            assert fits or note, text.get_text()
    save(figure, tmp_path / "matrix.png")
    with Image.open(tmp_path / "matrix.png") as image:
        assert image.format == "PNG"
        pixels = np.asarray(image.convert("L"))
    height, width = pixels.shape
    assert 300 < width < 3000
    assert 150 < height < 2000
    edges = (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1])
    assert all((edge == 255).all() for edge in edges), "cut off"
    assert [path.name for path in tmp_path.iterdir()] == ["matrix.png"]


def test_cells_show_value_interval_and_signs() -> None:
    labels = shown([make_card(0.97, eval="synth_swap"), make_card(0.7), make_card(0.8, train="x")])
    assert {"0.970†", "0.700", "0.800", "[0.620, 0.780]", "-"} <= set(labels)
    assert "synth_blend\nn = 28" in labels
    note = max(labels, key=len).replace("\n", " ")
    assert "95% bootstrap interval" in note
    assert "†: within-dataset" in note
    assert "bold" in note


def test_only_signs_that_are_there_are_explained() -> None:
    note = " ".join(shown([make_card(0.7)]))
    assert "bootstrap" in note
    assert not any(sign in note for sign in ("†", "‡", "bold", "seeds"))
    assert "3 seeds" in shown(grid(1, 1, seeds=3))


def test_the_number_of_videos_stands_once_unless_it_differs() -> None:
    assert not any(label.startswith("n=") for label in shown(grid(2, 2)))
    labels = shown(SHAPES["n differs"])
    assert {"n=20", "n=30"} <= set(labels)
    assert "synth_blend" in labels


def test_cells_of_shared_data_are_grey() -> None:
    figure = matrix_figure(matrix(LEAKS))
    boxes = [p for p in figure.axes[0].patches if isinstance(p, Rectangle) and p.get_fill()]
    colours = {int(p.get_y()): p.get_facecolor() for p in boxes}
    assert sorted(colours) == [0, 1]
    grey = [len(set(colour[:3])) == 1 for colour in colours.values()]
    assert grey == [row.train == "synth_swap" for row in matrix(LEAKS).rows]
    assert any("‡, grey: " in " ".join(text.split()) for text in shown(LEAKS))


def test_only_within_dataset_cells_are_outlined() -> None:
    figure = matrix_figure(matrix([make_card(0.9, eval="synth_swap"), make_card(0.7)]))
    boxes = [p for p in figure.axes[0].patches if isinstance(p, Rectangle)]
    outlined = [p for p in boxes if p.get_edgecolor()[:3] == (0, 0, 0) and not p.get_fill()]
    assert [int(p.get_x()) for p in outlined] == [0]


def test_text_has_contrast_on_every_colour() -> None:
    def luminance(colour: object) -> float:
        rgb = np.array(to_rgb(colour))  # type: ignore[arg-type]
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    for value in np.linspace(0, 1, 256):
        pair = sorted((luminance(COLOURS(value)), luminance(ink(COLOURS(value)))))
        assert (pair[1] + 0.05) / (pair[0] + 0.05) > 4.5
        # Outlines are black; WCAG asks for 3:1 of what is no text.
        assert (luminance(COLOURS(value)) + 0.05) / 0.05 > 3


def test_colours_tell_values_apart_without_hue() -> None:
    grey = np.array([np.dot(COLOURS(v)[:3], [0.2126, 0.7152, 0.0722]) for v in (0.5, 0.7, 0.85, 1)])
    assert (np.diff(grey) < -0.1).all()


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("celebdf", ["celebdf"]),
        ("dataset_of_faces_2", ["dataset_of_", "faces_2"]),
        ("x" * 20, ["x" * 16, "x" * 4]),
        ("", [""]),
    ],
)
def test_names_break_at_separators(name: str, lines: list[str]) -> None:
    assert fold(name, 16).split("\n") == lines


@pytest.mark.parametrize("step", [3, 8, 9, 100])
def test_names_of_any_length_take_three_lines_at_most(step: int) -> None:
    for length in range(120):
        name = "".join("/" if k % step == step - 1 else "a" for k in range(length))
        lines = fold(name, 16).split("\n")
        assert len(lines) <= 3
        assert max(map(len, lines)) <= 16
        assert length > 32 or "".join(lines) == name


def test_mathematics_and_missing_letters_in_names_are_shown_as_they_are(tmp_path: Path) -> None:
    write_matrix_png([make_card(0.7, eval="a_$x^2$\\frac", train="日本")], tmp_path / "m.png")
    assert (tmp_path / "m.png").stat().st_size > 1000
    assert "a_$x^2$\\frac\nn = 28" in shown([make_card(0.7, eval="a_$x^2$\\frac")])


def test_equal_matrices_give_equal_bytes(tmp_path: Path) -> None:
    cards = grid(2, 2)
    write_matrix_png(cards, tmp_path / "a.png")
    write_matrix_png(cards[::-1], tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
