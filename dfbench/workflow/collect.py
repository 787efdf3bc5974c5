"""Result cards and their scores from run folders into one place, to be shown and checked."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from dfbench.errors import UserError
from dfbench.paths import folder_name
from dfbench.results.card import card_name, eval_folder
from dfbench.results.store import BESIDE, StoredCard, load_cards


def collect(dirs: Sequence[Path], results: Path) -> int:
    """Copy the cards below `dirs`, with the scores beside them, into a folder a cell.

    Checkpoints stay where they are: numbers can be computed again without them. A cell that is
    there already is replaced by a newer card of it.

    Returns:
      How many cards were copied.

    Raises:
      UserError: a card cannot be read, or lacks the scores that it was computed from.
    """
    copied = 0
    for stored in load_cards([*dirs, *([results] if results.is_dir() else [])]):
        folder = results / _place(stored)
        there = folder / card_name(stored.card.cell)
        if there.is_file() and there.read_bytes() == stored.path.read_bytes():
            continue
        for key, name in BESIDE.items():
            if key in stored.card.files and not stored.path.with_name(name).is_file():
                raise UserError(
                    f"{stored.path}: {name} is not beside it, and without it nobody can compute "
                    "its numbers again; score again with `dfbench eval --overwrite`"
                )
        work = folder.with_name(f".{folder.name}.unfinished")
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        for key, name in BESIDE.items():
            if key in stored.card.files:
                shutil.copyfile(stored.path.with_name(name), work / name)
        shutil.copyfile(stored.path, work / there.name)
        shutil.rmtree(folder, ignore_errors=True)
        work.rename(folder)
        copied += 1
    return copied


def _place(stored: StoredCard) -> Path:
    """Return a folder for the training and, in it, one for what was scored."""
    cell = stored.card.cell
    made = f"{cell.model}-{cell.train or 'unknown'}-s{cell.seed}"
    return Path(f"{folder_name(made)}-{stored.card.training_hash}") / eval_folder(cell)
