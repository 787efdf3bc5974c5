"""Result cards on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec

from dfbench.config import Aggregate
from dfbench.errors import UserError
from dfbench.files import decode_plain, json_bytes, write_bytes
from dfbench.results.card import SCHEMA_VERSION, FileHash, ResultCard
from dfbench.results.merge import merge
from dfbench.results.versions import upgrade

SUFFIX = ".card.json"
SCORES = "scores.parquet"  # beside the card that speaks of it
VAL_SCORES = "val_scores.parquet"  # of the training dataset's val split; beside it too
BESIDE = {"scores": SCORES, "val_scores": VAL_SCORES}  # names in `ResultCard.files`
MOST_BYTES = 16 * 2**20  # of a card


@dataclass(frozen=True)
class StoredCard:
    """A card and the file it came from."""

    path: Path
    card: ResultCard
    schema_version: int = SCHEMA_VERSION  # that the file has

    @property
    def missing(self) -> list[str]:
        """Names of the score files that the card speaks of and that are not beside it."""
        names = (name for key, name in BESIDE.items() if key in self.card.files)
        return [name for name in names if not self.path.with_name(name).is_file()]


def write_card(card: ResultCard, path: Path) -> None:
    """Write a card as indented JSON; the file appears whole or not at all.

    Raises:
      ValueError: the card would not read back as it is (JSON knows no NaN and no infinity).
    """
    encoded = json_bytes(card, indent=2)
    try:
        back = msgspec.json.decode(encoded, type=ResultCard)
    except msgspec.ValidationError as error:
        raise ValueError(
            f"{path.name}: {error}; is a number of the card NaN or infinite?"
        ) from error
    if msgspec.to_builtins(back) != msgspec.to_builtins(card):
        raise ValueError(f"{path.name}: a value of the card has no JSON form (NaN, or infinite?)")
    write_bytes(path, encoded)


def read_card(path: Path) -> ResultCard:
    """Read a card and check the type of every field; one of an earlier version is upgraded.

    Raises:
      UserError: no such file, no JSON, another schema version, a missing, wrong or unknown field.
    """
    return read_stored(path).card


def read_stored(path: Path) -> StoredCard:
    """Read a card as `read_card` does, with the version that its file has.

    Raises:
      UserError: as `read_card`.
    """
    raw = _read_json(path)
    try:
        current = upgrade(raw)
        card = msgspec.convert(current, ResultCard)
        _check_scoring(card)
    except msgspec.ValidationError as error:
        raise UserError(f"{path}: not a valid result card: {error}") from error
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
    unknown = _unknown(current, msgspec.to_builtins(card), "$")
    if unknown:
        raise UserError(
            f"{path}: not a valid result card: field `{unknown}` is unknown to this version of "
            "dfbench"
        )
    return StoredCard(path, card, raw["schema_version"])


@dataclass(frozen=True)
class _Scoring:
    """What pages take from a card's settings; earlier versions had the defaults alone."""

    confidence: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.95
    aggregate: Aggregate = "mean"
    top_k: Annotated[int, msgspec.Meta(gt=0)] = 5


def _check_scoring(card: ResultCard) -> None:
    try:
        msgspec.convert(card.config.get("scoring", {}), _Scoring)
    except msgspec.ValidationError as error:
        raise msgspec.ValidationError(f"config.scoring: {error}") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise UserError(f"{path}: {size} bytes are no result card")
        if not path.is_file():  # a pipe would keep a reader waiting, a device has no end
            raise UserError(f"{path}: not a file")
        raw = decode_plain(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        raise UserError(f"{path}: not a JSON file: {error}") from error
    if not isinstance(raw, dict):
        raise UserError(f"{path}: not a result card: it has no 'schema_version'")
    return raw


def _unknown(raw: Any, known: Any, place: str) -> str:
    """Return the place of the first field of `raw` that did not become a part of the card."""
    if isinstance(raw, list):
        pairs = [(f"{place}[{i}]", *both) for i, both in enumerate(zip(raw, known, strict=True))]
    elif isinstance(raw, dict):
        for key in raw:
            if key not in known:
                return f"{place}.{key}"
        pairs = [(f"{place}.{key}", value, known[key]) for key, value in raw.items()]
    else:
        return ""
    return next((found for p, r, k in pairs if (found := _unknown(r, k, p))), "")


def load_cards(dirs: Sequence[Path]) -> list[StoredCard]:
    """Read every `*.card.json` below the folders, sorted by cell; of a place the newest alone.

    Raises:
      UserError: as `read_cards`.
    """
    return sorted(merge(read_cards(dirs)).cards, key=sort_key)


def read_cards(dirs: Sequence[Path]) -> list[StoredCard]:
    """Read every `*.card.json` below the folders, each file once.

    Raises:
      UserError: a folder does not exist or holds no card; a card cannot be read, or the scores
        beside it are not those it was computed from.
    """
    found: dict[Path, StoredCard] = {}
    for folder in dirs:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; name one that holds result cards")
        paths = card_paths(folder)
        if not paths:
            raise UserError(
                f"{folder}: no result card (*{SUFFIX}) below it; `dfbench run` and `dfbench eval` "
                "write them"
            )
        for path in paths:
            if (place := path.resolve()) not in found:
                stored = read_stored(path)
                _check_scores(stored)
                found[place] = stored
    return list(found.values())


def card_paths(folder: Path) -> list[Path]:
    """Return the files that are called cards, but for what a kill left unfinished."""
    paths = sorted(folder.rglob(f"*{SUFFIX}"))
    return [
        path for path in paths if not any(p.startswith(".") for p in path.relative_to(folder).parts)
    ]


def _check_scores(stored: StoredCard) -> None:
    for key, name in BESIDE.items():
        scores, wanted = stored.path.with_name(name), stored.card.files.get(key)
        if wanted and scores.is_file() and hash_file(scores) != wanted:
            raise UserError(
                f"{stored.path}: {name} beside it is not the file that the card was computed "
                "from; score again with `dfbench eval --overwrite`, or delete one of them"
            )


def sort_key(stored: StoredCard) -> tuple[object, ...]:
    """Order cards by cell, then configuration."""
    cell = stored.card.cell
    what = (cell.model, cell.train, cell.eval, cell.degrade, cell.seed)
    return (*what, stored.card.config_hash, stored.card.times.created, stored.path.as_posix())


def hash_file(path: Path) -> FileHash:
    """Return the content hash and size of a file."""
    return FileHash(sha256=sha256_file(path), bytes=path.stat().st_size)


def hash_folder(folder: Path) -> FileHash:
    """Return one hash for all files of a folder, by name and content, and their size together."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(folder).as_posix()}:{sha256_file(path)}\n".encode())
    return FileHash(sha256=digest.hexdigest(), bytes=sum(path.stat().st_size for path in files))


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's content, as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
