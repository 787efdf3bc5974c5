"""The progress of a matrix of cells: a live table on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from dfbench.config import RunConfig, named, total_epochs
from dfbench.errors import one_line
from dfbench.processes import is_first
from dfbench.progress import Progress, Reporter
from dfbench.workflow.matrix import Status, cells_of

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

_STYLES: dict[Status, str] = {
    "waiting": "dim",
    "checking": "cyan",
    "training": "bold cyan",
    "scoring": "bold cyan",
    "trained": "",
    "done": "green",
    "refused": "yellow",
    "failed": "bold red",
}
_ENDS: tuple[Status, ...] = ("done", "refused", "failed")


class Board:
    """Knows how each training and each cell stands; one line for each change."""

    def __init__(self, configs: Sequence[RunConfig]) -> None:
        self.configs = configs
        self.texts: dict[tuple[int, str | None], tuple[Status, str]] = {
            (number, spec): ("waiting", "waiting")
            for number, config in enumerate(configs)
            for spec in (None, *cells_of(config))
        }
        self.current: tuple[int, str | None] = (0, None)
        self.said: set[str] = set()
        self.reporter = Reporter(say=self._say, bar=self._bar)

    def __call__(self, training: int, spec: str | None, status: Status, text: str = "") -> None:
        """Take a new status."""
        self.current = (training, spec)
        shown = text if status == "done" else f"{status} {text}" if status == "trained" else status
        if text and status in ("refused", "failed"):
            shown = f"{status}: {text}"
        self._set(status, one_line(shown.strip()))

    def _set(self, status: Status, text: str) -> None:
        if self.texts[self.current] != (status, text):
            self.texts[self.current] = (status, text)
            self._changed()

    def _say(self, line: str) -> None:
        """Pass on a line, once; what is there already shows in the table."""
        if line not in self.said and not line.startswith("reusing "):
            self.said.add(line)
            self._line(line)

    @contextmanager
    def _bar(self, title: str, unit: str) -> Iterator[Progress]:
        number, _ = self.current
        status = self.texts[self.current][0]
        epochs = total_epochs(self.configs[number])

        def training(done: int, total: int, note: str = "") -> None:
            epoch = max(done - 1, 0) * epochs // max(total, 1) + 1
            self._set("training", f"training epoch {epoch}/{epochs}")

        def other(done: int, total: int, note: str = "") -> None:
            self._busy(done, total, title)

        yield training if (status, unit) == ("training", "step") else other
        self._busy(0, 0, "")

    def _changed(self) -> None:
        number, spec = self.current
        config, text = self.configs[number], self.texts[self.current][1]
        said = spec is not None and text == self.texts[number, None][1]  # of the whole training
        if not said and text not in ("waiting", "checking", "training", "scoring"):
            place = f"{named(config)}, trained on {config.train}, seed {config.seed}"
            place += f", on {spec}" if spec else ""
            self._line(f"[{number + 1}/{len(self.configs)}] {place}: {text}")

    def _line(self, line: str) -> None:
        print(one_line(line), file=sys.stderr, flush=True)

    def _busy(self, done: int, total: int, title: str) -> None:
        """Show how far a longer piece of work is."""


class SilentBoard(Board):
    """Of a process that leaves the talking to the first one."""

    def _line(self, line: str) -> None:
        pass


class LiveBoard(Board):
    """The same as one table that changes in place."""

    def __init__(self, configs: Sequence[RunConfig], console: Console) -> None:
        super().__init__(configs)
        self.console, self.busy, self.start = console, "", time.monotonic()
        self.specs = list(dict.fromkeys(spec for c in configs for spec in cells_of(c)))

    def _changed(self) -> None:
        pass

    def _line(self, line: str) -> None:
        if line.startswith("warning"):
            self.console.print(one_line(line), markup=False, highlight=False)
        else:
            self.busy = one_line(line)

    def _busy(self, done: int, total: int, title: str) -> None:
        self.busy = f"{one_line(title)} {done}/{total}" if total else ""

    def render(self) -> RenderableType:
        """Draw the table."""
        from rich.table import Table
        from rich.text import Text

        table = Table(caption=Text(self._caption()), caption_justify="left")
        for name in ("model", "trained on", "seed", "training"):
            table.add_column(name, no_wrap=True, max_width=26, overflow="ellipsis")
        for spec in self.specs:  # these give way where the screen is narrow
            table.add_column(_short(f"on {spec}"), max_width=24)
        for number in self._window():
            config = self.configs[number]
            own = [named(config), config.train, str(config.seed)]
            cells = [self._cell(number, spec) for spec in (None, *self.specs)]
            table.add_row(*map(_short, own), *cells)
        return table

    def _cell(self, number: int, spec: str | None) -> Text:
        status, text = self.texts.get((number, spec), ("waiting", "-"))
        return _short(text, _STYLES[status])

    def _window(self) -> range:
        """Return the trainings that fit on the screen, the current one among them."""
        height, count = max(self.console.height - 8, 3), len(self.configs)
        first = min(max(self.current[0] - height // 2, 0), max(count - height, 0))
        return range(first, min(first + height, count))

    def _caption(self) -> str:
        ended = [s for (_, spec), (s, _) in self.texts.items() if spec is not None]
        counts = {end: ended.count(end) for end in _ENDS}
        parts = [f"{sum(counts.values())} of {len(ended)} cells"]
        parts += [f"{n} {end}" for end, n in counts.items() if n and end != "done"]
        seconds = int(time.monotonic() - self.start)
        parts.append(f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}")
        hidden = len(self.configs) - len(self._window())
        parts += [f"{hidden} trainings not shown"] if hidden else []
        return ", ".join(parts) + (f"\n{self.busy}" if self.busy else "")


def _short(text: str, style: str = "") -> Text:
    from rich.text import Text

    return Text(one_line(text), style=style, no_wrap=True, overflow="ellipsis")


def board(configs: Sequence[RunConfig]) -> tuple[Board, AbstractContextManager[Any]]:
    """Return the board for this stderr, and the context in which it is drawn."""
    if not is_first():
        return SilentBoard(configs), nullcontext()
    if not sys.stderr.isatty():
        return Board(configs), nullcontext()
    from rich.console import Console
    from rich.live import Live

    live = LiveBoard(configs, Console(stderr=True))
    return live, Live(
        get_renderable=live.render,
        console=live.console,
        refresh_per_second=4,
        redirect_stdout=False,
        redirect_stderr=False,
    )
