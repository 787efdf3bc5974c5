"""Boxes drawn on what was predicted, in processes of their own: they decode files of strangers."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dfbench.faces.images import RGB, UnreadableError, is_image, read_image, reason
from dfbench.faces.video import one_thread, read_frames
from dfbench.faces.worker import Lost, work_off
from dfbench.files import write_bytes
from dfbench.report.annotate import MOST, Mark, annotated
from dfbench.results.prediction import FaceScore
from dfbench.synth.video import h264, write_video
from dfbench.workflow.places import Places

HOLD = 8  # frames of the drawn video that each looked-at frame stays: three a second are seen
MOST_OF_VIDEO = 1280  # px, of its longer side
QUALITY = 92  # of JPEG


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """What is to be drawn."""

    source: Path
    frames: int  # looked at, of a video
    faces: tuple[FaceScore, ...]
    fake: Mapping[int, bool]  # by track, whatever a frame alone says
    says: str  # below each picture
    target: Path


def draw_faces(drawings: Sequence[Drawing], places: Places) -> Iterator[tuple[Drawing, str]]:
    """Write pictures and videos with boxes; yield each drawing with why there is none, if so.

    Raises:
      OSError: one cannot be written.
    """
    jobs = places.jobs or os.cpu_count() or 1
    done = work_off(drawings, _draw, start=one_thread, jobs=jobs, limits=places.limits)
    with contextlib.closing(done):
        for drawing, found in done:
            yield drawing, found.reason if isinstance(found, Lost) else found.value


def _draw(drawing: Drawing) -> str:
    try:
        if is_image(drawing.source):
            write_bytes(drawing.target, _jpeg(_annotated(read_image(drawing.source), drawing)))
        else:
            write_video(drawing.target, _video(drawing), h264(23))
    except UnreadableError as error:  # another file by now
        return reason(error)
    return ""


def _annotated(image: RGB, drawing: Drawing, frame: int = 0, most: int = MOST) -> RGB:
    faces = [face for face in drawing.faces if face.frame == frame]
    marks = [
        Mark(face.box, _mark_text(face, drawing.fake), drawing.fake[face.track]) for face in faces
    ]
    at = f"{faces[0].time_s:.2f} s   " if faces and not is_image(drawing.source) else ""
    return annotated(image, marks, at + drawing.says, most=most)


def _mark_text(face: FaceScore, fake: Mapping[int, bool]) -> str:
    who = f"face {face.track}: " if len(fake) > 1 else ""
    return f"{who}{face.p_fake:.3f} ({'fake' if fake[face.track] else 'real'})"


def _jpeg(picture: RGB) -> bytes:
    quality = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    good, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), quality)
    if not good:
        raise ValueError("OpenCV cannot encode JPEG")
    return bytes(data.tobytes())


def _video(drawing: Drawing) -> list[RGB]:
    """Return the frames that were looked at, each for a while, with and without faces."""
    pictures: list[RGB] = []
    for frame in read_frames(drawing.source, drawing.frames):
        if frame.image is None:
            continue
        picture = _annotated(frame.image, drawing, frame.index, MOST_OF_VIDEO)
        if pictures and picture.shape != pictures[0].shape:  # some streams change their size
            height, width = pictures[0].shape[:2]
            picture = np.asarray(cv2.resize(picture, (width, height)), np.uint8)
        pictures += [picture] * HOLD
    return pictures
