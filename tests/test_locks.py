from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import re
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from dfbench.locks import one_at_a_time

SPAWN = multiprocessing.get_context("fork")


def _append(lock: Path, log: Path, said: Queue[str], together: Barrier) -> None:
    together.wait(60)
    with one_at_a_time(lock, "it is being done", said.put):
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
    holder = rf"it is being done by process \d+ on {re.escape(socket.gethostname())} since 20\d\d-"
    lines = [said.get(timeout=10)]
    while not said.empty():
        lines.append(said.get())
    assert len(lines) <= 5  # each says it once
    assert any(re.match(holder, line) for line in lines), lines
    assert all(line.endswith(": waiting for it") for line in lines)
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
    with one_at_a_time(tmp_path / ".lock", "x is done", pytest.fail):
        pass
    assert not (tmp_path / ".lock").exists()


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_where_files_cannot_be_locked_nobody_waits_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refused(*args: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", refused)
    said: list[str] = []
    with one_at_a_time(tmp_path / ".lock", "x is being done", said.append):
        assert list(tmp_path.iterdir()) == []
    (line,) = said
    assert line.startswith(f"warning: files cannot be locked in {tmp_path}: if x is being done")


def test_a_disk_that_is_gone_is_no_disk_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*args: object) -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr("fcntl.flock", refused)
    with pytest.raises(OSError, match="Stale"), one_at_a_time(tmp_path / ".lock"):
        pass


def test_what_a_lock_says_does_not_reach_the_terminal_as_it_is(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / ".lock").write_bytes(b"\x1b[2Jprocess\n\xff" + b"x" * 1000)
    with (tmp_path / ".lock").open("rb") as held, ThreadPoolExecutor(1) as pool:
        fcntl.flock(held, fcntl.LOCK_EX)

        def take() -> None:
            with one_at_a_time(tmp_path / ".lock", "x is being done", said.append):
                pass

        waiting = pool.submit(take)
        until = time.monotonic() + 30
        while not said and time.monotonic() < until:
            time.sleep(0.01)
        fcntl.flock(held, fcntl.LOCK_UN)
        waiting.result(30)
    (line,) = said
    assert line.isprintable()
    assert len(line) < 400
