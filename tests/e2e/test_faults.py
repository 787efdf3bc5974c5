"""Trainings that are stopped by a signal or a full disk, as a user runs them, and gone on with."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from support.command import dfbench, start_dfbench
from support.disk import remount, small_disk
from support.job import start_job
from support.photos import write_photos

from dfbench import signals
from dfbench.eval.scores import read_scores
from dfbench.processes import LOST
from dfbench.results.store import SCORES, card_paths, read_card
from dfbench.train import checkpoint
from dfbench.train.history import read_history

pytestmark = pytest.mark.slow  # they train

SETTINGS = (
    *("--set", "data.detector=none", "--set", "data.crop_size=32", "--set", "model.input_size=32"),
    *("--set", "training.batch_size=8", "--set", "scoring.batch_size=12"),
    *("--set", "scoring.resamples=50", "--jobs", "1"),
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stop")
    write_photos(path / "mine", real=60, fake=60)
    return path


def command(runs: str, *more: str, epochs: int) -> tuple[str, ...]:
    cells = ("run", "--train", "folder:mine", "--runs-dir", runs)
    return (*cells, "--set", f"training.epochs={epochs}", *SETTINGS, *more)


def wait_for(there: Callable[[], bool], seconds: float = 300) -> None:
    until = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < until
        time.sleep(0.05)


def steps(runs: Path) -> int:
    """Return the last step that is logged in the only run."""
    with contextlib.suppress(ValueError, IndexError):
        (path,) = runs.glob("*/metrics.jsonl")
        return int(read_history(path)[-1]["step"])
    return 0


def gone_on(runs: Path, goal: int, process: subprocess.Popen[str]) -> bool:
    return steps(runs) > goal or process.poll() is not None


@pytest.fixture(scope="module")
def whole(home: Path) -> Path:
    """Make a run that nothing disturbs."""
    done = dfbench(*command("whole", epochs=30), cwd=home, cache=home / "cache")
    assert done.returncode == 0, done.stderr
    return home / "whole"


def assert_same(runs: Path, whole: Path) -> None:
    """Compare the only cards of two folders, and their scores bit by bit."""
    ours, theirs = (card_paths(folder) for folder in (runs, whole))
    assert len(ours) == len(theirs) == 1
    assert read_card(ours[0]).metrics == read_card(theirs[0]).metrics
    a, b = (read_scores(path.with_name(SCORES)) for path in (*ours, *theirs))
    np.testing.assert_array_equal(a.logit, b.logit)


def test_stopped_and_resumed_it_ends_as_if_nothing_had_been(home: Path, whole: Path) -> None:
    cache, stops = home / "cache", 0
    for number in (signal.SIGTERM, signal.SIGINT):
        goal = steps(home / "cut") + 20
        process = start_dfbench(
            *command("cut", "--resume", epochs=30), cwd=home, cache=cache, stderr=subprocess.PIPE
        )
        wait_for(partial(gone_on, home / "cut", goal, process))
        start = time.monotonic()
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        if process.returncode == 0:  # a busy machine: the end came before the signal
            break
        assert process.returncode == signals.STOPPED, err
        assert time.monotonic() - start < 10
        assert re.search(r"^dfbench: stopped after step \d+ of \d+: .* is saved", err, re.MULTILINE)
        assert "Traceback" not in err
        stops += 1
    assert stops
    done = dfbench(*command("cut", "--resume", epochs=30), cwd=home, cache=cache)
    assert done.returncode == 0, done.stderr
    assert_same(home / "cut", whole)


@pytest.mark.parametrize("kilobytes", [200, 500])  # for no checkpoint, or not for a second one
def test_a_full_disk_is_one_line_and_the_training_goes_on(
    home: Path, whole: Path, tmp_path: Path, kilobytes: int
) -> None:
    with small_disk(tmp_path / "disk", kilobytes=kilobytes) as disk:
        runs = disk / "runs"
        arguments = command(str(runs), "--resume", epochs=30)
        full = dfbench(*arguments, cwd=home, cache=home / "cache")
        assert full.returncode == 2
        *_, last = full.stderr.splitlines()
        assert last.startswith(f"dfbench: {runs}")
        assert last.endswith(": No space left on device; free some space, or name another folder")
        assert "Traceback" not in full.stderr
        assert not list(runs.rglob("training.json"))
        assert card_paths(runs) == []
        remount(disk, "size=32m")
        done = dfbench(*arguments, cwd=home, cache=home / "cache")
        assert done.returncode == 0, done.stderr
        assert_same(runs, whole)


def test_one_of_two_processes_is_asked_and_both_stop_at_the_same_step(home: Path) -> None:
    arguments = command("two", epochs=400)
    members = start_job(*arguments, count=2, devices=1, cwd=home, cache=home / "cache")
    wait_for(lambda: steps(home / "two") > 20 or any(m.process.poll() is not None for m in members))
    members[1].process.send_signal(signal.SIGTERM)
    ended = [member.end(120) for member in members]
    if [one.code for one in ended] != [signals.STOPPED] * 2:
        # In a validation they do not agree.
        assert {one.code for one in ended} == {signals.STOPPED, LOST}, ended
        pytest.skip("the signal came during a validation")
    said = [re.findall(r"stopped after step (\d+) of", one.stderr) for one in ended]
    assert said[0] == said[1] != []
    (run,) = (home / "two").glob("*/checkpoints")
    assert checkpoint.read_progress(run.parent, checkpoint.LAST)["step"] == int(said[0][0])
    again = start_job(*arguments, "--resume", count=2, devices=1, cwd=home, cache=home / "cache")
    wait_for(lambda: steps(home / "two") > int(said[0][0]) + 20, 120)
    for member in again:
        member.process.send_signal(signal.SIGTERM)
    assert {member.end(120).code for member in again} <= {signals.STOPPED, LOST}


def test_ctrl_c_leaves_the_terminal_as_it_was(home: Path) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as screen:
        process = start_dfbench(
            *command("screen", "--set", "data.workers=2", epochs=400),
            cwd=home,
            cache=home / "cache",
            stdout=screen,
            stderr=screen,
            TERM="xterm",
        )
    shown = bytearray()

    def read() -> None:
        with contextlib.suppress(OSError):  # its end, on Linux
            while data := os.read(ours, 4096):
                shown.extend(data)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        wait_for(lambda: gone_on(home / "screen", 10, process))
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == signals.STOPPED, shown.decode()
        reader.join(30)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    text = shown.decode()
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")  # the cursor is shown
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text[text.rindex("\x1b[?25l") :])
    assert "dfbench: stopped after step" in last
    assert text.endswith("\n")
