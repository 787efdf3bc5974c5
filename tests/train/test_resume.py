"""Whoever is killed and resumed ends where the others end, bit for bit."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import killed
from support.train import assert_trees_equal, kept_states, small_models

from dfbench.signals import Stopped
from dfbench.train import checkpoint, loop
from dfbench.train.checkpoint import BEST, LAST, Checkpoint
from dfbench.train.history import read_history
from dfbench.train.state import TrainState, abstract_state
from dfbench.train.task import FitResult, Validation

# Of twelve steps, in epochs of four, saved every three and at each epoch's end.
KILLS = [
    pytest.param(2, 0, id="before anything is saved", marks=pytest.mark.slow),
    pytest.param(5, 4, id="in the step after an epoch", marks=pytest.mark.slow),
    pytest.param(8, 6, id="amid an epoch"),
    pytest.param(12, 9, id="in the last step", marks=pytest.mark.slow),
]


def _kill(run_dir: Path, model: str, batch: int) -> None:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "support.killed", str(run_dir), model, str(batch)],
        env=os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{root / 'tests'}"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def _last(run_dir: Path, model: str) -> Checkpoint:
    with small_models():
        like = abstract_state(killed.config_of(model), optimizer=True)
    return checkpoint.restore(run_dir, LAST, like)


def _rows(run_dir: Path) -> list[dict[str, Any]]:
    rows = read_history(run_dir / "metrics.jsonl")
    return [{k: v for k, v in row.items() if k != "images_per_s"} for row in rows]


def _assert_same(run_dir: Path, result: FitResult, wanted_dir: Path, wanted: FitResult) -> None:
    model = wanted.networks.spec.name
    found, expected = _last(run_dir, model), _last(wanted_dir, model)
    assert_trees_equal(found.state, expected.state)
    assert (found.iterator, found.progress) == (expected.iterator, expected.progress)
    assert_trees_equal(result.best, wanted.best)
    assert _rows(run_dir) == _rows(wanted_dir)
    for name in ("epochs", "steps", "best_epoch", "best_val_auc", "best_val_loss", "selected_by"):
        assert getattr(result, name) == getattr(wanted, name)


@pytest.fixture(scope="module", autouse=True)
def _compiled_once() -> Iterator[None]:
    """Compile a step once a configuration, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "create_state", kept_states(loop.create_state))
        for name in ("make_train_step", "pmap_train_step"):
            patch.setattr(loop, name, functools.cache(getattr(loop, name)))
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FitResult]:
    run_dir = tmp_path_factory.mktemp("whole")
    return run_dir, killed.run(run_dir, "tiny")


@pytest.mark.parametrize(("batch", "saved"), KILLS)
def test_killed_and_resumed(
    tmp_path: Path, whole: tuple[Path, FitResult], batch: int, saved: int
) -> None:
    _kill(tmp_path, "tiny", batch)
    assert checkpoint.exists(tmp_path, LAST) == (saved > 0)
    if saved:
        assert int(_last(tmp_path, "tiny").state.step) == saved
    result = killed.run(tmp_path, "tiny", resume=True)
    assert result.best_epoch == 2
    _assert_same(tmp_path, result, *whole)


@pytest.mark.slow
def test_killed_and_resumed_with_a_real_network(tmp_path: Path) -> None:
    whole = killed.run(tmp_path / "whole", "small_meso4")
    _kill(tmp_path / "cut", "small_meso4", 7)
    result = killed.run(tmp_path / "cut", "small_meso4", resume=True)
    _assert_same(tmp_path / "cut", result, tmp_path / "whole", whole)


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("batch", [1, 4, 6, 12])  # of epochs of four
def test_asked_to_end_it_saves_and_resumes(
    tmp_path: Path, whole: tuple[Path, FitResult], batch: int, by: signal.Signals
) -> None:
    with python_takes_interrupts(), pytest.raises(Stopped, match=f"after step {batch} of 12"):
        killed.run(tmp_path, "tiny", kill_at=batch, by=by)
    found = _last(tmp_path, "tiny")
    assert int(found.state.step) == batch
    assert found.progress["epochs"] == (batch - 1) // 4  # before the validation, if there is one
    _assert_same(tmp_path, killed.run(tmp_path, "tiny", resume=True), *whole)


def test_asked_to_end_in_a_validation_it_does_not_wait(
    tmp_path: Path, whole: tuple[Path, FitResult]
) -> None:
    def validate(state: TrainState) -> Validation:
        if int(state.step) == 8:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        return killed.validate(state)

    start = time.monotonic()
    with pytest.raises(Stopped, match="after step 8 of 12"):
        killed.run(tmp_path, "tiny", validate=validate)
    assert time.monotonic() - start < 60
    assert _last(tmp_path, "tiny").progress["epochs"] == 1
    _assert_same(tmp_path, killed.run(tmp_path, "tiny", resume=True), *whole)


@contextlib.contextmanager
def python_takes_interrupts() -> Iterator[None]:
    """Let Ctrl-C come through: tests may run where it is passed over."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def test_resuming_what_is_finished_trains_no_more(whole: tuple[Path, FitResult]) -> None:
    run_dir, wanted = whole
    rows = _rows(run_dir)
    result = killed.run(run_dir, "tiny", kill_at=13, resume=True)
    assert (result.steps, result.images_per_s) == (12, None)
    assert_trees_equal(result.best, wanted.best)
    assert _rows(run_dir) == rows


def test_without_resume_it_starts_anew(tmp_path: Path, whole: tuple[Path, FitResult]) -> None:
    killed.run(tmp_path, "tiny")
    result = killed.run(tmp_path, "tiny")
    _assert_same(tmp_path, result, *whole)
    assert checkpoint.exists(tmp_path, BEST)
