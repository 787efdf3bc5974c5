"""Crops as image files with labels, for tools that read folders.

Two forms of annotation, those of the CVCS-DFD report: a text file beside each image that holds its
label, 0 real or 1 fake, and for each split a list with a line `path label` an image.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from dfbench.data.prepared import Prepared, column
from dfbench.data.records import EncodedFaces
from dfbench.errors import UserError, system_errors
from dfbench.faces.clip import SPLITS
from dfbench.progress import Progress

SUFFIXES = {"jpeg": ".jpg", "png": ".png"}


def export(datasets: Sequence[Prepared], out: Path, *, progress: Progress | None = None) -> int:
    """Write the crops of a union, whole or not at all.

    Args:
      datasets: prepared.
      out: gets `train/`, `val/`, `test/` with images and their text files, and `train.txt` and so
        on with a line an image.
      progress: called with the number of written images.

    Returns:
      How many images there are.

    Raises:
      UserError: `out` is there already, or cannot be written.
    """
    if out.exists():
        raise UserError(f"{out}: already there; name a folder that is not")
    work = out.with_name(f".{out.name}.unfinished")
    try:
        with system_errors(out):
            shutil.rmtree(work, ignore_errors=True)
            count = _write(datasets, work, progress)
            work.rename(out)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return count


def _write(datasets: Sequence[Prepared], out: Path, progress: Progress | None) -> int:
    total = sum(len(d.frames(split)) for d in datasets for split in SPLITS)
    done = 0
    for split in SPLITS:
        lines = []
        (out / split).mkdir(parents=True)
        for dataset in datasets:
            table = dataset.frames(split)
            if not len(table):
                continue
            suffix = SUFFIXES[dataset.manifest.recipe.format]
            source = EncodedFaces(dataset.folder, split)
            for position, video, frame, label in zip(
                *(column(table, name) for name in ("position", "video", "frame", "label")),
                strict=True,
            ):
                name = f"{_plain(f'{dataset.name}/{video}')}_{position:07d}_f{frame:06d}"
                path = out / split / f"{name}{suffix}"
                path.write_bytes(source.face(int(position)))
                path.with_suffix(".txt").write_text(f"{label}\n", encoding="utf-8")
                lines.append(f"{split}/{path.name} {label}\n")
                done += 1
                if progress is not None:
                    progress(done, total)
        (out / f"{split}.txt").write_text("".join(lines), encoding="utf-8")
    return done


def _plain(text: str) -> str:
    """Return a file name without spaces or dots; the record's position keeps it unique."""
    return re.sub(r"[^A-Za-z0-9-]+", "_", text)[:120]
