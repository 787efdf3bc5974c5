"""Processes that work on files of strangers: they may hang, crash or want too much memory.

Each has one task at a time, so that it is known which one took it down. It gives signs of life
(`beat`), and one that gives none for too long is killed. Its memory is limited.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, Literal, TypeVar

from dfbench.errors import UserError

Task = TypeVar("Task")
Result = TypeVar("Result")

LOOK_S = 1.0  # between two looks at the clock
BEAT_S = 1.0  # between two signs of life, at least
END_S = 2.0  # for the task in work, when the others are called off
START_S = 300.0  # for what a process loads, at least


@dataclass(frozen=True)
class Limits:
    """When a task is given up."""

    still_s: float = 600.0  # without a sign of life
    whole_s: float = 24 * 600.0  # of all of it, however lively
    memory: int = 8 * 2**30  # bytes that a process may fill


DEFAULT = Limits()


@dataclass(frozen=True)
class Done(Generic[Result]):
    """A task that came to its end."""

    value: Result


@dataclass(frozen=True)
class Lost:
    """A task of which nothing came."""

    reason: str
    again: bool  # the machine may be at fault, and not the task: try once more


class StartError(UserError):
    """A process came to its end before it took its first task; `how` says how."""

    def __init__(self, how: str) -> None:
        super().__init__(f"a process that decodes came to its end while it started: {how}")
        self.how = how


class Worker(Generic[Task, Result]):
    """A process that does one task after the other.

    Args:
      function: of a task; importable, as what starts it.
      start: is called once in the process, before the first task.
      arguments: of `start`.
      limits: when a task is given up.
    """

    def __init__(
        self,
        function: Callable[[Task], Result],
        start: Callable[..., None],
        arguments: Sequence[Any],
        limits: Limits,
    ) -> None:
        self.task: Task | None = None
        self.alive = True
        self._limits, self._ready = limits, False
        self._still_s = self._whole_s = 0.0
        context = multiprocessing.get_context("spawn")  # a fork of a threaded process may hang
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, limits.memory), daemon=True)
        self._process.start()
        theirs.close()  # so that its end closes the pipe
        with contextlib.suppress(OSError):  # it has died: `look` says so
            self.pipe.send((function, start, tuple(arguments)))

    def give(self, task: Task) -> None:
        """Hand over a task; there is none in work."""
        self.task = task
        self._still_s = self._whole_s = 0.0
        with contextlib.suppress(OSError):  # it has died: `look` says so
            self.pipe.send(task)

    def look(self, elapsed_s: float) -> Done[Result] | Lost | None:
        """Return what came of the task; None while it is in work.

        Args:
          elapsed_s: since the last look, without time in which this process did not run either.

        Raises:
          StartError: the process came to its end before it took a task.
          Exception: whatever the task raised.
        """
        while True:
            try:
                if not self.pipe.poll():
                    break
                kind, value = self.pipe.recv()
            except (EOFError, ConnectionError):
                return self._lost(self._death(), again=True)
            if not self._ready:
                self._ready, self._whole_s = True, 0.0
            self._still_s = 0.0
            if kind == "failed":
                self.close(END_S)
                raise value
            if kind == "done":
                self.task = None
                return Done(value)
        self._still_s += elapsed_s
        self._whole_s += elapsed_s
        still_s, whole_s = self._limits.still_s, self._limits.whole_s
        if not self._ready:
            still_s = whole_s = max(still_s, START_S)
        if self._still_s > still_s:
            self.close(0)
            return self._lost(f"nothing happened for {still_s:g} s")
        if self._whole_s > whole_s:
            self.close(0)
            return self._lost(f"not done after {whole_s:g} s")
        return None

    def call(self, task: Task) -> Done[Result] | Lost:
        """Do a task and wait for it.

        Raises:
          StartError, Exception: as for `look`.
        """
        self.give(task)
        clock = _Clock()
        found: Done[Result] | Lost | None = None
        while found is None:
            wait([self.pipe], LOOK_S)
            found = self.look(clock.elapsed_s())
        return found

    def close(self, seconds: float) -> None:
        """End the process; the task in work has some seconds."""
        self.pipe.close()
        self._process.join(seconds)
        if self._process.is_alive():
            self._process.kill()
        self._process.join(END_S)  # one that waits for a lost disk may outlive even that
        self.alive = False

    def _death(self) -> str:
        self.close(END_S)
        code = self._process.exitcode or 0
        return f"signal {-code}" if code < 0 else f"exit status {code}"

    def _lost(self, reason: str, *, again: bool = False) -> Lost:
        self.task = None
        if not self._ready:
            raise StartError(reason)
        return Lost(reason, again)


class _Clock:
    """Measures time, without that in which this process stands still too: stopped, or starved."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def elapsed_s(self) -> float:
        now, last = time.monotonic(), self._last
        self._last = now
        return min(now - last, 2 * LOOK_S)


