from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

from dfbench.report.figures.evidence import Shown, evidence_figure, overlay
from dfbench.report.figures.style import encode
from dfbench.report.figures.timeline import SHOWN, Line, timeline
from dfbench.report.predictions import predictions_csv, predictions_json, predictions_text
from dfbench.results.card import FileHash
from dfbench.results.prediction import (
    FaceScore,
    FilePrediction,
    Predictions,
    Scorer,
    TrackScore,
)


def face(track: int, p_fake: float, frame: int = 0) -> FaceScore:
    return FaceScore(
        frame=frame, time_s=frame / 4, track=track, box=(1.5, 2.0, 3.0, 4.0), detector_score=0.9,
        logit=1.25, p_fake=p_fake, p_calibrated=None,
    )  # fmt: skip


def track(number: int, p_fake: float) -> TrackScore:
    return TrackScore(
        track=number, frames=1, first_s=0.0, last_s=0.0, p_fake=p_fake, p_calibrated=p_fake / 2,
        fake=p_fake >= 0.5,
    )  # fmt: skip


def scored(file: str, *p_fake: float) -> FilePrediction:
    tracks = tuple(track(n, p) for n, p in enumerate(p_fake, 1))
    highest = max(tracks, key=lambda one: one.p_fake)
    return FilePrediction(
        file=file, kind="image", frames=1, frames_with_faces=1, p_fake=highest.p_fake,
        p_calibrated=highest.p_calibrated, fake=highest.fake, track=highest.track, tracks=tracks,
        faces=tuple(face(n, p) for n, p in enumerate(p_fake, 1)),
    )  # fmt: skip


def predictions(*files: FilePrediction, temperature: float | None = None) -> Predictions:
    scorer = Scorer(
        model="meso4", train="a", run="runs/x", checkpoint=FileHash(sha256="0", bytes=1),
        config_hash="h", recipe={}, aggregate="mean", threshold=0.5, threshold_from="so",
        temperature=temperature,
    )  # fmt: skip
    return Predictions(scorer=scorer, files=files, notes=("what it means",))


UNREAD = FilePrediction(file="x.mp4", kind="video", reason="not a\nvideo")


def test_the_table() -> None:
    text = predictions_text(predictions(scored("a.png", 0.25), scored("b.png", 0.1, 0.75), UNREAD))
    assert text.splitlines() == [
        "file      P(fake)  called  faces  frames",
        "a.png     0.250    real    1      1/1",
        "b.png     0.750    fake    2      1/1",
        "  face 2  0.750    fake           1",
        "  face 1  0.100    real           1",
        "x.mp4     -        -       0      -",
        "no score: x.mp4: not a\\nvideo",
        "",
        "what it means",
    ]


def test_the_table_has_calibrated_scores_where_there_are_some() -> None:
    text = predictions_text(predictions(scored("a.png", 0.25), UNREAD, temperature=2.0))
    assert text.splitlines()[:2] == [
        "file   P(fake)  calibrated  called  faces  frames",
        "a.png  0.250    0.125       real    1      1/1",
    ]


def test_long_tables_and_hostile_names_are_cut_and_escaped() -> None:
    many = [scored(f"{n}.png", *np.linspace(0, 1, 9)) for n in range(60)]
    lines = predictions_text(predictions(scored("\x1b[31m" + "x" * 500, 0.5), *many)).splitlines()
    assert any(line.startswith("  and 5 more") for line in lines)
    assert "... and 21 more files" in lines
    assert max(map(len, lines)) < 100
    assert "\x1b" not in "".join(lines)
    assert lines[1].startswith("\\x1b[31mxxx")


def test_csv_is_safe_to_open_and_json_has_the_very_names() -> None:
    found = predictions(scored("=1+1.png", 0.25), UNREAD)
    rows = list(csv.DictReader(io.StringIO(predictions_csv(found))))
    assert [row["file"] for row in rows] == ["'=1+1.png", "x.mp4"]
    assert (rows[0]["x0"], rows[0]["logit"], rows[0]["p_calibrated"]) == ("1.5", "1.25", "")
    assert rows[1]["reason"] == "not a\nvideo"
    data = json.loads(predictions_json(found))
    assert [one["file"] for one in data["files"]] == ["=1+1.png", "x.mp4"]
    assert data["format"] == 1


def line(name: str, scores: list[float], together: float) -> Line:
    return Line(name, np.arange(len(scores)) / 4, np.array(scores), together)


def test_a_timeline_has_a_line_a_face_that_breaks_where_there_is_none() -> None:
    gap = Line("face 1", np.array([0, np.nan, 2.0]), np.array([0.1, np.nan, 0.3]), 0.2)
    figure = timeline("$x$ <b>", [gap, line("face 2", [0.9], 0.9)], 0.95)
    (axes,) = figure.axes
    lines = {one.get_label(): one for one in axes.lines}
    assert {"face 1: 0.200 over 2 frames", "face 2: 0.900 over 1 frames"} <= lines.keys()
    assert np.isnan(lines["face 1: 0.200 over 2 frames"].get_ydata()).sum() == 1
    assert axes.get_xlim() == (0, 2)
    assert encode(figure, "png").startswith(b"\x89PNG")


def test_of_many_faces_the_timeline_shows_the_highest() -> None:
    lines = [line(f"face {n}", [n / 10, n / 10], n / 10) for n in range(10)]
    figure = timeline("a.mp4", lines, 0.5)
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert [text.split(":")[0] for text in shown] == [f"face {n}" for n in range(4, 10)]
    assert len(shown) == SHOWN
    assert figure.legends[0].get_title().get_text() == "and 4 with lower scores"


def test_evidence_colours_by_sign_and_strength() -> None:
    image = np.full((8, 8, 3), 100, np.uint8)
    found = overlay(image, np.array([[1.0, -1.0], [0.0, 0.0]], np.float32), 1.0).astype(int)
    left, right, below = found[0, 0], found[0, 7], found[7, 4]
    assert left[0] > left[2] + 50  # orange
    assert right[2] > right[0] + 50  # blue
    np.testing.assert_array_equal(below, 100)
    assert (overlay(image, np.zeros((2, 2), np.float32), 0.0) == 100).all()


@pytest.mark.parametrize("crops", [1, 4])
def test_an_evidence_sheet(crops: int) -> None:
    rng = np.random.default_rng(0)
    shown = [
        Shown(np.zeros((9, 9, 3), np.uint8), rng.normal(size=(3, 3)).astype(np.float32), f"$ {n}")
        for n in range(crops)
    ]
    figure = evidence_figure("名前 $", shown)
    assert len(figure.axes) == 2 * crops
    assert encode(figure, "png").startswith(b"\x89PNG")
