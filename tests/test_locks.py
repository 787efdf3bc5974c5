from __future__ import annotations

import multiprocessing
import os
import signal
import time
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from dfbench.locks import one_at_a_time

SPAWN = multiprocessing.get_context("fork")


def _append(lock: Path, log: Path, said: Queue[str], together: Barrier) -> None:
    together.wait(60)
    with one_at_a_time(lock, lambda: said.put("waiting")):
        for _ in range(20):
            text = log.read_text()
            time.sleep(0.001)
            log.write_text(text + "x")


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")
def test_processes_take_turns_and_leave_no_file(tmp_path: Path) -> None:
    lock, log = tmp_path / "new" / ".lock", tmp_path / "log"
    log.write_text("")
    said: Queue[str] = SPAWN.Queue()
    # On a busy machine one might be done before the next has begun.
    together = SPAWN.Barrier(6)
    several = [SPAWN.Process(target=_append, args=(lock, log, said, together)) for _ in range(6)]
    for one in several:
        one.start()
    for one in several:
        one.join(60)
    assert [one.exitcode for one in several] == [0] * 6
    assert len(log.read_text()) == 6 * 20
    assert said.get(timeout=10) == "waiting"
    assert not lock.exists()


def _die(lock: Path) -> None:
    with one_at_a_time(lock):
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")
def test_who_dies_gives_it_free(tmp_path: Path) -> None:
    dying = SPAWN.Process(target=_die, args=(tmp_path / ".lock",))
    dying.start()
    dying.join(60)
    assert dying.exitcode == -signal.SIGKILL
    assert (tmp_path / ".lock").exists()
    with one_at_a_time(tmp_path / ".lock", pytest.fail):
        pass
    assert not (tmp_path / ".lock").exists()


def test_where_files_cannot_be_locked_nobody_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*args: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", refused)
    with one_at_a_time(tmp_path / ".lock", pytest.fail):
        pass
