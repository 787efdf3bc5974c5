"""Whatever moment a command is killed at: started again it ends as if nothing had been."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from support.command import dfbench, start_dfbench
from support.kills import CACHE, differences, disturb
from support.photos import write_photos

from dfbench import signals
from dfbench.eval.scores import read_scores
from dfbench.results.store import SCORES, card_paths

pytestmark = pytest.mark.slow  # they train

KILLS = 20
# Rounding on another number of devices, over the whole training: probabilities of a video.
DEVICES_APART = 1e-3


def command(folder: str, *more: str) -> tuple[str, ...]:
    """Return one that prepares, trains, scores and writes pages, all in the folder it runs in."""
    return (
        *("run", "--train", f"folder:{folder}", "--resume"),
        *("--data-dir", "data", "--runs-dir", "runs", "--jobs", "2"),
        *("--set", "data.detector=none", "--set", "data.crop_size=32"),
        *("--set", "model.input_size=32", "--set", "augment.flip=0.5"),
        *("--set", "training.batch_size=8", "--set", "training.epochs=12"),
        *("--set", "training.checkpoint_steps=3", "--set", "training.patience=0"),
        *("--set", "scoring.batch_size=12", "--set", "scoring.resamples=50", *more),
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("photos") / "mine", real=60, fake=60)


def _home(path: Path, like: Path | None = None) -> Path:
    """Return an empty folder, with the compiled programs of another one."""
    path.mkdir()
    if like is not None:
        (path / CACHE).symlink_to(like / CACHE)
    return path


@pytest.fixture(scope="module")
def whole(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make everything undisturbed."""
    home = _home(tmp_path_factory.mktemp("kills") / "whole")
    done = dfbench(*command(str(photos)), cwd=home, cache=home / CACHE)
    assert done.returncode == 0, done.stderr
    return home


def test_made_twice_everything_is_the_same(whole: Path, photos: Path, tmp_path: Path) -> None:
    home = _home(tmp_path / "again", whole)
    done = dfbench(*command(str(photos)), cwd=home, cache=home / CACHE)
    assert done.returncode == 0, done.stderr
    assert differences(home, whole) == []


def test_twenty_kills(whole: Path, photos: Path, tmp_path: Path) -> None:
    rng, kills, rounds = random.Random(0), 0, 0
    while kills < KILLS:
        home, rounds = _home(tmp_path / f"{rounds}", whole), rounds + 1
        made = disturb(command(str(photos)), home, rng, span=6, most=KILLS - kills)
        kills += len(made.kills)
        assert made.faults == []
        assert [kill for kill in made.kills if not kill.right] == []
        assert differences(home, whole) == []


def _stopped(home: Path, photos: Path, *more: str, **env: str) -> None:
    """Begin the training, and stop it after some steps."""
    process = start_dfbench(
        *command(str(photos), *more), cwd=home, cache=home / CACHE, stderr=subprocess.PIPE, **env
    )
    until = time.monotonic() + 300
    while not list(home.glob("runs/*/checkpoints/last")):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == signals.STOPPED, said
    assert re.search(r"stopped after step \d+ of", said)


def test_other_workers_end_it_bit_by_bit(whole: Path, photos: Path, tmp_path: Path) -> None:
    home = _home(tmp_path / "workers", whole)
    _stopped(home, photos)
    more = ("--set", "data.workers=2")
    done = dfbench(*command(str(photos), *more), cwd=home, cache=home / CACHE)
    assert done.returncode == 0, done.stderr
    ours, theirs = (next((one / "runs").rglob(SCORES)) for one in (home, whole))
    assert ours.read_bytes() == theirs.read_bytes()


def test_another_number_of_devices_ends_it_up_to_rounding(
    whole: Path, photos: Path, tmp_path: Path
) -> None:
    home = _home(tmp_path / "devices", whole)
    _stopped(home, photos, JAX_NUM_CPU_DEVICES="1")
    done = dfbench(*command(str(photos)), cwd=home, cache=home / CACHE, JAX_NUM_CPU_DEVICES="4")
    assert done.returncode == 0, done.stderr
    ours, theirs = (card_paths(one / "runs")[0].with_name(SCORES) for one in (home, whole))
    a, b = read_scores(ours), read_scores(theirs)
    np.testing.assert_allclose(a.p_fake, b.p_fake, atol=DEVICES_APART)
