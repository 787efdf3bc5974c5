"""`dfbench prepare`, killed at random moments and started again."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.command import start_dfbench
from support.photos import write_photos

from dfbench.data.prepared import FRAMES, MARKER, load_prepared

PICTURES = 240
KILLS = 10


def finished(data: Path) -> list[Path]:
    return list(data.glob(f"tfds/*/*/*/{MARKER}"))


def shard_times(data: Path) -> dict[str, int]:
    return {s.name: s.stat().st_mtime_ns for s in data.glob("tfds/*/.work-*/[!.]*")}


def start(root: Path, data: Path) -> subprocess.Popen[str]:
    arguments = ("prepare", f"folder:{root}", "--data-dir", data, "--jobs", "2")
    settings = ("--set", "data.detector=none", "--set", "data.crop_size=64")
    return start_dfbench(*arguments, *settings, cwd=root.parent, cache=root.parent / "cache")


def wait_for(process: subprocess.Popen[str], event: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while process.poll() is None and not event():
        assert time.monotonic() < end
        time.sleep(0.002)


def kill(root: Path, data: Path, clips: int | None, delay: float) -> None:
    """Prepare until there are so many clips, or until they are packed; then a moment longer."""

    def there() -> bool:
        if clips is None:
            return any(data.glob("tfds/*/*/incomplete.*"))
        return len(shard_times(data)) >= clips

    before = data.with_name("before")
    while True:
        if data.is_dir():
            shutil.copytree(data, before)
        process = start(root, data)
        wait_for(process, there)
        time.sleep(delay)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if not finished(data):
            shutil.rmtree(before, ignore_errors=True)
            return
        # This machine is too busy: the end came before the kill. Once more, a little earlier.
        shutil.rmtree(data)
        before.rename(data)
        delay /= 2


@pytest.mark.slow
def test_ten_kills_change_no_byte(tmp_path: Path) -> None:
    root = write_photos(tmp_path / "mine", real=PICTURES // 2, fake=PICTURES // 2)
    quiet, data = tmp_path / "quiet", tmp_path / "killed"
    assert start(root, quiet).wait() == 0
    rng = random.Random(0)
    # While faces are found at random numbers of clips; then while they are packed.
    numbers: list[int | None] = [*sorted(rng.sample(range(PICTURES), KILLS - 3)), None, None, None]
    times: dict[str, int] = {}
    for number in numbers:
        kill(root, data, number, rng.uniform(0, 0.03))
        now = shard_times(data)
        assert times.items() <= now.items(), "a finished clip was done again"
        times = now
    assert len(times) == PICTURES
    assert start(root, data).wait() == 0
    left, right = (load_prepared(finished(folder)[0].parent) for folder in (quiet, data))
    records = sorted(file.name for file in left.folder.glob("*array_record*"))
    assert len(records) == 3
    for name in (*records, FRAMES):
        assert (left.folder / name).read_bytes() == (right.folder / name).read_bytes(), name
    assert sorted(f.name for f in left.folder.iterdir()) == sorted(
        f.name for f in right.folder.iterdir()
    )
    manifests = [dataclasses.replace(one.manifest, created="") for one in (left, right)]
    assert manifests[0] == manifests[1]
    assert not shard_times(data)
    assert len(list(right.folder.parent.iterdir())) == 1  # nothing half-written is left


def running(group: int) -> int:
    """Count the processes of a group, without those that have ended and are not cleared away."""
    table = subprocess.run(
        ["ps", "-A", "-o", "pgid=,stat="], capture_output=True, text=True, check=True
    )
    rows = [line.split() for line in table.stdout.splitlines()]
    return sum(pgid == str(group) and state[0] != "Z" for pgid, state in rows)


@pytest.mark.slow
def test_no_process_outlives_the_one_that_was_killed(tmp_path: Path) -> None:
    root = write_photos(tmp_path / "mine", real=PICTURES // 2, fake=PICTURES // 2)
    process = start(root, tmp_path / "data")
    wait_for(process, lambda: len(shard_times(tmp_path / "data")) > 0)
    process.kill()  # it alone
    process.wait()
    end = time.monotonic() + 10
    while left := running(process.pid):
        if time.monotonic() > end:
            os.killpg(process.pid, signal.SIGKILL)
            pytest.fail(f"{left} of its workers wait for ever")
        time.sleep(0.1)
