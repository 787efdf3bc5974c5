"""What is drawn of a prediction: boxes on pictures, scores over time, and evidence in crops."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32

from dfbench.errors import UserError
from dfbench.faces.crop import decode
from dfbench.progress import Reporter
from dfbench.report.figures.evidence import Shown, evidence_figure
from dfbench.report.figures.style import encode
from dfbench.report.figures.timeline import Line, timeline
from dfbench.results.prediction import FaceScore, FilePrediction
from dfbench.workflow.places import Places
from dfbench.workflow.predict_drawing import Drawing, draw_faces
from dfbench.workflow.predict_model import TrainedDetector
from dfbench.workflow.predict_scores import CropScorer, Encoded

if TYPE_CHECKING:
    from dfbench.workflow.predict import Found

Maps = dict[int, Float32[np.ndarray, "height width"]]  # by the number of the face in its file
SHOWN = 6  # crops with their evidence, of a file


def draw(
    found: Sequence[Found],
    files: Sequence[FilePrediction],
    scorer: CropScorer,
    places: Places,
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
    without, more = _boxes(found, files, scorer.detector, places, out, frames, reporter)
    done = []
    for number, (one, file) in enumerate(zip(found, files, strict=True)):
        names: dict[str, str] = {}
        if file.faces and number not in without:
            names["faces"] = _name(one, file)
        for kind, data in _figures(one, file, scorer.detector, maps.get(number, {})):
            names[kind] = f"{one.input.name}-{kind}.png"
            (out / names[kind]).write_bytes(data)
        done.append(dataclasses.replace(file, pictures={**names, **file.pictures}))
    return done, notes + more


def _name(one: Found, file: FilePrediction) -> str:
    return f"{one.input.name}-faces.{'jpg' if file.kind == 'image' else 'mp4'}"


def _boxes(
    found: Sequence[Found],
    files: Sequence[FilePrediction],
    detector: TrainedDetector,
    places: Places,
    out: Path,
    frames: int,
    reporter: Reporter,
) -> tuple[set[int], list[str]]:
    """Draw boxes; return the numbers of the files without, and a note for each."""
    says = f"P(fake) by {detector.config.model.name}; called fake from {detector.threshold:.3g}"
    drawings = {
        out / _name(one, file): number
        for number, (one, file) in enumerate(zip(found, files, strict=True))
        if file.faces
    }
    todo = [
        Drawing(
            source=found[number].input.path,
            frames=frames,
            faces=files[number].faces,
            fake={track.track: track.fake for track in files[number].tracks},
            says=says,
            target=target,
        )
        for target, number in drawings.items()
    ]
    without: dict[int, str] = {}
    with reporter.bar("drawing", "file") as progress:
        for done, (drawing, why) in enumerate(draw_faces(todo, places), 1):
            if why:
                without[drawings[drawing.target]] = f"{drawing.source}: no boxes drawn: {why}"
            progress(done, len(todo))
    return set(without), [without[number] for number in sorted(without)]


def _figures(
    one: Found, file: FilePrediction, detector: TrainedDetector, maps: Maps
) -> Iterator[tuple[str, bytes]]:
    """Yield what is drawn of the scores, and its PNG."""
    if file.faces and file.kind == "video":
        yield "timeline", _timeline(one, file, detector)
    if maps:
        crops = [
            Shown(decode(one.crops[i].image), maps[i], _face_text(file.faces[i], file))
            for i in sorted(maps)
        ]
        yield "evidence", encode(evidence_figure(one.input.path.name, crops), "png")


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
