"""How far a training has come, and how fast it goes."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Marks:
    """The loop's bookkeeping, saved in each checkpoint as JSON."""

    step: int = 0
    epochs: int = 0  # finished, with their validation
    phase: int = 0
    phase_start: int = 0  # `epochs` when the phase began
    best_epoch: int = 0
    best_auc: float | None = None
    best_loss: float = math.inf
    losses: list[float] = field(default_factory=list)  # since the last row of metrics.jsonl

    @property
    def waited(self) -> int:
        """Epochs of this phase without a better validation."""
        return self.epochs - max(self.best_epoch, self.phase_start)

    def improved_by(self, auc: float | None, loss: float) -> bool:
        """Compare by AUC, ties by loss; without AUC by loss."""
        return not self.best_epoch or _rank(auc, loss) > _rank(self.best_auc, self.best_loss)


def _rank(auc: float | None, loss: float) -> tuple[float, float]:
    return (-math.inf if auc is None else auc, -loss)


class Clock:
    """Seconds of training: it stands while something else is done, for whichever training."""

    def __init__(self) -> None:
        self._stood = 0.0

    def now(self) -> float:
        """Return seconds since some moment."""
        return time.perf_counter() - self._stood

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Let it stand."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._stood += time.perf_counter() - start


@dataclass(kw_only=True)
class Stopwatch:
    """Images and seconds of training, without validation, checkpoints and what compiles."""

    clock: Clock
    images: int = 0
    seconds: float = 0.0
    since: float | None = None  # None: the next step compiles
    row: tuple[int, float] = (0, 0.0)  # images and seconds at the last row of metrics.jsonl

    def start(self) -> None:
        """Count from now on."""
        self.since = self.clock.now()

    def tick(self, images: int) -> None:
        """Count a step that ended now."""
        if self.since is not None:
            now = self.clock.now()
            self.images, self.seconds = self.images + images, self.seconds + now - self.since
            self.since = now

    def rate(self) -> float | None:
        """Return images a second since the last call."""
        images, seconds = self.images - self.row[0], self.seconds - self.row[1]
        self.row = (self.images, self.seconds)
        return round(images / seconds, 2) if seconds else None
