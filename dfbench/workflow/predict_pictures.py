"""What is drawn of a prediction: boxes on pictures, scores over time, and evidence in crops."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from jaxtyping import Float32

from dfbench.errors import UserError
from dfbench.faces.crop import decode
from dfbench.faces.images import RGB, read_image
from dfbench.faces.video import read_frames
from dfbench.progress import Reporter
from dfbench.report.annotate import Mark, annotated
from dfbench.report.figures.evidence import Shown, evidence_figure
from dfbench.report.figures.style import encode
from dfbench.report.figures.timeline import Line, timeline
from dfbench.results.prediction import FaceScore, FilePrediction
from dfbench.synth.video import h264, write_video
from dfbench.workflow.predict_model import TrainedDetector
from dfbench.workflow.predict_scores import CropScorer, Encoded

if TYPE_CHECKING:
    from dfbench.workflow.predict import Found

Maps = dict[int, Float32[np.ndarray, "height width"]]  # by the number of the face in its file
HOLD = 8  # frames of the drawn video that each looked-at frame stays: three a second are seen
MOST = 1280  # px, of its longer side
SHOWN = 6  # crops with their evidence, of a file
QUALITY = 92  # of JPEG


def draw(
    found: Sequence[Found],
    files: Sequence[FilePrediction],
    scorer: CropScorer,
    out: Path,
    *,
    frames: int,
    cam: bool,
    reporter: Reporter,
) -> tuple[list[FilePrediction], list[str]]:
    """Write the pictures of all files with a score; return the files with their names, and notes.

    Raises:
      OSError: Something cannot be written.
    """
    maps: dict[int, Maps] = {}
    notes: list[str] = []
    if cam:
        maps, notes = _evidence(found, files, scorer)
    done = []
    with reporter.bar("drawing", "file") as progress:
        for number, (one, file) in enumerate(zip(found, files, strict=True)):
            names: dict[str, str] = {}
            if file.faces:
                own = maps.get(number, {})
                for kind, name, data in _pictures(one, file, scorer.detector, own, frames):
                    names[kind] = f"{one.input.name}-{name}"
                    if isinstance(data, bytes):
                        (out / names[kind]).write_bytes(data)
                    else:
                        write_video(out / names[kind], data, h264(23))
            done.append(dataclasses.replace(file, pictures={**names, **file.pictures}))
            progress(number + 1, len(files))
    return done, notes


def _pictures(
    one: Found,
    file: FilePrediction,
    detector: TrainedDetector,
    maps: Maps,
    frames: int,
) -> Iterator[tuple[str, str, bytes | list[RGB]]]:
    """Yield what is drawn, its file's name and its bytes; of a video the frames."""
    if file.kind == "image":
        picture = _annotated(read_image(one.input.path), file, 0, detector)
        yield "faces", "faces.jpg", _jpeg(picture)
    else:
        yield "faces", "faces.mp4", _video(one, file, detector, frames)
        yield "timeline", "timeline.png", _timeline(one, file, detector)
    if maps:
        crops = [
            Shown(decode(one.crops[i].image), maps[i], _face_text(file.faces[i], file))
            for i in sorted(maps)
        ]
        figure = evidence_figure(one.input.path.name, crops)
        yield "evidence", "evidence.png", encode(figure, "png")


# --- boxes ----------------------------------------------------------------------------------------


def _annotated(
    image: RGB, file: FilePrediction, frame: int, detector: TrainedDetector, *, most: int = 1920
) -> RGB:
    fake = {track.track: track.fake for track in file.tracks}  # whatever the frame alone says
    marks = [
        Mark(face.box, _mark_text(face, file, fake[face.track]), fake[face.track])
        for face in file.faces
        if face.frame == frame
    ]
    at = next((f"{face.time_s:.2f} s   " for face in file.faces if face.frame == frame), "")
    says = f"P(fake) by {detector.config.model.name}; called fake from {detector.threshold:.3g}"
    return annotated(image, marks, says if file.kind == "image" else at + says, most=most)


def _mark_text(face: FaceScore, file: FilePrediction, fake: bool) -> str:
    who = f"face {face.track}: " if len(file.tracks) > 1 else ""
    return f"{who}{face.p_fake:.3f} ({'fake' if fake else 'real'})"


def _jpeg(picture: RGB) -> bytes:
    quality = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    good, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), quality)
    if not good:
        raise ValueError("OpenCV cannot encode JPEG")
    return bytes(data.tobytes())


def _video(one: Found, file: FilePrediction, detector: TrainedDetector, frames: int) -> list[RGB]:
    """Return the frames that were looked at, each for a while, with and without faces."""
    pictures: list[RGB] = []
    for frame in read_frames(one.input.path, frames):
        if frame.image is None:
            continue
        picture = _annotated(frame.image, file, frame.index, detector, most=MOST)
        if pictures and picture.shape != pictures[0].shape:  # some streams change their size
            height, width = pictures[0].shape[:2]
            picture = np.asarray(cv2.resize(picture, (width, height)), np.uint8)
        pictures += [picture] * HOLD
    return pictures


# --- over time ------------------------------------------------------------------------------------


def _timeline(one: Found, file: FilePrediction, detector: TrainedDetector) -> bytes:
    looked = sorted({face.frame for face in file.faces} | {n for n, _ in one.result.misses})
    lines = []
    for track in file.tracks:
        faces = {face.frame: face for face in file.faces if face.track == track.track}
        # From its first to its last frame; where it was not found, the line breaks.
        places = [faces.get(n) for n in looked if min(faces) <= n <= max(faces)]
        lines.append(
            Line(
                f"face {track.track}",
                np.array([face.time_s if face else np.nan for face in places]),
                np.array([face.p_fake if face else np.nan for face in places]),
                track.p_fake,
            )
        )
    figure = timeline(one.input.path.name, lines, detector.threshold)
    return encode(figure, "png")


# --- evidence -------------------------------------------------------------------------------------


def _evidence(
    found: Sequence[Found], files: Sequence[FilePrediction], scorer: CropScorer
) -> tuple[dict[int, Maps], list[str]]:
    """Return maps by the number of the file, or a note on why there are none."""
    chosen = [(n, face) for n, file in enumerate(files) for face in _chosen(file)]
    if not chosen:
        return {}, []
    if scorer.classical:
        name = scorer.detector.config.model.name
        return {}, [f"--cam: '{name}' is no network: it has no feature map to look at"]
    crops = [found[n].crops[face] for n, face in chosen]
    try:
        maps = scorer.evidence([Encoded(crop.image, crop.before) for crop in crops])
    except UserError as error:
        return {}, [f"--cam: {error}"]
    by_file: dict[int, Maps] = {}
    for (n, face), values in zip(chosen, maps, strict=True):
        by_file.setdefault(n, {})[face] = values
    return by_file, []


def _chosen(file: FilePrediction) -> list[int]:
    """Return some faces: of an image the most fake ones, of a video the deciding track's."""
    if file.kind == "image":
        ranked = sorted(range(len(file.faces)), key=lambda i: -file.faces[i].p_fake)
        return sorted(ranked[:SHOWN])
    own = [i for i, face in enumerate(file.faces) if face.track == file.track]
    places = np.linspace(0, len(own) - 1, min(SHOWN, len(own))).round().astype(int)
    return [own[place] for place in places]


def _face_text(face: FaceScore, file: FilePrediction) -> str:
    who = f"face {face.track}, " if len(file.tracks) > 1 else ""
    when = "" if file.kind == "image" else f"{face.time_s:.2f} s, "
    return f"{who}{when}P(fake) {face.p_fake:.3f}"
