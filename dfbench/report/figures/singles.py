"""Single videos and faces: the most wrong, and the usual, with what their readers need to know."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dfbench.report.figures.evaluation import Evaluation, Plate
from dfbench.report.figures.faces import Face, faces_figure
from dfbench.report.figures.scores import Track, timeline_figure
from dfbench.report.figures.wrong import typical_videos, wrong_frames, wrong_videos

FACES = "faces"  # name of the sheet


def single_plates(one: Evaluation) -> list[Plate]:
    """Return the figures of single videos and faces."""
    return [*_timelines(one), _faces(one)]


def _timelines(one: Evaluation) -> list[Plate]:
    videos = one.videos
    usual = [position for label in (0, 1) for position in typical_videos(videos, label)]
    fakes = Plate(name="timeline_fake", title="Most wrong fakes over time")
    reals = Plate(name="timeline_real", title="Most wrong reals over time")
    typical = Plate(name="timeline_typical", title="Typical videos over time")
    return [
        _timeline(one, fakes, wrong_videos(videos, 1), "The fakes with the lowest scores."),
        _timeline(one, reals, wrong_videos(videos, 0), "The reals with the highest scores."),
        _timeline(one, typical, usual, "Of each class the videos nearest to its median."),
    ]


def _timeline(one: Evaluation, plate: Plate, positions: Sequence[int], which: str) -> Plate:
    if not positions:
        return plate.without("no such video with a detected face")
    if max(one.videos.frames) == 1:
        return plate.without("one scored frame a video")
    rows = [np.flatnonzero(one.videos.code == position) for position in positions]
    known = not any(np.isnan(one.seconds[r]).any() for r in rows)
    tracks = [_track(one, p, r, known) for p, r in zip(positions, rows, strict=True)]
    numbers = "" if known else " Their times are not known here: frames by their numbers."
    return plate.showing(
        figure=timeline_figure(tracks, "s" if known else "frame"),
        alt="P(fake) of the frames of "
        + "; ".join(f"{t.name}: {t.score.min():.2f} to {t.score.max():.2f}" for t in tracks),
        caption=f"{which} Dots are scored frames, the solid line is the video's score, the dotted "
        f"one 0.5.{numbers}",
    )


def _track(one: Evaluation, position: int, rows: np.ndarray, known: bool) -> Track:
    at = one.seconds[rows] if known else one.table.frame[rows].astype(np.float64)
    order = np.argsort(at, kind="stable")
    return Track(
        name=one.videos.video[position],
        label=int(one.videos.label[position]),
        manipulation=one.videos.manipulation[position],
        at=at[order],
        score=one.table.p_fake[rows][order],
        video_score=float(one.videos.p_fake[position]),
    )


# --- faces ----------------------------------------------------------------------------------------


def face_groups(one: Evaluation) -> list[tuple[str, list[int]]]:
    """Return the rows of the most wrong faces that have a crop, by class, with titles."""
    titles = ("Reals with the highest P(fake)", "Fakes with the lowest P(fake)")
    groups = [
        (titles[label], [r for r in wrong_frames(one.table, one.videos, label) if r in one.crops])
        for label in (1, 0)
    ]
    return [(title, rows) for title, rows in groups if rows]


def face_name(one: Evaluation, row: int) -> str:
    """Return video and frame of a row."""
    return f"{one.table.video[row]}, frame {one.table.frame[row]}"


def _faces(one: Evaluation) -> Plate:
    plate = Plate(name=FACES, title="Most wrong faces")
    groups = face_groups(one)
    if not groups:
        return plate.without(one.no_crops or "no video with a detected face")
    drawn = [
        (
            title,
            [
                Face(
                    image=one.crops[row].image,
                    label=int(one.table.label[row]),
                    score=float(one.table.p_fake[row]),
                    name=face_name(one, row),
                )
                for row in rows
            ],
        )
        for title, rows in groups
    ]
    return plate.showing(
        figure=faces_figure(drawn),
        format="png",
        alt="; ".join(f"{title}: {len(faces)} faces" for title, faces in drawn),
        caption="As the detector saw them; of each video its most wrong frame. Look for what they "
        "have in common: light, pose, compression, a crop that is no face, a wrong label.",
    )
