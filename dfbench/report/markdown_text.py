"""Words, lists and tables in markdown."""

from __future__ import annotations

import os
import re
import urllib.parse
from collections.abc import Iterable, Sequence
from pathlib import Path

from dfbench.report.matrix import plain
from dfbench.storage import url

SPECIAL = frozenset("\\`*[]<>|~$&")


def escape(text: str) -> str:
    """Return text that markdown shows as it is, on one line, also inside a table."""
    shown = "".join(f"\\{c}" if c in SPECIAL else c for c in plain(text).strip())
    # Inside a word it is no emphasis, and names are full of it.
    shown = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", shown)
    if re.match(r"[#+=-]|\d+[.)](\s|$)", shown):  # would begin a heading or a list
        shown = re.sub(r"^(\d*)", r"\1\\", shown)
    # Renderers of HTML inside markdown do not all honour a backslash.
    return shown.replace("\\<", "&lt;").replace("\\>", "&gt;").replace("\\&", "&amp;")


def code(text: str) -> str:
    """Return what of a hash may stand between backticks."""
    return "".join(c for c in text if c.isalnum())


def bullets(lines: Iterable[str]) -> str:
    """Return a list of lines that are markdown already."""
    return "\n".join(f"- {line}" for line in lines)


def table_text(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """Return a table of cells that are markdown already."""
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def relative(path: Path, folder: Path) -> str:
    """Return `path` as seen from `folder`, with slashes; or the URL that it is a copy of."""
    place = url.shown(path.absolute())
    if place != str(path.absolute()):
        return place
    return Path(os.path.relpath(path, folder)).as_posix()


def target(where: str) -> str:
    """Return what `relative` gives as the target of a link."""
    scheme, url, rest = where.rpartition("://")
    return f"{scheme}{url}{urllib.parse.quote(rest)}"
