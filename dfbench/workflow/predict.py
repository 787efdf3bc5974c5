"""Files that nobody labelled to predictions: all faces found, each scored as in an evaluation."""

from __future__ import annotations

import dataclasses
import datetime
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32

from dfbench import __version__
from dfbench.config import RunConfig, config_hash
from dfbench.errors import UserError, system_errors
from dfbench.eval.table import sigmoid
from dfbench.eval.videos import aggregate_frames
from dfbench.faces.clip import ClipResult, Crop, CropRecipe, recipe_values
from dfbench.faces.crop import Box
from dfbench.faces.detect import DetectorChoice, resolve_detector
from dfbench.faces.images import is_image
from dfbench.faces.one_clip import check_recipe
from dfbench.faces.tracks import join_tracks
from dfbench.paths import model_files_dir
from dfbench.progress import SILENT, Reporter
from dfbench.report.predictions import predictions_csv, predictions_json
from dfbench.results.prediction import FaceScore, FilePrediction, Predictions, Scorer, TrackScore
from dfbench.workflow.input_faces import extract_inputs
from dfbench.workflow.input_files import Input, list_inputs
from dfbench.workflow.places import Places
from dfbench.workflow.predict_model import TrainedDetector
from dfbench.workflow.predict_pictures import draw
from dfbench.workflow.predict_scores import CropScorer, Encoded
from dfbench.workflow.predict_similar import add_similar, check_spec, similar_note

JSON, CSV = "predictions.json", "predictions.csv"
FRAMES = 32  # of a video


@dataclass(frozen=True, kw_only=True)
class Found:
    """The faces of a file, before and after they are scored."""

    input: Input
    result: ClipResult
    crops: tuple[Crop, ...]  # by frame, and in it from left to right
    tracks: tuple[int, ...]  # of each crop, from 1


def predict(
    paths: Sequence[Path],
    detector: TrainedDetector,
    places: Places,
    *,
    out: Path,
    frames: int = FRAMES,
    cam: bool = False,
    similar: str | None = None,
    reporter: Reporter = SILENT,
) -> Predictions:
    """Score all faces of images and videos, and write tables and pictures of them into `out`.

    A file without a face, or one that cannot be read, has a reason in the place of a score.

    Args:
      paths: Images, videos, and folders of them.
      detector: What scores; its own settings cut the crops.
      places: Model files of face detectors, and with how many processes faces are found.
      out: Folder; files of an earlier call are replaced.
      frames: Looked at in a video, evenly spaced.
      cam: Also draw where the network sees what speaks for a fake, and what for a real.
      similar: Spec of a dataset, of which the clips that are most like each face are found and
        scored too.
      reporter: Where progress is told.

    Raises:
      UserError: A path that does not exist, a folder without files, a checkpoint that cannot be
        used, or `out` cannot be written.
    """
    if frames < 1:
        raise UserError(f"--frames {frames}: look at 1 frame at least")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: a file, and no folder to write into; name another with --out")
    if similar is not None:
        check_spec(similar)
    inputs = list_inputs(paths, out)
    recipe, choice = _face_settings(detector, frames, places)
    notes = [*detector.notes, *_notes(detector, recipe, choice)]
    found = _find_faces(inputs, recipe, choice, places, reporter)
    scorer = CropScorer(detector, reporter)
    crops = [Encoded(crop.image, crop.before) for one in found for crop in one.crops]
    logits = np.split(
        scorer.logits(crops, "scoring faces"),
        np.cumsum([len(one.crops) for one in found])[:-1],
    )
    files = [_file(one, part, detector) for one, part in zip(found, logits, strict=True)]
    with system_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        if similar is not None:
            files = add_similar(found, files, scorer, similar, places, out, reporter)
            notes.append(similar_note(files, similar))
        files, more = draw(
            found, files, scorer, places, out, frames=frames, cam=cam, reporter=reporter
        )
        predictions = Predictions(
            scorer=_scorer(detector, recipe),
            files=tuple(files),
            notes=(*notes, *more),
            dfbench=__version__,
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        )
        (out / JSON).write_bytes(predictions_json(predictions))
        (out / CSV).write_text(predictions_csv(predictions), encoding="utf-8", newline="\n")
    return predictions


# --- faces ----------------------------------------------------------------------------------------


def _face_settings(
    detector: TrainedDetector, frames: int, places: Places
) -> tuple[CropRecipe, DetectorChoice]:
    """Return the detector's own recipe, and what finds faces on this machine."""
    name = detector.recipe.detector
    choice = resolve_detector(name, places.detector_model, cache_dir=model_files_dir())
    recipe = dataclasses.replace(detector.recipe, detector=choice.name, frames=frames)
    check_recipe(recipe)
    return recipe, choice


def _find_faces(
    inputs: Sequence[Input],
    recipe: CropRecipe,
    choice: DetectorChoice,
    places: Places,
    reporter: Reporter,
) -> list[Found]:
    results = extract_inputs(inputs, recipe, choice, places, reporter, every_face=True)
    return [_found(*pair) for pair in zip(inputs, results, strict=True)]


