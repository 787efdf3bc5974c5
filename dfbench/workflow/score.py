"""A detector from anywhere, by its scores: checked against a dataset, measured, given a card."""

from __future__ import annotations

import csv
import dataclasses
import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dfbench.config import DataConfig, ScoringConfig, hash_values
from dfbench.data.audit import find_overlap
from dfbench.data.catalog import load_builder
from dfbench.data.clips import clip_table
from dfbench.data.keys import clip_key
from dfbench.data.prepared import Prepared
from dfbench.data.roster import Roster, prepared_roster, raw_roster
from dfbench.data.shelf import any_prepared
from dfbench.data.spec import Spec, parse_spec
from dfbench.errors import UserError, system_errors
from dfbench.eval.doubts import below_chance, coverage_of, warnings_of
from dfbench.eval.matching import Rules, labelled, match
from dfbench.eval.measure import measure
from dfbench.eval.scores import write_scores
from dfbench.eval.submission import Kind, quoted, read_submission
from dfbench.eval.table import UNDETECTED, ScoreTable
from dfbench.faces.clip import Split
from dfbench.paths import folder_name
from dfbench.progress import SILENT, Reporter
from dfbench.results.card import (
    Audit,
    Cell,
    Datasets,
    FileHash,
    ResultCard,
    Times,
    card_name,
    eval_folder,
    role_of,
)
from dfbench.results.environment import environment
from dfbench.results.foreign import foreign_config, foreign_hash
from dfbench.results.store import BESIDE, hash_file, write_card
from dfbench.workflow.leaks import SPLIT, audit_of, refuse_leak
from dfbench.workflow.mirrored import fetch_evaluation, keep_evaluation
from dfbench.workflow.places import Places
from dfbench.workflow.preparation import prepare_spec

LONGEST_NAME = 100
SEEN: tuple[Split, ...] = ("train", "val")  # splits that a training sees


@dataclass(frozen=True, kw_only=True)
class HandedIn:
    """Scores that are handed in, and what is said of them."""

    scores: Path
    dataset: str  # spec of what was scored
    detector: str  # name
    train: str = ""  # what it was trained on: a spec, any text, or nothing
    seed: int = 0  # tells repeated trainings apart
    kind: Kind | None = None  # of a column `score`
    val: Path | None = None  # scores of the training dataset's val split
    raw: Path | None = None  # raw download, where the dataset is not prepared
    rules: Rules = field(default_factory=Rules)
    data: DataConfig = field(default_factory=DataConfig)
    scoring: ScoringConfig = field(default_factory=ScoringConfig)
    protocol: str | None = None


@dataclass(frozen=True)
class Side:
    """The data of one side of a cell."""

    roster: Roster
    prepared: tuple[Prepared, ...]  # none: listed from a raw download
    other_variants: tuple[str, ...]


