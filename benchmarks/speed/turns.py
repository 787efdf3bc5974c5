"""Processes that are timed against each other: what scripts that compare sides share.

Each side is a process of its own. On a CPU the processes stay and take turns, one at a time, so
that what else the machine does meets all of them, and ratios are of neighbours in time. On an
accelerator each has the device for itself, one after the other: its memory would not hold them all,
and what compilers measure to choose by would be wrong. What fails, runs out of memory or takes too
long is a result, with its reason, and never the end.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, NoReturn

TURN = 0.5  # s: a turn is as many steps as fill this, and one at least
PAUSE = 0.2  # s between turns, for the threads of the side before to fall asleep
END = 20.0  # s for a process to give its memory back
OUT_OF_MEMORY = "out of memory"
_MEMORY_SIGNS = ("out of memory", "resource_exhausted", "failed to allocate", "bad_alloc")

Run = Callable[[int], object]  # takes that many steps, and returns when the last one is done


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a process says.

    Attributes:
        seconds: A step.
        peak: Most bytes of the device's memory so far; None where nobody counts them.
        failed: Why there is nothing else; empty where there is.
        facts: What else is known.
    """

    seconds: float = 0.0
    peak: int | None = None
    failed: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Side:
    """What a process does when it is asked.

    Attributes:
        runs: By mode.
        peak: Of `Answer`.
        facts: Of `Answer`; of what was warmed up last.
    """

    runs: Mapping[str, Run]
    peak: Callable[[], int | None] = lambda: None
    facts: Callable[[str], dict[str, Any]] = lambda mode: {}


@dataclass
class Series:
    """What a side did in a mode: a number a round, or why not."""

    rates: list[float] = field(default_factory=list)  # images a second
    peak: int | None = None
    failed: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def median(self) -> float | None:
        """Return the usual rate; None without one."""
        return statistics.median(self.rates) if self.rates and not self.failed else None


Found = dict[str, dict[str, Series]]  # by mode, then side


# --- in the process of a side ---------------------------------------------------------------------


