"""Result cards and their scores from run folders into one place, to be shown and checked."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dfbench.errors import UserError, system_errors
from dfbench.paths import folder_name
from dfbench.results.card import card_name, eval_folder
from dfbench.results.merge import completeness, is_copy, merge, result_hash
from dfbench.results.store import BESIDE, StoredCard, read_cards, read_stored


@dataclass(frozen=True, kw_only=True)
class Collected:
    """What became of the cards."""

    copied: int
    there: int  # results that the folder had before
    copies: int  # cards that say what another one says
    partial: tuple[StoredCard, ...]  # cards that lack the scores they were computed from


def collect(dirs: Sequence[Path], results: Path) -> Collected:
    """Copy the cards below `dirs`, with the scores beside them, into a folder a cell.

    Checkpoints stay where they are: numbers can be computed again without them. What is in
    `results` stays: another result of a cell comes beside it. Only a card of the very same scores
    is replaced by one that says more of them. Several machines may do this at a time.

    Raises:
      UserError: a card cannot be read, none has its scores beside it, or a file cannot be written.
    """
    merged = merge(read_cards(dirs))
    found = merged.results
    whole = [one for one in found if not one.missing]
    partial = tuple(one for one in found if one.missing and not _there(one, results))
    if partial and not whole:
        first = partial[0]
        raise UserError(
            f"{first.path}: {first.missing[0]} is not beside it, and without it nobody can compute "
            "its numbers again; score again with `dfbench eval --overwrite`"
        )
    with system_errors(results):
        copied = sum([_put(one, results) for one in whole])
    there = len(found) - copied - len(partial)
    return Collected(copied=copied, there=there, copies=merged.copies, partial=partial)


def _put(stored: StoredCard, results: Path) -> bool:
    """Copy a card to its place, or beside what is there; return whether anything changed."""
    if there := _there(stored, results):
        if completeness(there) >= completeness(stored):
            return False
        with _copy(stored, there.path.parent) as unfinished:
            for file in sorted(unfinished.iterdir(), key=lambda file: file.name == there.path.name):
                file.replace(there.path.with_name(file.name))  # the card comes last
        return True
    for folder in _places(stored, results):
        with _copy(stored, folder) as unfinished:
            try:
                unfinished.rename(folder)
                return True
            except OSError:
                if not folder.exists():
                    raise
    if _there(stored, results):  # another process was faster
        return False
    raise UserError(f"{folder}: holds another result than its name says; delete it")


def _there(stored: StoredCard, results: Path) -> StoredCard | None:
    """Return the same result in the folder."""
    paths = [folder / card_name(stored.card.cell) for folder in _places(stored, results)]
    cards = [read_stored(path) for path in paths if path.is_file()]
    return next((one for one in cards if is_copy(one.card, stored.card)), None)


def _places(stored: StoredCard, results: Path) -> tuple[Path, Path]:
    """Return a folder for the training and, in it, one for what was scored; and one of its own.

    The second is for a result that comes after another one of the same cell.
    """
    cell = stored.card.cell
    made = f"{cell.model}-{cell.train or 'unknown'}-s{cell.seed}"
    training = f"{folder_name(made)}-{folder_name(stored.card.training_hash)}"
    own = f"{training}-{result_hash(stored.card)}"
    return results / training / eval_folder(cell), results / own / eval_folder(cell)


@contextlib.contextmanager
def _copy(stored: StoredCard, folder: Path) -> Iterator[Path]:
    """Copy a card and its scores into a folder beside `folder`, which is gone afterwards."""
    unfinished = folder.with_name(f".{folder.name}.{socket.gethostname()}-{os.getpid()}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        for key, name in BESIDE.items():
            if key in stored.card.files:
                shutil.copyfile(stored.path.with_name(name), unfinished / name)
        shutil.copyfile(stored.path, unfinished / card_name(stored.card.cell))
        yield unfinished
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