def score(
    handed: HandedIn,
    places: Places,
    *,
    allow_leak: bool = False,
    overwrite: bool = False,
    reporter: Reporter = SILENT,
) -> tuple[ResultCard, Path]:
    """Check and measure handed-in scores; return the card and its path.

    Writes `scores.parquet`, `val_scores.parquet` and the card below `places.runs_dir`.

    Raises:
      SubmissionError: everything that is wrong with a file of scores.
      UserError: a wrong name or spec, data that cannot be used, a result that is there already, or,
        without `allow_leak`, test clips that were trained on.
    """
    cell = _cell(handed)
    folder = places.runs_dir / _run_name(cell) / "evals" / eval_folder(cell)
    path = folder / card_name(cell)
    fetch_evaluation(places, folder, reporter)
    if path.exists() and not overwrite:
        raise UserError(f"{path}: there already; --overwrite scores again")
    submission = read_submission(handed.scores, handed.kind)
    tested = side(handed.dataset, handed.data, places, reporter, raw=handed.raw)
    table = match(
        handed.scores,
        submission,
        tested.roster.clips,
        split=SPLIT,
        other_variants=tested.other_variants,
        rules=handed.rules,
    )
    trained = _trained_side(handed, places, reporter)
    audit = _audit(handed, trained, tested, allow_leak=allow_leak)
    val = None if handed.val is None else _val_table(handed, handed.val, trained)
    reporter.say(f"measuring {len(table):,} scores of {handed.dataset}")
    measured = measure(table, val, handed.scoring, seed=cell.seed)
    config = foreign_config(cell, handed.scoring)
    card = ResultCard(
        cell=cell,
        role=role_of(cell),
        config=config,
        config_hash=hash_values(config),
        training_hash=foreign_hash(cell),
        datasets=Datasets(
            train=trained.roster.datasets if trained else (), eval=tested.roster.datasets
        ),
        metrics=measured.metrics,
        breakdown=measured.breakdown,
        confusion=measured.confusion,
        calibration=measured.calibration,
        coverage=coverage_of(table),
        training=None,
        audit=audit,
        environment=environment(),
        times=Times(
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            scoring_seconds=None,
            images_per_s=None,
        ),
        files={},
        warnings=warnings_of(table, submission.kind),
        protocol=handed.protocol,
        origin="scores",
    )
    with system_errors(folder):
        card = _write(card, path, table, val)
    keep_evaluation(places, folder, reporter)
    return card, path


def _write(card: ResultCard, path: Path, table: ScoreTable, val: ScoreTable | None) -> ResultCard:
    """Write scores and card, the card last."""
    path.unlink(missing_ok=True)
    files: dict[str, FileHash] = {}
    for key, one in (("scores", table), ("val_scores", val)):
        file = path.with_name(BESIDE[key])
        if one is None:
            file.unlink(missing_ok=True)
        else:
            write_scores(one, file)
            files[key] = hash_file(file)
    card = dataclasses.replace(card, files=files)
    write_card(card, path)
    return card


def _cell(handed: HandedIn) -> Cell:
    detector, train = handed.detector.strip(), handed.train.strip()
    for option, text in (("--detector", detector), ("--train", train)):
        if len(text) > LONGEST_NAME or not text.isprintable():
            raise UserError(
                f"{option} '{text[:LONGEST_NAME]}': at most {LONGEST_NAME} printable letters"
            )
    if not detector:
        raise UserError("--detector is empty: say what the detector is called")
    if not 0 <= handed.seed < 2**31:
        raise UserError(f"--seed {handed.seed} must be from 0 to {2**31 - 1}")
    return Cell(model=detector, train=train, eval=handed.dataset, seed=handed.seed)


def _run_name(cell: Cell) -> str:
    names = (folder_name(cell.model), folder_name(cell.train or "unknown"), f"s{cell.seed}")
    return "--".join((*names, "scores"))


def side(
    text: str,
    data: DataConfig,
    places: Places,
    reporter: Reporter = SILENT,
    *,
    raw: Path | None = None,
) -> Side:
    """Return the clips of a spec, of prepared data or of a raw download.

    Raises:
      UserError: a wrong spec, or data that cannot be used.
    """
    specs = parse_spec(text)
    if raw is None:
        for spec in specs:
            _require_prepared(spec, places)
        prepared = prepare_spec(text, data, places, reporter)
        return Side(prepared_roster(prepared), prepared, _other_variants(specs))
    if len(specs) > 1:
        raise UserError(f"{text}: --raw is the folder of one dataset")
    return Side(raw_roster(specs[0], raw), (), _other_variants(specs))


def _require_prepared(spec: Spec, places: Places) -> None:
    """Raise UserError where a dataset has a download that nobody prepared here.

    Any preparation does: `prepare_spec` says which there are where this is another.
    """
    cls = load_builder(spec.name)
    if (
        spec.path is None
        and not cls.raw_key("default")
        and not any_prepared(cls, spec, places.data_dir, places.data_mirror)
    ):
        raise UserError(
            f"{spec.text} is not prepared here: name its download by --raw DIR, which is listed "
            f"and not decoded, or prepare it (`dfbench prepare {spec.name} --raw DIR`)"
        )


