"""Code blocks of the documentation, and the entry points that they offer."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


def block(page: str, language: str) -> str:
    """Return the one block of a language on a page."""
    text = (DOCS / page).read_text(encoding="utf-8")
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return str(found)


def offer_entry_points(page: str, module: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `module` find the entry points of the page's TOML, as of an installed package."""
    offered = tomllib.loads(block(page, "toml"))["project"]["entry-points"]
    points = [
        EntryPoint(name=name, value=value, group=group)
        for group, values in offered.items()
        for name, value in values.items()
    ]
    monkeypatch.setattr(
        module, "entry_points", lambda group: [p for p in points if p.group == group]
    )
