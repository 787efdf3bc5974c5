"""Official lists: the user's own copy, else fetched with a checksum; never guessed."""

from __future__ import annotations

import csv
import json
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from dfbench.download import Checksum, DownloadError, download
from dfbench.errors import UserError
from dfbench.faces.clip import Split
from dfbench.faces.folders import hash_place
from dfbench.paths import lists_dir

_LARGEST = 10_000_000  # bytes
Read = TypeVar("Read")


@dataclass(frozen=True, kw_only=True)
class OfficialList:
    """A file that says which clip is in which split."""

    name: str
    url: str = ""  # empty: it comes with the download alone
    sha256: str = ""
    places: tuple[str, ...] = ("", "splits")  # folders below the raw folder where it may lie


def find_list(raw: Path, wanted: OfficialList, dataset: str) -> Path:
    """Return the user's copy of a list, else the cached one, else fetch it.

    Raises:
      UserError: it is nowhere, and cannot be fetched.
    """
    for place in wanted.places:
        if (path := raw / place / wanted.name).is_file():
            return path
    if not wanted.url:
        raise UserError(
            f"{raw / wanted.places[0] / wanted.name}: no such file; {dataset} comes with this "
            "list, and without it nobody knows which clip is in which split"
        )
    cached, checksum = lists_dir() / dataset / wanted.name, Checksum("sha256", wanted.sha256)
    if not checksum.matches(cached):
        try:
            download(wanted.url, cached, checksum, largest=_LARGEST)
        except DownloadError as error:
            raise UserError(
                f"{dataset} needs its official list {wanted.name}, which is not in {raw}: {error}; "
                f"put a copy of {wanted.url} there"
            ) from error
    return cached


def read_lines(path: Path) -> list[str]:
    """Return the lines that hold something, without the byte-order mark that some lists have.

    Raises:
      UserError: the file cannot be read as text.
    """
    return _read(path, _lines)


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
      UserError: the file cannot be read, or is no JSON.
    """
    return _read(path, json.loads)


def read_object(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file that holds an object.

    Raises:
      UserError: the file cannot be read, is no JSON, or holds something else.
    """
    found = read_json(path)
    if not isinstance(found, dict):
        raise UserError(f"{path}: not an object with an entry a file")
    return found


def read_rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Return the rows of a CSV file; without a header, it has exactly `columns`, in this order.

    Raises:
      UserError: the file cannot be read, or lacks a column; the message says from which row on.
    """

    def parse(text: str) -> list[dict[str, str]]:
        lines = _lines(text)
        first = next(csv.reader(lines), [])
        bare = len(first) == len(columns) and not set(first) & set(columns)
        return list(csv.DictReader(lines, fieldnames=columns if bare else None))

    rows = _read(path, parse)
    wanted = ", ".join(columns)
    if not rows:
        raise UserError(f"{path}: no row; expected the columns {wanted}")
    for number, row in enumerate(rows, 1):
        for column in columns:
            if row.get(column) is None:
                where = "" if number == 1 else f", row {number}"
                raise UserError(f"{path}{where}: no column '{column}'; expected {wanted}")
    return rows


def _read(path: Path, parse: Callable[[str], Read]) -> Read:
    try:
        return parse(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error
    except (ValueError, csv.Error, RecursionError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error


def require_count(path: Path, found: int, official: int, what: str) -> None:
    """Refuse a list that is not whole.

    Raises:
      UserError: more or fewer entries than there are officially.
    """
    if found != official:
        change = f"{official - found} are missing" if found < official else "that is too many"
        raise UserError(
            f"{path}: {found} {what} instead of {official}, {change}; get the official list again"
        )


def carve(group: str, *, val: float = 0.15) -> Split:
    """Put a group of the training clips into "train" or "val" by the hash of its name."""
    return "val" if hash_place(group) < val else "train"


def only_in(mapping: Mapping[str, Any], key: str, path: Path) -> Any:
    """Return a value of a JSON object.

    Raises:
      UserError: the object lacks the key.
    """
    try:
        return mapping[key]
    except (KeyError, TypeError) as error:
        raise UserError(f"{path}: no '{key}' in {reprlib.repr(mapping)}") from error