def serve(make: Callable[[], Side]) -> None:
    """Say that the side is made, then answer each line of standard input.

    `warm MODE` compiles; `turn MODE` times steps. What libraries print goes to standard error.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)

    def say(answer: Answer) -> None:
        print(json.dumps(dataclasses.asdict(answer)), file=answers, flush=True)

    seconds = dict[str, float]()  # of a step, as last seen
    try:
        side = make()
        say(Answer(facts=side.facts("")))
    except Exception as error:
        say(Answer(failed=reason(error)))
        return
    for line in sys.stdin:
        try:
            what, mode = line.split()
            say(_done(side, what, mode, seconds))
        except Exception as error:
            say(Answer(failed=reason(error)))
            error.__traceback__ = None  # which holds what filled the memory


def _done(side: Side, what: str, mode: str, seconds: dict[str, float]) -> Answer:
    run = side.runs[mode]
    if what == "warm":
        run(1)
        run(1)  # finds what the first compiled or allocated
        seconds[mode] = _seconds(run, 1)
        return Answer(peak=side.peak(), facts=side.facts(mode))
    seconds[mode] = _seconds(run, max(1, round(TURN / max(seconds[mode], 1e-6))))
    return Answer(seconds=seconds[mode], peak=side.peak())


def _seconds(run: Run, count: int) -> float:
    start = time.perf_counter()
    run(count)
    return (time.perf_counter() - start) / count


def reason(error: Exception) -> str:
    """Say in a line why something failed."""
    text = f"{type(error).__name__}: {error}"
    if any(sign in text.lower() for sign in _MEMORY_SIGNS):
        return OUT_OF_MEMORY
    return text.strip().splitlines()[0][:300].replace("|", "/")


# --- in the script --------------------------------------------------------------------------------


class Worker:
    """The process of a side.

    Args:
        command: That calls `serve`.
        environment: Variables besides this process's.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C is this script's, which then ends its processes
        )
        self.errors: list[str] = []
        self.gone = ""  # why there are no more answers
        self.drain = threading.Thread(target=self._drain, daemon=True)
        self.drain.start()

    def _drain(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.errors = [*self.errors[-99:], line]

    def tell(self, what: str) -> None:
        """Ask it to do something."""
        assert self.process.stdin is not None
        try:
            print(what, file=self.process.stdin, flush=True)
        except OSError:
            return  # it has ended: its answer says so

    def answer(self, limit: float) -> Answer:
        """Return what it says next; it is killed where that takes more than `limit` seconds."""
        assert self.process.stdout is not None
        if self.gone:
            return Answer(failed=self.gone)
        late = threading.Event()

        def kill() -> None:
            late.set()
            self.kill()

        timer = threading.Timer(max(limit, 0.0), kill)
        timer.start()
        line = self.process.stdout.readline()
        timer.cancel()
        if line:
            return Answer(**json.loads(line))
        if late.is_set():
            self.gone = f"no answer within {max(limit, 0):.0f} s"
        else:
            self.process.wait()
            self.drain.join(END)
            said = next((line for line in reversed(self.errors) if line.strip()), "")
            self.gone = reason(ChildProcessError(f"{self.process.returncode}: {said.strip()}"))
        return Answer(failed=self.gone)

    def kill(self) -> None:
        """End it and what it started at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Let it give its memory back and end."""
        assert self.process.stdin is not None
        with suppress(OSError, subprocess.TimeoutExpired):
            self.process.stdin.close()
            self.process.wait(END)
        self.kill()  # compilers' helpers, too
        self.process.wait()
        self.drain.join(END)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


@dataclass(frozen=True)
class Clock:
    """How long things may take.

    Attributes:
        warm_up: Seconds for a process to start, or to compile a mode.
        end: When the script's time is up, by `time.monotonic`.
    """

    warm_up: float
    end: float

    def limit(self) -> float:
        """Return the seconds that an answer may take."""
        return min(self.warm_up, self.end - time.monotonic())

    def over(self) -> bool:
        """Return whether there is no time left."""
        return time.monotonic() >= self.end


Commands = Mapping[
    str, tuple[Sequence[str], Mapping[str, str]]
]  # command and environment of a side


@contextmanager
def _started(commands: Commands) -> Iterator[dict[str, Worker]]:
    workers: dict[str, Worker] = {}
    try:
        for side, (command, environment) in commands.items():
            workers[side] = Worker(command, environment)
        yield workers
    finally:
        for worker in workers.values():
            worker.close()


def measure(
    commands: Commands,
    modes: Mapping[str, Sequence[str]],
    images: int,
    *,
    rounds: int,
    clock: Clock,
    alone: bool,
) -> Found:
    """Time all sides.

    Args:
        commands: By side.
        modes: Of each side; those that need less memory first.
        images: A step.
        rounds: Turns of each side in each mode.
        clock: Ends what takes too long.
        alone: Whether each has the device for itself.
    """
    found: Found = {mode: {} for mode in dict.fromkeys(m for some in modes.values() for m in some)}
    groups = [[side] for side in commands] if alone else [list(commands)]
    for group in groups:
        with _started({side: commands[side] for side in group}) as workers:
            _warm_up(workers, modes, found, clock)
            for _ in range(rounds):
                for mode, series in found.items():
                    for side in [side for side in workers if side in series]:
                        _turn(workers[side], mode, series[side], images, clock)
    return found


def _warm_up(
    workers: Mapping[str, Worker], modes: Mapping[str, Sequence[str]], found: Found, clock: Clock
) -> None:
    started = {side: worker.answer(clock.limit()) for side, worker in workers.items()}
    for mode, series in found.items():
        asked = [side for side in workers if mode in modes[side]]
        for side in asked:  # all compile at once
            workers[side].tell(f"warm {mode}")
        for side in asked:
            answer = started[side]
            if not answer.failed:
                answer = workers[side].answer(clock.limit())
            facts = started[side].facts | answer.facts
            series[side] = Series(peak=answer.peak, failed=answer.failed, facts=facts)


def _turn(worker: Worker, mode: str, series: Series, images: int, clock: Clock) -> None:
    if series.failed:
        return
    time.sleep(PAUSE)
    worker.tell(f"turn {mode}")
    answer = worker.answer(clock.limit())
    series.failed = answer.failed
    if not answer.failed:
        series.rates.append(images / answer.seconds)
        series.peak = answer.peak


def ratios(ours: Series | None, theirs: Series | None) -> list[float]:
    """Return how many times as fast the first is, by round."""
    if ours is None or theirs is None or ours.median is None or theirs.median is None:
        return []
    return [a / b for a, b in zip(ours.rates, theirs.rates, strict=True)]


def ratio_text(found: Sequence[float]) -> str:
    """Return median and range."""
    if not found:
        return "-"
    return f"{statistics.median(found):.2f} ({min(found):.2f}-{max(found):.2f})"


def end_by_signal() -> None:
    """Let SIGTERM end the script as an exception does, so that it still writes what it has."""

    def stop(number: int, frame: object) -> NoReturn:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, stop)
