"""Numbers from papers and reports: read, checked, and told apart from our own."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from dfbench.errors import UserError, nearest
from dfbench.report.matrix import plain

METRICS = {"auc": "AUC", "accuracy": "accuracy", "log_loss": "log loss", "map": "mAP"}
LEVELS = ("video", "frame", "unknown")
NOTICE = (
    "Numbers from papers and reports, as their authors give them. They were made with other crops, "
    "splits, frames and choices of the checkpoint, have no intervals, and are neither ranked nor "
    "comparable with the results above."
)


@dataclass(frozen=True, kw_only=True)
class PublishedResult:
    """One number from a paper or a report; the fields are the columns of the files."""

    source: str
    year: int | None
    detector: str
    train: str
    eval: str
    metric: str
    level: str  # what was counted
    value: float
    protocol: str  # how it was made, as far as is known
    note: str
    checked: bool  # read from the source
    system: str = ""  # of ours, as `protocol/system`; several with spaces between

    @property
    def systems(self) -> tuple[tuple[str, str], ...]:
        """Protocols of ours, each with the system in it that is made after this detector."""
        parts = (place.partition("/") for place in self.system.split())
        return tuple((protocol, system) for protocol, _, system in parts)

    @property
    def within(self) -> bool:
        """Scored on the dataset that it was trained on."""
        return self.train == self.eval


@dataclass(frozen=True, kw_only=True)
class PublishedTable:
    """The numbers of one source and metric: rows are detectors, columns are evaluated sets."""

    source: str
    metric: str
    levels: tuple[str, ...]
    protocols: tuple[str, ...]
    rows: tuple[tuple[str, str, str], ...]  # detector, training set, note
    columns: tuple[str, ...]
    values: dict[tuple[int, int], PublishedResult]

    @property
    def warning(self) -> str:
        """What a reader has to know before comparing."""
        parts = {
            "frame": "frames counted, not videos",
            "video": "videos counted",
            "unknown": "whether frames or videos were counted is not known",
        }
        return "; ".join([*(parts[level] for level in self.levels), *self.protocols])


COLUMNS = tuple(field.name for field in fields(PublishedResult))


def published_folder() -> Path:
    """Return where the numbers lie: in the checkout, or in the installed package."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent / "leaderboard" / "published"
    return checkout if checkout.is_dir() else package / "_published"


def read_published(folder: Path) -> tuple[PublishedResult, ...]:
    """Read every CSV file of a folder, by name; a folder that is not there holds none.

    Raises:
      UserError: a file that cannot be read, or a column or value that is wrong; the message names
        file, row (the first below the head is 2) and column.
    """
    found = []
    for path in sorted(folder.glob("*.csv")):
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                lines = list(csv.reader(file, strict=True))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise UserError(f"{path}: cannot read as CSV in UTF-8: {error}") from error
        if not lines or tuple(lines[0]) != COLUMNS:
            raise UserError(f"{path}: row 1: the columns must be {','.join(COLUMNS)}")
        found += [_result(path, number, line) for number, line in enumerate(lines[1:], start=2)]
    return tuple(found)


def _result(path: Path, number: int, line: Sequence[str]) -> PublishedResult:
    if len(line) != len(COLUMNS):
        raise UserError(f"{path}: row {number}: {len(line)} values for {len(COLUMNS)} columns")
    row = {name: text.strip() for name, text in zip(COLUMNS, line, strict=True)}

    def wrong(name: str, rule: str) -> UserError:
        return UserError(f"{path}: row {number}, column '{name}': '{row[name]}' {rule}")

    def one_of(name: str, known: Sequence[str]) -> None:
        if row[name] not in known:
            raise wrong(name, f"is none of {', '.join(known)}{nearest(row[name], known)}")

    if any(place.count("/") != 1 for place in row["system"].split()):
        raise wrong("system", "is no protocol/system; leave it empty if there is none")
    for name in ("source", "detector", "train", "eval", "protocol"):
        if not row[name]:
            raise wrong(name, "must not be empty")
    one_of("metric", tuple(METRICS))
    one_of("level", LEVELS)
    one_of("checked", ("yes", "no"))
    if row["year"] and not (row["year"].isdecimal() and len(row["year"]) == 4):
        raise wrong("year", "is no year; leave it empty if it is not known")
    try:
        value = float(row["value"])
    except ValueError as error:
        raise wrong("value", "is not a number") from error
    highest = float("inf") if row["metric"] == "log_loss" else 1.0
    if not (0 <= value <= highest and value != float("inf")):
        raise wrong("value", "must be a fraction from 0 to 1, not a percentage")
    return PublishedResult(
        source=row["source"],
        year=int(row["year"]) if row["year"] else None,
        detector=row["detector"],
        train=row["train"],
        eval=row["eval"],
        metric=row["metric"],
        level=row["level"],
        value=value,
        protocol=row["protocol"],
        note=row["note"],
        checked=row["checked"] == "yes",
        system=row["system"],
    )


def published_tables(results: Sequence[PublishedResult]) -> tuple[PublishedTable, ...]:
    """Arrange numbers by source and metric, in the order in which the files have them.

    Of two numbers of one place both rows are kept.
    """
    groups: dict[tuple[str, str], list[PublishedResult]] = {}
    for one in results:
        groups.setdefault((one.source, one.metric), []).append(one)
    return tuple(_table(source, metric, group) for (source, metric), group in groups.items())


def _table(source: str, metric: str, group: Sequence[PublishedResult]) -> PublishedTable:
    columns = tuple(dict.fromkeys(one.eval for one in group))
    rows: list[tuple[str, str, str]] = []
    values: dict[tuple[int, int], PublishedResult] = {}
    # A note belongs to the row where all numbers of a detector have it.
    for (detector, train), own in _by_detector(group).items():
        notes = {one.note for one in own}
        note = notes.pop() if len(notes) == 1 else ""
        first = len(rows)
        for one in own:
            j = columns.index(one.eval)
            i = first
            while (i, j) in values:
                i += 1
            if i == len(rows):
                rows.append((detector, train, note))
            values[i, j] = one
    return PublishedTable(
        source=source,
        metric=metric,
        levels=tuple(dict.fromkeys(one.level for one in group)),
        protocols=tuple(dict.fromkeys(one.protocol for one in group)),
        rows=tuple(rows),
        columns=columns,
        values=values,
    )


def _by_detector(
    group: Sequence[PublishedResult],
) -> dict[tuple[str, str], list[PublishedResult]]:
    found: dict[tuple[str, str], list[PublishedResult]] = {}
    for one in group:
        found.setdefault((one.detector, one.train), []).append(one)
    return found


def value_notes(table: PublishedTable) -> list[str]:
    """Return one line for each number with a note of its own, or that could not be checked."""
    lines: dict[str, list[str]] = {}
    for (i, j), one in sorted(table.values.items()):
        detector, _, note = table.rows[i]
        text = one.note if one.note != note else ""
        if not one.checked:
            text = text or "could not be checked"
        if text:
            lines.setdefault(f"{'' if one.checked else '?: '}{text}", []).append(
                f"{detector} on {table.columns[j]}"
            )
    return [plain(f"{text}: {', '.join(places)}") for text, places in lines.items()]
