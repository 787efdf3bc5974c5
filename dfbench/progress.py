"""Progress of long work: library code calls a function, the command line draws a bar."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Protocol


class Progress(Protocol):
    """Called with absolute counts; `note` is a short text beside the bar."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Report that `done` of `total` units are finished."""


def _ignore(done: int, total: int, note: str = "") -> None:
    del done, total, note


@dataclass(frozen=True)
class Reporter:
    """How long work talks: one line at a time, and a bar while it lasts."""

    say: Callable[[str], None] = lambda line: None
    bar: Callable[[str, str], AbstractContextManager[Progress]] = lambda title, unit: nullcontext(
        _ignore
    )


SILENT = Reporter()


@contextmanager
def bar(title: str, unit: str = "it") -> Iterator[Progress]:
    """Draw a bar with rate and time left on stderr; plain lines where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield _Lines(title, unit)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as RichProgress
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed or 0:.1f} {unit}/s", style="progress.data.speed")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        Rate(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with RichProgress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=None, note="")

        def report(done: int, total: int, note: str = "") -> None:
            progress.update(task, completed=done, total=total, note=note)

        yield report


class _Lines:
    """At most one line every ten seconds, so that a log file stays readable."""

    def __init__(self, title: str, unit: str) -> None:
        import time

        self._clock = time.monotonic
        self._title, self._unit = title, unit
        self._start = self._last = self._clock()
        self._first: int | None = None

    def __call__(self, done: int, total: int, note: str = "") -> None:
        now = self._clock()
        if self._first is None:
            self._first = done
        finished = done >= total
        if now - self._last < 10 and not (finished and now - self._start > 10):
            return
        self._last = now
        rate = (done - self._first) / max(now - self._start, 1e-9)
        left = f", {(total - done) / rate:.0f} s left" if rate > 0 and not finished else ""
        text = f"{self._title}: {done}/{total} ({rate:.1f} {self._unit}/s{left}) {note}"
        print(text.rstrip(), file=sys.stderr, flush=True)
