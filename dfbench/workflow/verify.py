"""Result cards checked against the files beside them: every number is computed again.

What is compared is listed at `check`. A number counts as equal that is equal, digit by digit, where
the card was made with the same versions on the same platform, and else within `TOLERANCE`: other
processors and versions of NumPy round the last digits otherwise.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from dfbench.config import ScoringConfig, from_dict, hash_values, to_dict, training_hash
from dfbench.degradations import parse_degradations
from dfbench.errors import UserError, one_line
from dfbench.eval.doubts import coverage_of
from dfbench.eval.measure import measure
from dfbench.eval.scores import read_scores
from dfbench.eval.table import ScoreTable
from dfbench.progress import SILENT, Reporter
from dfbench.results.card import Environment, FileHash, ResultCard, card_name, role_of
from dfbench.results.compare import ABSENT, Difference, differences
from dfbench.results.environment import environment
from dfbench.results.foreign import foreign_hash
from dfbench.results.store import BESIDE, SUFFIX, StoredCard, hash_file, hash_folder, read_stored
from dfbench.workflow.record import RECORD, read_record
from dfbench.workflow.verify_data import data_differences
from dfbench.workflow.verify_here import data_here
from dfbench.workflow.verify_protocol import protocol_differences

TOLERANCE = 1e-9
MOST_RESAMPLES = 100_000  # that a card may ask for
CHECKPOINT = Path("checkpoints") / "best"  # below the run; dfbench.train.checkpoint would bring JAX
VERSIONS = ("dfbench", "numpy", "scikit-learn")  # of packages that the numbers come from
MEASURED = ("metrics", "breakdown", "confusion", "calibration")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of one card."""

    path: Path
    differences: tuple[Difference, ...] = ()
    error: str = ""  # why the card cannot be checked
    notes: tuple[str, ...] = ()  # what is no fault of the card
    numbers: int = 0  # that were computed again
    videos: int = 0  # in its scores

    @property
    def good(self) -> bool:
        """Tell whether everything is as the card says."""
        return not self.error and not self.differences


def verify(
    paths: Sequence[Path], data_dir: Path | None = None, reporter: Reporter = SILENT
) -> list[Verdict]:
    """Check cards, or all cards below folders.

    Args:
      paths: of cards and folders.
      data_dir: prepared data of this machine, with which the cards' data are compared too.
      reporter: where progress is told.

    Raises:
      UserError: nothing is there, or a folder holds no card.
    """
    cards = list(dict.fromkeys(card for path in paths for card in _cards(path)))
    verdicts = []
    with reporter.bar("verifying", "card") as progress:
        for done, path in enumerate(cards, 1):
            verdicts.append(check(path, data_dir))
            progress(done, len(cards), path.name)
    return verdicts


def _cards(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"{path}: no such file or folder; name result cards, or folders with them")
    found = [p for p in sorted(path.rglob(f"*{SUFFIX}")) if not p.name.startswith(".")]
    if not found:
        raise UserError(f"{path}: no result card (*{SUFFIX}) below it")
    return found


def check(path: Path, data_dir: Path | None = None) -> Verdict:
    """Check one card.

    Against its schema, whatever that is; its name and role against its cell; its hashes against its
    configuration; the hashes of its files against those files; all that is computed from scores
    against those scores; the record of its training, and the checkpoint, where they are there; its
    data against its scores, and against the prepared data of this machine.
    """
    try:
        stored = read_stored(path)
        scoring = _scoring(stored.card)
    except UserError as error:
        return Verdict(path=path, error=str(error).removeprefix(f"{path}: "))
    card = stored.card
    protocol, notes = protocol_differences(card)
    table, val, files = _read_files(stored)
    found = [
        *_cell_differences(stored),
        *_hash_differences(stored),
        *protocol,
        *_run_differences(stored),
        *_oracle_differences(card),
        *files,
    ]
    numbers = 0
    if table is not None:
        again, numbers, rounded = _measured_differences(stored, table, val, scoring)
        found += again
        if rounded:
            notes.append(rounded)
        found += data_differences(card, table)
        if data_dir is not None:
            here, more = data_here(card, table, data_dir, _run_of(stored))
            found += here
            notes += more
    return Verdict(
        path=path,
        differences=tuple(found),
        notes=tuple(notes),
        numbers=numbers,
        videos=0 if table is None else sum(c.clips for c in coverage_of(table).values()),
    )


