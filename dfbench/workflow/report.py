"""A run's evaluations to figures, and to a page that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tomli_w

from dfbench.config import ScoringConfig, from_dict
from dfbench.data.prepared import MARKER, Prepared, load_prepared
from dfbench.data.records import EncodedFaces
from dfbench.errors import UserError, one_line, system_errors
from dfbench.eval.samples import Scores
from dfbench.eval.scores import read_scores
from dfbench.eval.table import ScoreTable
from dfbench.faces.crop import decode
from dfbench.files import json_bytes, write_bytes
from dfbench.paths import folder_name, own_folder
from dfbench.progress import SILENT, Reporter
from dfbench.report.figures.evaluation import Crop, Evaluation
from dfbench.report.figures.page import Section, page
from dfbench.report.figures.sections import (
    Files,
    dataset_section,
    overview_section,
    robustness_section,
)
from dfbench.report.figures.style import Format
from dfbench.report.figures.wrong import timeline_rows, wrong_frames
from dfbench.results.card import DatasetFingerprint, ResultCard
from dfbench.results.store import SCORES, StoredCard, load_cards
from dfbench.train.history import read_history
from dfbench.workflow.leaks import SPLIT
from dfbench.workflow.record import read_record
from dfbench.workflow.robustness import sweeps_of
from dfbench.workflow.training import CONFIG, HISTORY

PAGE = "index.html"
REPORT = "report"  # folder in a run's
FOOTER = (
    "Made by `dfbench report` from result cards and score files alone. A score is P(fake). "
    "Datasets have licences and show people: look at both before this page is passed on."
)


def report(
    run: Path,
    *,
    data_dir: Path,
    out: Path | None = None,
    format: Format = "svg",
    faces: bool = True,
    reporter: Reporter = SILENT,
) -> list[Path]:
    """Write the figures of a run's evaluations and a page with all of them; return their paths.

    Args:
      run: Folder of a run, or one with the card and the scores of a single evaluation.
      data_dir: Prepared data, for faces and times; nothing is prepared for a report.
      out: Where to write; default: `report` in `run`.
      format: Of the figures.
      faces: Show the most wrong faces where the prepared data are here.
      reporter: Where progress is told.

    Raises:
      UserError: no finished training, no evaluation or those of several detectors in `run`, scores
        that do not belong to their card, or a file that cannot be written.
    """
    every = _cards(run)
    # Degraded crops share a section; a folder of nothing else is shown in full.
    stored = [one for one in every if not one.card.cell.degrade] or every
    sweeps = sweeps_of(every)
    evaluations = []
    for one in stored:
        reporter.say(one_line(f"reading the scores of {one.card.cell.scored}"))
        evaluations.append(_evaluation(one, data_dir, faces))
    sections: list[Section] = []
    files: Files = {}
    history = _history(run)
    settings = _settings_text(stored[0].card)
    for section, drawn in (
        overview_section(evaluations, history, settings, format),
        *([robustness_section(sweeps, format)] if sweeps else []),
        *(dataset_section(one, format) for one in evaluations),
    ):
        sections.append(section)
        files |= drawn
    card = stored[0].card
    text = page(_title(card), _lead(card), sections, FOOTER)
    out = out or own_folder(run, REPORT)
    with system_errors(out):
        for name, data in ((PAGE, text.encode()), *files.items()):
            write_bytes(out / name, data)
    return [out / PAGE, *(out / name for name in files)]


def _title(card: ResultCard) -> str:
    return f"{card.cell.model}, trained on {card.cell.train or 'unknown data'}"


def _lead(card: ResultCard) -> str:
    protocol = f", protocol {card.protocol}" if card.protocol else ""
    return f"Report of an evaluation by dfbench: seed {card.cell.seed}{protocol}."


# --- the run --------------------------------------------------------------------------------------


def _cards(run: Path) -> list[StoredCard]:
    """Return the evaluations of a run, that of its own dataset first."""
    if (run / CONFIG).is_file():
        read_record(run)  # a finished training
        if not (run / "evals").is_dir():
            raise UserError(f"{run}: not scored yet: `dfbench eval {run} --eval SPEC` does that")
    stored = load_cards([run])
    trainings = {(s.card.training_hash, s.card.cell.model, s.card.cell.seed) for s in stored}
    if len(trainings) > 1:
        raise UserError(f"{run}: holds results of {len(trainings)} trainings; name one's folder")
    return sorted(stored, key=lambda s: (s.card.role != "within", s.card.cell.eval))


def _settings_text(card: ResultCard) -> str:
    """Return a card's settings as TOML, or, where somebody's have no such form, as JSON."""
    try:
        return tomli_w.dumps(card.config)
    except (TypeError, ValueError):
        return json_bytes(card.config).decode()


def _history(run: Path) -> list[dict[str, Any]] | None:
    path = run / HISTORY
    return read_history(path) if path.is_file() else None


def _scoring(stored: StoredCard) -> ScoringConfig:
    values = {"scoring": stored.card.config.get("scoring", {})}
    return from_dict(values, str(stored.path)).scoring


def _evaluation(stored: StoredCard, data_dir: Path, faces: bool) -> Evaluation:
    card = stored.card
    scores = Scores.of(read_scores(stored.path.with_name(SCORES)), _scoring(stored))
    table, videos = scores.table, scores.videos
    here = {d.name: found for d in card.datasets.eval if (found := _find(d, data_dir))}
    wrong = [row for label in (0, 1) for row in wrong_frames(table, videos, label)]
    places = _places(table, {*wrong, *timeline_rows(videos).tolist()}, here)
    seconds = np.full(len(table), np.nan, np.float32)
    for row, place in places.items():
        seconds[row] = place.time_s
    known = [row for row in wrong if row in places]
    missing = [d.name for d in card.datasets.eval if d.name not in here]
    if card.cell.degrade:
        why = "faces are kept as they were before they were degraded"
    elif not faces:
        why = "faces were not asked for"
    elif missing:
        why = (
            f"the prepared faces of {' and '.join(missing)} that were scored are not here "
            "(`dfbench prepare` makes them, `--data-dir` says where they are)"
        )
    else:
        why = "the prepared data have none of the scored frames"
    return Evaluation(
        name=folder_name(stored.path.parent.name),
        card=card,
        scores=scores,
        seconds=seconds,
        crops=_crops(table, known, places, here) if faces and not card.cell.degrade else {},
        no_crops=why if wrong else "",
    )


# --- prepared data, where they are here -----------------------------------------------------------


@dataclass(frozen=True)
class _Place:
    """Where a scored frame is in prepared data."""

    position: int
    time_s: float


def _find(data: DatasetFingerprint, data_dir: Path) -> Prepared | None:
    """Return the prepared dataset whose crops were scored; None where it is not here."""
    for marker in sorted(data_dir.glob(f"tfds/*/*/*/{MARKER}")) if data.crops_sha256 else ():
        try:
            prepared = load_prepared(marker.parent)
        except UserError:  # of another version; it is not what was scored
            continue
        if (prepared.name, prepared.manifest.crops_sha256) == (data.name, data.crops_sha256):
            return prepared
    return None


def _places(
    table: ScoreTable, rows: Collection[int], datasets: Mapping[str, Prepared]
) -> dict[int, _Place]:
    """Return the places of those rows that are in prepared data."""
    found = {}
    for name, prepared in datasets.items():
        wanted = {
            (table.video[row], int(table.frame[row])): row
            for row in rows
            if table.dataset[row] == name
        }
        frames = prepared.frames(SPLIT)
        videos = pa.array({video for video, _ in wanted}, pa.string())
        frames = frames.filter(pc.is_in(frames["video"], videos))
        columns = [frames[c].to_pylist() for c in ("video", "frame", "position", "time_s")]
        for video, frame, position, time_s in zip(*columns, strict=True):
            if (video, frame) in wanted:
                seconds = float("nan") if time_s is None else time_s
                found[wanted[video, frame]] = _Place(position, seconds)
    return found


def _crops(
    table: ScoreTable,
    rows: Sequence[int],
    places: Mapping[int, _Place],
    datasets: Mapping[str, Prepared],
) -> dict[int, Crop]:
    crops = {}
    for name, prepared in datasets.items():
        mine = [row for row in rows if table.dataset[row] == name]
        if not mine:
            continue
        records = EncodedFaces(prepared.folder, SPLIT)
        for row in mine:
            encoded = records.face(places[row].position)
            crops[row] = Crop(encoded, prepared.manifest.recipe.format, decode(encoded))
    return crops
