"""The page on augmentation names every setting and its default; its picture can be drawn again."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import get_args

import cv2
import pytest

from dfbench.config import AugmentConfig, Input

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = (DOCS / "augmentation.md").read_text(encoding="utf-8")


def _shown(value: object) -> str:
    return f"[{value[0]:g}, {value[1]:g}]" if isinstance(value, tuple) else f"{value:g}"


def test_every_augmentation_and_its_default() -> None:
    rows = [line.split("|")[1:3] for line in PAGE.splitlines() if line.startswith("| `")]
    names = [name.strip(" `") for cells, _ in rows for name in cells.split("`, `")]
    fields = {f.name: f.default for f in dataclasses.fields(AugmentConfig)}
    assert set(fields) <= set(names)
    for cells, defaults in rows:
        settings = [name.strip(" `") for name in cells.split("`, `")]
        if settings[0] not in fields:
            continue
        wanted = [_shown(fields[name]) for name in settings]
        said = defaults.strip()
        assert said in (", ".join(wanted), wanted[0] if len(set(wanted)) == 1 else ""), settings


def test_every_input() -> None:
    for kind in get_args(Input):
        assert f"`{kind}`" in PAGE


@pytest.mark.slow
def test_the_sheet_is_drawn(tmp_path: Path) -> None:
    command = [sys.executable, str(DOCS / "augmentation_sheet.py"), str(tmp_path / "sheet.png")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet is not None
    assert sheet.std() > 20