def _scoring(card: ResultCard) -> ScoringConfig:
    values = {"scoring": card.config.get("scoring", {}), "seed": card.cell.seed}
    scoring = from_dict(values, "config").scoring
    if scoring.resamples > MOST_RESAMPLES:
        raise UserError(f"{scoring.resamples} resamples are more than {MOST_RESAMPLES}")
    return scoring


def _cell_differences(stored: StoredCard) -> Iterator[Difference]:
    card, cell = stored.card, stored.card.cell
    by = "its cell gives"
    yield from differences(stored.path.name, card_name(cell), "file name", by)
    yield from differences(card.role, role_of(cell), "role", by)
    model = card.config.get("model")
    said = {
        "train": card.config.get("train", ABSENT),
        "seed": card.config.get("seed", ABSENT),
        "model": model.get("name", ABSENT) if isinstance(model, Mapping) else ABSENT,
    }
    wanted = {"train": cell.train, "seed": cell.seed, "model": cell.model}
    yield from differences(said, wanted, "config", by)
    evaluated = card.config.get("eval", ABSENT)
    if not isinstance(evaluated, list) or cell.eval not in evaluated:
        yield Difference(field="config.eval", card=evaluated, found=[cell.eval], by=by)
    degrade = [cell.degrade] if cell.degrade else []
    yield from differences(card.config.get("degrade", []), degrade, "config.degrade", by)
    if cell.degrade and not _is_degradation(cell.degrade):
        by = "a degradation is written as"
        yield Difference(field="cell.degrade", card=cell.degrade, found="jpeg:50", by=by)
    trained_here = card.origin == "run"
    if trained_here != (card.training is not None):
        yield Difference(
            field="training",
            card=ABSENT if trained_here else "a training",
            found="a training" if trained_here else ABSENT,
            by=f"its origin '{card.origin}' asks for",
        )


def _is_degradation(text: str) -> bool:
    """Return whether a text is one degradation, written as cards have it."""
    try:
        return [one.text for one in parse_degradations([text], "")] == [text]
    except UserError:
        return False


def _hash_differences(stored: StoredCard) -> Iterator[Difference]:
    card, by = stored.card, "its configuration gives"
    yield from differences(card.config_hash, hash_values(card.config), "config_hash", by)
    if card.origin == "scores":
        yield from differences(card.training_hash, foreign_hash(card.cell), "training_hash", by)
        return
    if stored.schema_version == 1:
        return  # named trainings by other settings
    try:
        config = from_dict(card.config, "config")
    except UserError:
        return  # has settings that this version does not know
    if hash_values(card.config) == hash_values(to_dict(config)):
        yield from differences(card.training_hash, training_hash(config), "training_hash", by)


def _run_of(stored: StoredCard) -> Path | None:
    """Return the folder of the run that a card lies in."""
    evals = stored.path.absolute().parents[1]
    return evals.parent if stored.card.origin == "run" and evals.name == "evals" else None


def _run_differences(stored: StoredCard) -> Iterator[Difference]:
    """Compare with the run that the card lies in, as far as that is there."""
    card, run = stored.card, _run_of(stored)
    if run is None:
        return
    if (run / CHECKPOINT).is_dir():
        yield from _hash_difference(card, "checkpoint", hash_folder(run / CHECKPOINT))
    if (run / RECORD).is_file():
        try:
            record = read_record(run)
        except UserError as error:
            why, by = str(error).removeprefix(f"{run / RECORD}: "), f"{RECORD} cannot be read:"
            yield Difference(field="training", card="a training", found=why, by=by)
            return
        said = {
            "training_hash": card.training_hash,
            "training": card.training,
            "datasets.train": card.datasets.train,
            "files.checkpoint": card.files.get("checkpoint"),
        }
        known = (record.training_hash, record.summary, record.datasets, record.checkpoint)
        for (field, one), other in zip(said.items(), known, strict=True):
            values = msgspec.to_builtins(one), msgspec.to_builtins(other)
            yield from differences(*values, field, f"{RECORD} of the run says")


def _oracle_differences(card: ResultCard) -> Iterator[Difference]:
    """Compare the gap with what it is made of; the scores of other epochs are not kept."""
    oracle, chosen = card.oracle, card.metrics.get("video_auc")
    if oracle is None:
        return
    if oracle.video_auc is not None and chosen is not None and chosen.value is not None:
        gain, by = oracle.video_auc - chosen.value, "its own numbers give"
        yield from differences(oracle.gain, gain, "oracle.gain", by)
    if card.training is not None:
        by = "its training has"
        yield from differences(oracle.epochs, card.training.epochs, "oracle.epochs", by)


