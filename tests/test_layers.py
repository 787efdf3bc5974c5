"""Imports point down the table of docs/architecture.md, never up."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import dfbench

PACKAGE = Path(dfbench.__file__).parent

# From the bottom: a room may import those of its own line and of the lines before it.
LINES = (
    ("errors", "paths", "progress", "processes", "signals", "locks"),
    ("files", "degradations", "config_ranges"),
    ("config", "download"),
    ("storage",),
    ("faces", "results"),
    ("synth",),
    ("data",),
    ("models",),
    ("train", "classical"),
    ("eval",),
    ("report",),
    ("protocols", "rehearsal"),
    ("workflow", "launch"),
    ("options", "selection", "commands", "cli"),
)
RANK = {room: rank for rank, rooms in enumerate(LINES) for room in rooms}


def _imports(path: Path) -> Iterator[str]:
    """Yield the rooms that a module imports when it is imported."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dfbench."):
            yield (node.module or "").split(".")[1]
        elif isinstance(node, ast.ImportFrom) and node.module == "dfbench":
            yield from (alias.name for alias in node.names if alias.name != "__version__")


def test_no_room_imports_one_above_it() -> None:
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room in ("__init__", "_datasets", "_protocols", "_published"):
            continue
        above = [other for other in _imports(path) if RANK[other] > RANK[room]]
        wrong += [f"{path.relative_to(PACKAGE)} imports {other}" for other in above]
    assert wrong == []
