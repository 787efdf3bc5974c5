"""Predictions as JSON, as CSV and as a table for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from dfbench.errors import one_line
from dfbench.files import json_bytes
from dfbench.report.leaderboard import csv_text
from dfbench.report.matrix import short
from dfbench.report.text import aligned
from dfbench.results.prediction import FilePrediction, Predictions

COLUMNS = (
    *("file", "frame", "time_s", "track", "x0", "y0", "x1", "y1", "detector_score"),
    *("logit", "p_fake", "p_calibrated", "reason"),
)
FILES, TRACKS = 40, 4  # lines of the table: files, and faces of a file
NAME = 48  # letters of a file's name


def predictions_json(predictions: Predictions) -> bytes:
    """Return everything as indented JSON."""
    return json_bytes(predictions)


def predictions_csv(predictions: Predictions) -> str:
    """Return a row a face, and a row with the reason for each file without a score.

    A name that a spreadsheet would compute has an apostrophe before it.
    """
    rows: list[Sequence[object]] = [COLUMNS]
    for one in predictions.files:
        if one.reason:
            rows.append((one.file, *[""] * (len(COLUMNS) - 2), one.reason))
        for face in one.faces:
            calibrated = "" if face.p_calibrated is None else face.p_calibrated
            values = (face.detector_score, face.logit, face.p_fake, calibrated)
            rows.append((one.file, face.frame, face.time_s, face.track, *face.box, *values, ""))
    return csv_text(rows)


def predictions_text(predictions: Predictions) -> str:
    """Return a line a file, with its faces below it where there are several, and what it means."""
    calibrated = predictions.scorer.temperature is not None
    head = (
        "file",
        "P(fake)",
        *(("calibrated",) if calibrated else ()),
        "called",
        "faces",
        "frames",
    )
    rows = [head]
    for one in predictions.files[:FILES]:
        rows += _rows(one, calibrated)
    lines = aligned(list(zip(*rows, strict=True)))
    if len(predictions.files) > FILES:
        lines.append(f"... and {len(predictions.files) - FILES} more files")
    missing = [one for one in predictions.files[:FILES] if one.reason]
    lines += [f"no score: {_name(one.file)}: {one_line(one.reason)}" for one in missing]
    return "\n".join([*lines, "", *map(one_line, predictions.notes)])


def _rows(one: FilePrediction, calibrated: bool) -> list[tuple[str, ...]]:
    empty = ("-",) if calibrated else ()
    if one.p_fake is None:
        return [(_name(one.file), "-", *empty, "-", "0", f"0/{one.frames}" if one.frames else "-")]
    p = (_number(one.p_calibrated),) if calibrated else ()
    frames = f"{one.frames_with_faces}/{one.frames}"
    rows = [(_name(one.file), _number(one.p_fake), *p, _called(one.fake), f"{len(one.tracks)}",
             frames)]  # fmt: skip
    if len(one.tracks) < 2:
        return rows
    for track in sorted(one.tracks, key=lambda track: -track.p_fake)[:TRACKS]:
        p = (_number(track.p_calibrated),) if calibrated else ()
        name = f"  face {track.track}"
        rows.append((name, _number(track.p_fake), *p, _called(track.fake), "", f"{track.frames}"))
    if len(one.tracks) > TRACKS:
        rows.append((f"  and {len(one.tracks) - TRACKS} more", *[""] * (len(rows[0]) - 1)))
    return rows


def _name(file: str) -> str:
    return short(one_line(file), NAME)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _called(fake: bool | None) -> str:
    return "-" if fake is None else "fake" if fake else "real"