def _found(one: Input, result: ClipResult) -> Found:
    crops = tuple(sorted(result.crops, key=lambda crop: (crop.frame, crop.box)))
    looked = sorted({crop.frame for crop in crops} | {frame for frame, _ in result.misses})
    boxes = [np.array([c.box for c in crops if c.frame == n], float) for n in looked]
    tracks = join_tracks([frame.reshape(-1, 4) for frame in boxes])
    numbers = tuple(itertools.chain.from_iterable(tracks))
    kept = dataclasses.replace(result, crops=())
    return Found(input=one, result=kept, crops=crops, tracks=numbers)


# --- scores ---------------------------------------------------------------------------------------


def _rounded(box: Box) -> Box:
    x0, y0, x1, y1 = (round(value, 2) for value in box)
    return x0, y0, x1, y1


def _file(
    one: Found, logits: Float32[np.ndarray, " n"], detector: TrainedDetector
) -> FilePrediction:
    kind: Literal["image", "video"] = "image" if is_image(one.input.path) else "video"
    looked = {crop.frame for crop in one.crops} | {frame for frame, _ in one.result.misses}
    empty = FilePrediction(
        file=str(one.input.path), kind=kind, reason=one.result.reason, frames=len(looked)
    )
    if not one.crops:
        return empty
    faces = _faces(one, logits, detector.temperature)
    tracks = _tracks(faces, logits, detector)
    highest = max(tracks, key=lambda track: track.p_fake)
    return dataclasses.replace(
        empty,
        frames_with_faces=len({face.frame for face in faces}),
        p_fake=highest.p_fake,
        p_calibrated=highest.p_calibrated,
        fake=highest.fake,
        track=highest.track,
        tracks=tracks,
        faces=faces,
    )


def _faces(
    one: Found, logits: Float32[np.ndarray, " n"], temperature: float | None
) -> tuple[FaceScore, ...]:
    p_fake = sigmoid(logits)
    calibrated = None if temperature is None else sigmoid(_divided(logits, temperature))
    return tuple(
        FaceScore(
            frame=crop.frame,
            time_s=round(crop.time_s, 3),
            track=one.tracks[i],
            box=_rounded(crop.box),
            detector_score=round(crop.score, 4),
            logit=_plain(logits[i]),
            p_fake=_plain(p_fake[i]),
            p_calibrated=None if calibrated is None else _plain(calibrated[i]),
        )
        for i, crop in enumerate(one.crops)
    )


def _tracks(
    faces: Sequence[FaceScore], logits: Float32[np.ndarray, " n"], detector: TrainedDetector
) -> tuple[TrackScore, ...]:
    """Put the frames of each track together, as an evaluation does those of a video."""
    track = np.array([face.track for face in faces])
    together = _together(track, logits, detector.config)
    calibrated = None
    if detector.temperature is not None:
        calibrated = _together(track, _divided(logits, detector.temperature), detector.config)
    found = []
    for number in range(1, int(track.max()) + 1):
        times = [face.time_s for face in faces if face.track == number]
        found.append(
            TrackScore(
                track=number,
                frames=len(times),
                first_s=min(times),
                last_s=max(times),
                p_fake=_plain(np.float32(together[number])),
                p_calibrated=(
                    None if calibrated is None else _plain(np.float32(calibrated[number]))
                ),
                fake=bool(together[number] >= detector.threshold),
            )
        )
    return tuple(found)


def _together(track: np.ndarray, logits: np.ndarray, config: RunConfig) -> np.ndarray:
    """Return P(fake) of each track; there is no track 0."""
    how = config.scoring
    values = logits if how.aggregate == "mean_logit" else sigmoid(logits)
    return aggregate_frames(track, values, int(track.max()) + 1, how.aggregate, how.top_k)[0]


def _divided(logits: np.ndarray, temperature: float) -> Float32[np.ndarray, " n"]:
    return np.asarray(logits / np.float32(temperature), np.float32)


def _plain(value: np.float32) -> float:
    """Return the shortest number that is this one in float32."""
    return float(str(value))


# --- what is said of it ---------------------------------------------------------------------------


def _scorer(detector: TrainedDetector, recipe: CropRecipe) -> Scorer:
    config = detector.config
    return Scorer(
        model=config.model.name,
        train=config.train,
        run=str(detector.run),
        checkpoint=detector.checkpoint,
        config_hash=config_hash(config),
        recipe=recipe_values(recipe),
        aggregate=config.scoring.aggregate,
        threshold=detector.threshold,
        threshold_from=detector.threshold_from,
        temperature=detector.temperature,
    )


def _notes(detector: TrainedDetector, recipe: CropRecipe, choice: DetectorChoice) -> list[str]:
    config = detector.config
    together = config.scoring.aggregate.replace("_", " ")
    notes = [f"warning: {choice.note}"] if choice.note else []
    if recipe.detector == "none":
        notes.append("each picture is one face, as in the training: data.detector is none")
    notes += [
        f"called fake: P(fake) of {detector.threshold:.3g} or more; {detector.threshold_from}",
        f"a face has the {together} of its frames, a file the highest of its faces",
    ]
    if detector.temperature is not None:
        notes.append(f"calibrated: logits over {detector.temperature:g}, chosen there too")
    notes.append(
        f"A score says how much a face is like the fakes of {config.train} to {config.model.name}. "
        "Of other fakes, cameras and compression it says little, and it proves nothing."
    )
    return notes