def _other_variants(specs: Sequence[Spec]) -> tuple[str, ...]:
    found = []
    for spec in specs:
        cls = load_builder(spec.name)
        own = cls.variant_of(spec) if cls.VARIANTS else ""
        found += [variant for variant in cls.VARIANTS if variant != own]
    return tuple(found)


def _trained_side(handed: HandedIn, places: Places, reporter: Reporter) -> Side | None:
    """Return the training data where they are here; say so where they are not."""
    text = handed.train.strip()
    if not text:
        return None
    try:
        parse_spec(text)
    except UserError as error:
        reporter.say(f"--train {quoted(text)} is taken as a description: {error}")
        return None
    raw = handed.raw if text == handed.dataset else None
    try:
        return side(text, handed.data, places, reporter, raw=raw)
    except UserError as error:
        reporter.say(f"what was trained on cannot be compared: {error}")
        return None


def _audit(
    handed: HandedIn, trained: Side | None, tested: Side, *, allow_leak: bool
) -> Audit | None:
    """Compare both sides where the crops of both are here."""
    if trained is None or not (trained.prepared and tested.prepared):
        return None
    overlap = find_overlap(
        clip_table(trained.prepared, SEEN), clip_table(tested.prepared, (SPLIT,))
    )
    if not allow_leak:
        refuse_leak(overlap, handed.train, handed.dataset)
    return audit_of(overlap)


def _val_table(handed: HandedIn, path: Path, trained: Side | None) -> ScoreTable:
    """Return the scores of the training dataset's val split.

    Raises:
      UserError: they cannot be used, or are of the wrong class.
    """
    submission = read_submission(path, handed.kind)
    if trained is None:
        table = labelled(path, submission, dataset=handed.train or "unknown", split="val")
    else:
        table = match(
            path,
            submission,
            trained.roster.clips,
            split="val",
            other_variants=trained.other_variants,
            rules=handed.rules,
        )
    auc, below = below_chance(table)
    if below:
        raise UserError(
            f"{path}: video AUC {auc:.3f} on what the detector was trained on: these are scores of "
            "real; hand in scores of fake, 1 - p or -logit, in both files"
        )
    return table


def write_template(
    spec: str,
    out: Path,
    places: Places,
    *,
    data: DataConfig | None = None,
    raw: Path | None = None,
    reporter: Reporter = SILENT,
) -> int:
    """Write the table that `score` wants of a dataset, with empty scores; return its rows.

    Of prepared data it has a row a crop; a video without one has its row with frame -1. Of a raw
    download it has a row a video, with the path of its file. No labels: a detector needs none.

    Raises:
      UserError: a wrong spec, data that cannot be used, or `out` is there or cannot be written.
    """
    if out.exists():
        raise UserError(f"{out}: there already; name another file")
    tested = side(spec, data or DataConfig(), places, reporter, raw=raw)
    clips = tested.roster.of(SPLIT)
    columns: dict[str, list[Any]] = {"video": [clip.key for clip in clips]}
    if tested.prepared:
        rows = [
            (clip_key(one.name, video), frame)
            for one in tested.prepared
            for video, frame in [
                *zip(*(one.frames(SPLIT)[n].to_pylist() for n in ("video", "frame")), strict=True),
                *((missed.video, UNDETECTED) for missed in one.missed(SPLIT)),
            ]
        ]
        columns = {"video": [key for key, _ in rows], "frame": [frame for _, frame in rows]}
    else:
        columns["path"] = [clip.path for clip in clips]
    with system_errors(out), out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*columns, "p_fake"])
        writer.writerows((*row, "") for row in zip(*columns.values(), strict=True))
    return len(columns["video"])