def _hash_difference(card: ResultCard, key: str, found: FileHash) -> Iterator[Difference]:
    said = card.files.get(key)
    one = ABSENT if said is None else msgspec.to_builtins(said)
    yield from differences(one, msgspec.to_builtins(found), f"files.{key}", "the files give")


def _read_files(
    stored: StoredCard,
) -> tuple[ScoreTable | None, ScoreTable | None, list[Difference]]:
    """Read the scores beside a card, whose names are fixed: a card leads to no other file."""
    found: list[Difference] = []
    tables: dict[str, ScoreTable] = {}
    for key, name in BESIDE.items():
        path, field = stored.path.with_name(name), f"files.{key}"
        said = key in stored.card.files
        if path.is_symlink() or not path.is_file():
            if said or key == "scores":
                what = "a link" if path.is_symlink() else ABSENT
                by = f"beside it, as {name}, there is"
                found.append(Difference(field=field, card="a file", found=what, by=by))
            continue
        found += _hash_difference(stored.card, key, hash_file(path))
        if said:
            try:
                tables[key] = read_scores(path)
            except UserError as error:
                why = str(error).removeprefix(f"{path}: ")
                by = f"{name} cannot be read:"
                found.append(Difference(field=field, card="scores", found=why, by=by))
    return tables.get("scores"), tables.get("val_scores"), found


def _measured_differences(
    stored: StoredCard, table: ScoreTable, val: ScoreTable | None, scoring: ScoringConfig
) -> tuple[list[Difference], int, str]:
    """Return what differs, how many numbers were compared, and what may be said of rounding."""
    card = stored.card
    measured = measure(table, val, scoring, seed=card.cell.seed)
    said = {name: msgspec.to_builtins(getattr(card, name)) for name in MEASURED}
    again = {name: msgspec.to_builtins(getattr(measured, name)) for name in MEASURED}
    if stored.schema_version == 1:
        said, again = _points(said, again), _points(again, said)
    by = "the scores give"
    exact = [d for n in MEASURED if n in said for d in differences(said[n], again[n], n, by)]
    numbers = _count(again)
    other = _other_versions(card.environment)
    if not other:
        return exact, numbers, ""
    found = [
        d
        for n in MEASURED
        if n in said
        for d in differences(said[n], again[n], n, by, tolerance=TOLERANCE)
    ]
    note = ""
    if len(exact) > len(found):
        note = f"{len(exact) - len(found)} numbers differ by less than {TOLERANCE:g} ({other})"
    elif found:
        note = f"intervals may depend on versions ({other})"
    return found, numbers, note


def _points(values: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Keep what version 1 has, but for intervals, which it drew in another way."""
    return {
        "metrics": {
            name: {key: metric[key] for key in ("value", "n")}
            for name, metric in values["metrics"].items()
            if name in other["metrics"]
        }
    }


def _count(values: Any) -> int:
    if isinstance(values, Mapping):
        return sum(map(_count, values.values()))
    return int(isinstance(values, int | float))


def _other_versions(then: Environment) -> str:
    """Say what the numbers were made with that is not here; empty: nothing."""
    now = _here()
    pairs = [(name, then.packages.get(name), now.packages.get(name)) for name in VERSIONS]
    words = [f"{name} {one} there, {other} here" for name, one, other in pairs if one != other]
    if then.platform != now.platform:
        words.append("another machine")
    return ", ".join(words)


@functools.cache
def _here() -> Environment:
    return environment()


def verdict_text(verdict: Verdict) -> str:
    """Return a summary line, and below it every difference and note."""
    path = one_line(str(verdict.path))
    lines = [f"    note: {one_line(note)}" for note in verdict.notes]
    if verdict.good:
        counts = f"{verdict.numbers} numbers from the scores of {verdict.videos} videos"
        return "\n".join([f"ok      {path}: {counts}", *lines])
    if verdict.error:
        return f"FAILED  {path}: {one_line(verdict.error)}"
    count = len(verdict.differences)
    what = f"{count} difference{'s' * (count > 1)}"
    found = [f"    {one_line(str(difference))}" for difference in verdict.differences]
    return "\n".join([f"FAILED  {path}: {what}", *found, *lines])


def verdict_values(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as plain values."""
    return {
        "path": str(verdict.path),
        "good": verdict.good,
        "error": verdict.error,
        "differences": [
            {"field": d.field, "card": d.card, "found": d.found, "text": str(d)}
            for d in verdict.differences
        ],
        "notes": list(verdict.notes),
        "numbers": verdict.numbers,
        "videos": verdict.videos,
    }
