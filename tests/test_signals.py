"""Signals, of small processes that a test starts: what they do to a training is in tests/train."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dfbench import signals

ROOT = Path(__file__).resolve().parents[1]
HEAD = """
import signal, sys, time
from dfbench import signals
signals.GRACE_SECONDS, signals.AT_ONCE_SECONDS = 1.0, 0.5
signal.signal(signal.SIGINT, signal.default_int_handler)  # tests may run where it is passed over
"""
# Takes steps of a tenth of a second, and saves when it is asked to end.
STEPS = """
with signals.finishing() as stop:
    print("ready", flush=True)
    for step in range(600):
        time.sleep(0.1)
        if stop.asked:
            stop.saving = True
            time.sleep({save})
            print("saved", flush=True)
            sys.exit(signals.STOPPED)
"""
# The main thread is in C, where Python handles no signal: in a compilation, say.
IN_C = """
import ctypes
mutex, lock = ctypes.create_string_buffer(64), ctypes.CDLL(None).pthread_mutex_lock
with signals.finishing() as stop:
    print("ready", flush=True)
    lock(mutex)
    lock(mutex)  # for ever
"""
linux = pytest.mark.skipif(sys.platform != "linux", reason="a mutex of zeros is Linux's")
# Something that a signal may interrupt, within what it may not.
VALIDATION = """
with signals.finishing() as stop:
    try:
        with stop.at_once():
            print("ready", flush=True)
            time.sleep(60)
    except KeyboardInterrupt as error:
        print(type(error).__name__, stop.asked, flush=True)
"""
AT_ONCE = """
try:
    with signals.sigterm_interrupts():
        print("ready", flush=True)
        time.sleep(60)
except KeyboardInterrupt as error:
    print(type(error).__name__, flush=True)
"""


@contextmanager
def running(code: str) -> Iterator[subprocess.Popen[str]]:
    """Start a script, and wait until it says that it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", HEAD + code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("save", [0, 2.5])
def test_a_training_saves_and_ends_however_long_that_takes(
    number: signal.Signals, save: float
) -> None:
    with running(STEPS.format(save=save)) as process:
        process.send_signal(number)
        code, out, err = end(process)
    assert (code, out) == (signals.STOPPED, "saved\n")
    assert err == signals._NOTED.format(name=number.name)


def test_a_second_ctrl_c_interrupts_at_once() -> None:
    with running(STEPS.format(save=60)) as process:
        process.send_signal(signal.SIGINT)
        time.sleep(signals.SECOND_SECONDS + 0.5)
        process.send_signal(signal.SIGINT)
        code, out, err = end(process)
    assert code in (-signal.SIGINT, signals.INTERRUPTED)
    assert out == ""
    assert "ends it at once" in err


def test_the_same_ctrl_c_by_two_ways_is_one() -> None:
    with running(STEPS.format(save=1)) as process:
        for _ in range(3):
            process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        assert end(process)[:2] == (signals.STOPPED, "saved\n")


@linux
def test_a_step_that_takes_too_long_is_not_waited_for() -> None:
    with running(IN_C) as process:
        start = time.monotonic()
        process.send_signal(signal.SIGTERM)
        code, _, err = end(process)
    assert code == signals.STOPPED
    assert time.monotonic() - start < 30
    assert "the step took more than 1 s, so it is not saved; --resume goes on" in err


@linux
def test_a_second_ctrl_c_ends_what_python_cannot_interrupt() -> None:
    with running("signals.GRACE_SECONDS = 60\n" + IN_C) as process:
        process.send_signal(signal.SIGINT)
        time.sleep(signals.SECOND_SECONDS + 0.5)
        process.send_signal(signal.SIGINT)
        assert end(process)[0] == signals.INTERRUPTED


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGTERM, "Terminated"), (signal.SIGINT, "KeyboardInterrupt")]
)
def test_a_validation_is_interrupted(number: signal.Signals, name: str) -> None:
    with running(VALIDATION) as process:
        process.send_signal(number)
        code, out, err = end(process)
    assert (code, out, err) == (0, f"{name} True\n", "")
    with running(AT_ONCE) as process:
        process.send_signal(number)
        assert end(process)[:2] == (0, f"{name}\n")


def test_ignored_signals_stay_ignored() -> None:
    code = "signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + STEPS.format(save=0)
    with running(code) as process:
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert end(process)[:2] == (signals.STOPPED, "saved\n")


def test_handlers_are_as_they_were_afterwards() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with signals.finishing(), signals.sigterm_interrupts():
        pass
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
    assert signal.set_wakeup_fd(-1) == -1


WORKER = """
import multiprocessing, os
def serve(pipe):
    signals.follow_parent()
    pipe.send(os.getpid())
    time.sleep(60)
context = multiprocessing.get_context("fork")
ours, theirs = context.Pipe()
worker = context.Process(target=serve, args=(theirs,))
worker.start()
print("ready", flush=True)
print(ours.recv(), flush=True)
time.sleep(60)
"""


def test_a_worker_leaves_signals_to_its_parent_and_ends_with_it() -> None:
    with running(WORKER) as process:
        assert process.stdout is not None
        worker = int(process.stdout.readline())
        os.kill(worker, signal.SIGINT)
        time.sleep(0.3)
        os.kill(worker, 0)  # it is there
        process.kill()
        until = time.monotonic() + 60
        while _is_running(worker):
            assert time.monotonic() < until
            time.sleep(0.05)


def _is_running(number: int) -> bool:
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


BAR = """
from dfbench.progress import bar
try:
    with signals.sigterm_interrupts(), bar("training", "step") as progress:
        for step in range(600):
            progress(step, 600)
            time.sleep(0.1)
except KeyboardInterrupt:
    print("stopped", file=sys.stderr)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_bar_leaves_the_terminal_as_it_was(number: signal.Signals) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", HEAD + BAR],
        env=os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm"},
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown, asked = b"", False
    try:
        until = time.monotonic() + 120
        while time.monotonic() < until:
            if not select.select([ours], [], [], 1)[0]:
                continue
            try:
                shown += os.read(ours, 4096)
            except OSError:  # its end, on Linux
                break
            if not asked and b"training" in shown:
                process.send_signal(number)
                asked = True
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    text = shown.decode()
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")  # the cursor is shown
    last = text[text.rindex("\x1b[?25h") :]
    assert re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", last).strip() == "stopped"
    assert re.search(r"[\r\n](\x1b\[[0-9;?]*[A-Za-z])*stopped", text)  # on a line of its own
