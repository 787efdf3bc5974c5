"""What the tables of the scripts beside this file share: where, with what and when they were made.

Scripts import it by its name, since a script's own folder comes first among modules.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import dfbench
from dfbench.results.environment import machine_name, machine_text

RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True)
class Limit:
    """A figure that may not be larger, or, with `least`, not smaller."""

    what: str
    found: float
    limit: float
    unit: str = ""
    least: bool = False

    @property
    def met(self) -> bool:
        """Tell whether it is within its limit."""
        return self.found >= self.limit if self.least else self.found <= self.limit


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table."""
    return [f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows)]


def limits_table(limits: Sequence[Limit]) -> list[str]:
    """Return the lines of a table of what is to stay within limits."""
    rows = [
        [
            one.what,
            f"{one.found:,.2f}{one.unit}" if one.found >= 0.1 else f"{one.found:.2g}{one.unit}",
            f"at {'least' if one.least else 'most'} {one.limit:g}{one.unit}",
            "yes" if one.met else "**no**",
        ]
        for one in limits
    ]
    return table(["figure", "found", "limit", "met"], rows)


def page(
    title: str,
    script: str,
    given: Sequence[str],
    packages: Sequence[str],
    notes: Sequence[str],
    tables: Sequence[Sequence[str]],
    *,
    device: str = "",
) -> str:
    """Return a page: date, machine, versions, command, notes and tables.

    Args:
      title: of the page.
      script: its file's name.
      given: its arguments.
      packages: whose versions matter.
      notes: a line each.
      tables: lines of each.
      device: what it ran on, where that is not the processor.
    """
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    versions = ", ".join(f"{name} {_version(name)}" for name in packages)
    lines = [
        f"# {title}",
        "",
        f"- {today}; {machine_text()}{'; ' if device else ''}{device}",
        f"- Python {platform.python_version()}, {versions}",
        f"- `{' '.join(['python', f'benchmarks/speed/{script}', *given])}`",
        *(f"- {note}" for note in notes),
    ]
    for one in tables:
        lines += ["", *one]
    return "\n".join(lines) + "\n"


def _version(package: str) -> str:
    # A checkout measures without being installed, where nothing can be.
    return dfbench.__version__ if package == "dfbench" else importlib.metadata.version(package)


def write(text: str, kind: str, folder: Path, *, device: str = "") -> Path:
    """Print a page and write it to a file that is named by day, kind, machine and device."""
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    folder.mkdir(parents=True, exist_ok=True)
    name = "-".join(filter(None, [today, kind, machine_name(), device]))
    path = folder / f"{name}.md"
    path.write_text(text, encoding="utf-8")
    print(text)
    print(f"written: {path}")
    return path
