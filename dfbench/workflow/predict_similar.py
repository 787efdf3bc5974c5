"""The clips of a dataset that are like the faces of a file, and what the detector says of them.

The pipeline of Govi, Poppi and Marinelli (2022): find similar pictures, crop the heads, classify
all of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dfbench.errors import UserError, one_line
from dfbench.eval.table import sigmoid
from dfbench.faces.crop import decode
from dfbench.progress import SILENT, Reporter
from dfbench.report.sheet import Group, Strip, Tile, write_sheet
from dfbench.results.prediction import FilePrediction, SimilarClip
from dfbench.workflow.places import Places
from dfbench.workflow.predict_model import TrainedDetector
from dfbench.workflow.predict_scores import CropScorer, Encoded
from dfbench.workflow.similar import Match, find_similar

if TYPE_CHECKING:
    from dfbench.workflow.predict import Found

TOP = 10  # clips a face, as in the report's Figure 4
FACES = 4  # of a file, those with the highest scores


@dataclasses.dataclass(frozen=True)
class _Query:
    file: int
    track: int
    crop: bytes
    p_fake: float  # of the track


def add_similar(
    found: Sequence[Found],
    files: Sequence[FilePrediction],
    scorer: CropScorer,
    spec: str,
    places: Places,
    out: Path,
    reporter: Reporter = SILENT,
) -> list[FilePrediction]:
    """Return the files with the clips of `spec` that are most like their faces; write a sheet each.

    The dataset is prepared by the detector's own settings, as it would be for an evaluation.

    Raises:
      UserError: A wrong spec, or data that cannot be used.
    """
    config = scorer.detector.config
    asked = [query for n, file in enumerate(files) for query in _queries(n, found[n], file)]
    if not asked:
        return list(files)
    matches = find_similar(
        [decode(query.crop) for query in asked],
        spec,
        top=TOP,
        config=config.data,
        places=places,
        reporter=reporter,
    )
    flat = [match for one in matches for match in one]
    scores: list[float | None] = [None] * len(flat)
    if not scorer.wants_before:  # a single crop has no frame before it
        crops = [Encoded(match.face) for match in flat]
        scores = [float(str(p)) for p in sigmoid(scorer.logits(crops, "scoring similar faces"))]
    ends = np.cumsum([len(one) for one in matches])
    clips = [
        tuple(
            _clip(query.track, match, score, scorer.detector)
            for match, score in zip(one, scores[end - len(one) : end], strict=True)
        )
        for query, one, end in zip(asked, matches, ends, strict=True)
    ]
    done = list(files)
    for number in dict.fromkeys(query.file for query in asked):
        rows = [i for i, query in enumerate(asked) if query.file == number]
        name = f"{found[number].input.name}-similar.png"
        strips = [_strip(asked[i], clips[i], matches[i]) for i in rows]
        legend = f"left: a face of this file, then the most similar clips of {spec}"
        write_sheet(found[number].input.path.name, legend, strips, out / name)
        done[number] = dataclasses.replace(
            done[number],
            similar=tuple(clip for i in rows for clip in clips[i]),
            pictures={**done[number].pictures, "similar": name},
        )
    return done


def _queries(number: int, one: Found, file: FilePrediction) -> list[_Query]:
    """Return the middle face of each track, of those with the highest scores."""
    queries = []
    for track in sorted(file.tracks, key=lambda track: -track.p_fake)[:FACES]:
        rows = [i for i, own in enumerate(one.tracks) if own == track.track]
        crop = one.crops[rows[len(rows) // 2]]
        queries.append(_Query(number, track.track, crop.image, track.p_fake))
    return queries


def _clip(track: int, match: Match, p_fake: float | None, detector: TrainedDetector) -> SimilarClip:
    return SimilarClip(
        track=track,
        rank=match.rank,
        similarity=round(match.similarity, 4),
        dataset=match.dataset,
        split=match.split,
        label=match.label,
        manipulation=match.manipulation,
        video=match.video,
        frame=match.frame,
        p_fake=p_fake,
        fake=None if p_fake is None else p_fake >= detector.threshold,
    )


def _strip(query: _Query, clips: Sequence[SimilarClip], matches: Sequence[Match]) -> Strip:
    own = Group(f"P(fake) {query.p_fake:.3f}", (Tile(decode(query.crop), f"face {query.track}"),))
    others = [
        Group(_note(clip), (Tile(decode(match.face), f"{clip.similarity:.3f} {clip.video}"),))
        for clip, match in zip(clips, matches, strict=True)
    ]
    return Strip(f"face {query.track}", (own, *others))


def _note(clip: SimilarClip) -> str:
    kind = "fake" if clip.label else "real"
    return kind if clip.p_fake is None else f"{kind}; P(fake) {clip.p_fake:.3f}"


def similar_note(files: Sequence[FilePrediction], spec: str) -> str:
    """Say what was found in all files together."""
    clips = [clip for file in files for clip in file.similar]
    if not clips:
        return f"similar: no face to compare with {one_line(spec)}"
    right = [clip.fake == bool(clip.label) for clip in clips if clip.fake is not None]
    said = f"; {sum(right)} of {len(right)} called what its labels say" if right else ""
    return (
        f"similar: {len(clips)} clips of {one_line(spec)}, "
        f"{sum(clip.label for clip in clips)} of them fake{said}"
    )


def check_spec(spec: str) -> None:
    """Raise UserError where a spec names no dataset, before anything is scored."""
    from dfbench.data.spec import parse_spec

    try:
        parse_spec(spec)
    except UserError as error:
        raise UserError(f"--similar: {error}") from error