def work_off(
    tasks: Iterable[Task],
    function: Callable[[Task], Result],
    *,
    start: Callable[..., None],
    arguments: Sequence[Any] = (),
    jobs: int,
    limits: Limits,
) -> Generator[tuple[Task, Done[Result] | Lost], None, None]:
    """Do tasks in processes; yield each with what came of it, as they come to their end.

    A process that a task takes down, or that has to be killed, is replaced.

    Args:
      tasks: what is to do.
      function: of a task; importable, as `start`.
      start: is called once in each process.
      arguments: of `start`.
      jobs: processes.
      limits: when a task is given up.

    Raises:
      StartError, Exception: as for `Worker.look`; tasks in work have a moment to come to their end.
    """
    todo = deque(tasks)
    workers: list[Worker[Task, Result]] = []
    clock = _Clock()
    try:
        while todo or any(worker.task is not None for worker in workers):
            workers = [worker for worker in workers if worker.alive]
            idle = [worker for worker in workers if worker.task is None]
            while todo and (idle or len(workers) < jobs):
                if not idle:
                    idle.append(Worker(function, start, arguments, limits))
                    workers += idle
                idle.pop().give(todo.popleft())
            busy = [(worker, worker.task) for worker in workers if worker.task is not None]
            wait([worker.pipe for worker, _ in busy], LOOK_S)
            elapsed_s = clock.elapsed_s()
            for worker, task in busy:
                if (found := worker.look(elapsed_s)) is not None:
                    yield task, found
    finally:
        _close(workers)


def _close(workers: Sequence[Worker[Any, Any]]) -> None:
    """End processes together."""
    end = time.monotonic() + END_S
    for worker in workers:
        worker.pipe.close()
    for worker in workers:
        worker.close(max(0.0, end - time.monotonic()))


# --- in the process -------------------------------------------------------------------------------

_parent: Connection | None = None
_last_beat = 0.0

Kind = Literal["alive", "done", "failed"]


def beat() -> None:
    """Give a sign of life; nothing in a process that is no worker."""
    global _last_beat
    if _parent is not None and (now := time.monotonic()) - _last_beat >= BEAT_S:
        _last_beat = now
        _tell("alive")


def _tell(kind: Kind, value: object = None) -> None:
    assert _parent is not None
    with contextlib.suppress(OSError):  # it has closed the pipe: `_serve` ends
        _parent.send((kind, value))


# What decoders are allowed: no picture larger than dfbench reads, and of videos only containers
# that hold their pictures themselves; a playlist would open other files, and addresses.
_DECODERS = {
    "OPENCV_IO_MAX_IMAGE_PIXELS": "100000000",
    "OPENCV_FFMPEG_CAPTURE_OPTIONS": "protocol_whitelist;file|format_whitelist;"
    "mov,matroska,webm,avi,mpeg,mpegvideo,mpegts,asf,flv,ogg,nut,ivf,dv,mxf,m4v,h264,hevc,av1,obu,"
    "mjpeg,gif,apng,jpeg_pipe,png_pipe,webp_pipe",
}


def _serve(parent: Connection, memory: int) -> None:
    global _parent
    _parent = parent
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all: the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if os.environ.get("DFBENCH_VERBOSE") != "1":
        # MediaPipe's and FFmpeg's C++ lines go to the file descriptor, past every setting.
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 2)
        os.close(silent)
    _limit(memory)
    for name, value in _DECODERS.items():
        os.environ.setdefault(name, value)
    try:
        function, start, arguments = parent.recv()  # this imports OpenCV, which then looks around
        start(*arguments)
        _tell("alive")
        while (task := _next(parent)) is not _END:
            _tell("done", function(task))
    except Exception as error:
        error.add_note(traceback.format_exc())  # of this process; it is shown in the other
        try:
            _tell("failed", error)
        except Exception:  # it cannot be pickled
            _tell("failed", RuntimeError(traceback.format_exc()))
    os._exit(0)  # at once: libraries that wait for threads of theirs may wait for ever


_END = object()


def _next(parent: Connection) -> Any:
    try:
        return parent.recv()
    except (EOFError, OSError):
        return _END


def _end_with_parent() -> None:
    """End this process when the one that started it is killed: it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _limit(memory: int) -> None:
    """Limit what this process may fill, and let no crash leave a file as large as that."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for what, most in ((resource.RLIMIT_DATA, memory), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(what)[1]
        with contextlib.suppress(OSError, ValueError):  # macOS knows the first by name alone
            resource.setrlimit(what, (most if hard < 0 else min(most, hard), hard))
