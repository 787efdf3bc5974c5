"""What SIGTERM and Ctrl-C (SIGINT) do: a training is saved first, all else stops at once.

Machines that are taken away, SLURM, Kubernetes and `kill` send SIGTERM some seconds before they
end a process for good.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

STOPPED = 5  # exit status: a training was asked to end, and can be gone on with
INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM

GRACE_SECONDS = 8.0  # for the step that a training is at
SECOND_SECONDS = 0.5  # what comes sooner is the same Ctrl-C, by way of another process
AT_ONCE_SECONDS = 2.0  # for what a second Ctrl-C has to unwind

_ASKED = (signal.SIGTERM, signal.SIGINT)
_NOTED = (
    "dfbench: {name}: the training is saved after this step, and ends; Ctrl-C ends it at once\n"
)
_TOO_SLOW = (
    "dfbench: the step took more than {seconds:.0f} s, so it is not saved; --resume goes on from "
    "the last checkpoint (`matrix` resumes by itself)\n"
)
_SHOW_CURSOR = "\x1b[?25h\n"


class Terminated(KeyboardInterrupt):
    """SIGTERM: what runs is to stop, as by Ctrl-C."""


class Stopped(KeyboardInterrupt):
    """A training that was asked to end has ended; the message says what is saved."""


@contextlib.contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Raise `Terminated` at SIGTERM, so that what was begun is cleared away."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python handles signals in the main thread alone
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Finishing:
    """What a training was asked while it ran.

    Attributes:
      asked: A signal came: end after this step.
      due: The same, as it was at the last `look`: trainings that take turns hear of it in one.
      saving: It has come so far that no time limit may stop it.
    """

    def __init__(self) -> None:
        self.asked = self.due = self.saving = False
        self._first = 0.0  # seconds, of `time.monotonic`
        self._at_once = False

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Let a signal interrupt what is done here, as it does outside of trainings.

        Raises:
          KeyboardInterrupt: a signal came, perhaps before.
        """
        self._at_once = True
        try:
            if self.asked:
                raise KeyboardInterrupt
            yield
        finally:
            self._at_once = False

    def look(self) -> None:
        """Let trainings know whether a signal came."""
        self.due = self.asked

    def _take(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal, in the main thread between two instructions of Python."""
        again = self.asked and number == signal.SIGINT
        if again and time.monotonic() - self._first > SECOND_SECONDS:
            raise KeyboardInterrupt
        if self.asked:
            return
        self.asked, self._first = True, time.monotonic()
        if self._at_once:
            raise Terminated if number == signal.SIGTERM else KeyboardInterrupt
        _say(_NOTED.format(name=signal.Signals(number).name))

    def _watch(self, pipe: int) -> None:
        """End the process where the main thread does not come to handle a signal.

        It may be within a compilation, or a step that takes minutes. Runs in a thread; `pipe` gives
        the numbers of signals as they come, and its end when nobody has to watch any more.
        """
        first, limit, status = 0.0, None, STOPPED
        while True:
            left = None if limit is None else max(0.0, limit - time.monotonic())
            if not select.select([pipe], [], [], left)[0]:
                if status == STOPPED and self.saving:
                    limit = None
                    continue
                end(status, _TOO_SLOW.format(seconds=GRACE_SECONDS) if status == STOPPED else "")
            numbers = os.read(pipe, 64)
            if not numbers:
                return
            now = time.monotonic()
            if not first and any(number in _ASKED for number in numbers):
                first, limit = now, now + GRACE_SECONDS
            elif first and signal.SIGINT in numbers and now - first > SECOND_SECONDS:
                status, limit = INTERRUPTED, now + AT_ONCE_SECONDS


@contextlib.contextmanager
def finishing() -> Iterator[Finishing]:
    """Note SIGTERM and Ctrl-C instead of stopping; whoever runs inside looks and ends in time.

    A step that takes longer than `GRACE_SECONDS` is not waited for: the process ends with status
    `STOPPED`. A second Ctrl-C raises KeyboardInterrupt, or ends the process where it cannot.
    """
    own = Finishing()
    if threading.current_thread() is not threading.main_thread():
        yield own
        return
    # Who was started with a signal ignored, as by nohup, goes on ignoring it.
    before = {n: h for n in _ASKED if (h := signal.getsignal(n)) not in (signal.SIG_IGN, None)}
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    wakeup = signal.set_wakeup_fd(theirs, warn_on_full_buffer=False)
    watcher = threading.Thread(target=own._watch, args=(ours,), daemon=True)
    watcher.start()
    try:
        for number in before:
            signal.signal(number, own._take)
        yield own
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup)
        os.close(theirs)
        watcher.join(AT_ONCE_SECONDS)
        os.close(ours)


def follow_parent(*_: int) -> None:
    """Set up a process that works for another one: it ends with it, however that ends.

    Ctrl-C and what a cluster sends come to all processes: the other one decides, and may still need
    what is made here to save its training.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_later)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_later(number: int, frame: FrameType | None) -> None:
    timer = threading.Timer(GRACE_SECONDS, os._exit, (TERMINATED,))
    timer.daemon = True
    timer.start()


def _end_with_parent() -> None:
    import multiprocessing

    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def end(status: int, text: str = "") -> None:
    """End this process and its workers now, from any thread, and leave the terminal as it was."""
    import multiprocessing  # not before it is needed: every command imports this module

    for child in multiprocessing.active_children():
        child.kill()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            stream.flush()
    _say((_SHOW_CURSOR if _is_terminal() else "") + text)
    os._exit(status)


def _is_terminal() -> bool:
    with contextlib.suppress(OSError):
        return os.isatty(2)
    return False


def _say(text: str) -> None:
    """Write to stderr past Python's buffers, which what was interrupted may hold."""
    with contextlib.suppress(OSError):
        os.write(2, text.encode())
