from __future__ import annotations

import errno
import gc
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from support.disk import remount, small_disk
from support.train import TINY, assert_trees_equal, filled_state

from dfbench.config import OptimConfig
from dfbench.errors import UserError
from dfbench.train import checkpoint
from dfbench.train.checkpoint import LAST, Checkpoint, checkpoint_dir
from dfbench.train.state import TrainState, abstract_state, without_optimizer

ADAM = replace(TINY, optim=OptimConfig(name="adam"))


@pytest.fixture(scope="module")
def state() -> TrainState:
    return filled_state(ADAM)[0]


@pytest.fixture(scope="module")
def like() -> TrainState:
    return abstract_state(ADAM, optimizer=True)


def _save(run_dir: Path, state: TrainState, epoch: int) -> Path:
    return checkpoint.save(run_dir, LAST, Checkpoint(state=state, progress={"epoch": epoch}))


@pytest.mark.parametrize("iterator", [{"number": 7}, b"\x00\xff\n", None, "text", [1, 2.5]])
def test_what_was_saved_comes_back(
    tmp_path: Path, state: TrainState, like: TrainState, iterator: object
) -> None:
    saved = Checkpoint(state=state, iterator=iterator, progress={"epoch": 3, "auc": None})
    path = checkpoint.save(tmp_path, LAST, saved)
    assert path == checkpoint_dir(tmp_path, LAST)
    found = checkpoint.restore(tmp_path, LAST, like)
    assert_trees_equal(found.state, state)
    assert all(type(leaf) is np.ndarray for leaf in jax.tree.leaves(found.state))
    assert (found.iterator, found.progress) == (iterator, saved.progress)


def test_numbers_come_back_bit_by_bit(tmp_path: Path, state: TrainState, like: TrainState) -> None:
    odd = np.array([np.nan, -0.0, np.inf, 1e-45], np.float32)
    stats = jax.tree.map(lambda leaf: np.resize(odd, leaf.shape), state.batch_stats)
    checkpoint.save(tmp_path, LAST, Checkpoint(state=replace(state, batch_stats=stats)))
    found = checkpoint.restore(tmp_path, LAST, like).state.batch_stats
    for leaf, other in zip(jax.tree.leaves(found), jax.tree.leaves(stats), strict=True):
        assert leaf.tobytes() == other.tobytes()


def test_without_an_optimizer(tmp_path: Path, state: TrainState) -> None:
    checkpoint.save(tmp_path, LAST, Checkpoint(state=without_optimizer(state)))
    like = abstract_state(ADAM, optimizer=False)
    found = checkpoint.restore(tmp_path, LAST, like).state
    assert found.opt_state is None
    assert_trees_equal(found.params, state.params)


def test_a_second_one_replaces_the_first(
    tmp_path: Path, state: TrainState, like: TrainState
) -> None:
    for epoch in (1, 2):
        _save(tmp_path, state, epoch)
    assert checkpoint.restore(tmp_path, LAST, like).progress == {"epoch": 2}
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == [LAST]


def test_killed_between_the_two_renames(
    tmp_path: Path, state: TrainState, like: TrainState
) -> None:
    path = _save(tmp_path, state, 1)
    shutil.copytree(path, path.with_name("last.new"))
    path.rename(path.with_name("last.old"))
    assert checkpoint.exists(tmp_path, LAST)
    assert checkpoint.restore(tmp_path, LAST, like).progress == {"epoch": 1}
    _save(tmp_path, state, 2)
    assert checkpoint.restore(tmp_path, LAST, like).progress == {"epoch": 2}
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == [LAST]


def test_killed_before_the_old_one_was_deleted(
    tmp_path: Path, state: TrainState, like: TrainState
) -> None:
    path = _save(tmp_path, state, 1)
    path.rename(path.with_name("last.old"))
    shutil.copytree(path.with_name("last.old"), path)
    assert checkpoint.restore(tmp_path, LAST, like).progress == {"epoch": 1}
    _save(tmp_path, state, 2)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == [LAST]


def test_killed_while_writing(
    tmp_path: Path, state: TrainState, like: TrainState, monkeypatch: pytest.MonkeyPatch
) -> None:
    _save(tmp_path, state, 1)
    folder = tmp_path / "checkpoints"

    def leave_half(source: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", leave_half)
        with pytest.raises(KeyboardInterrupt):
            _save(tmp_path, state, 2)
    assert checkpoint.restore(tmp_path, LAST, like).progress == {"epoch": 1}
    # Orbax writes under a name of its own until it has everything.
    (folder / "last.new.orbax-checkpoint-tmp").mkdir(exist_ok=True)
    _save(tmp_path, state, 3)
    assert checkpoint.restore(tmp_path, LAST, like).progress == {"epoch": 3}
    assert [path.name for path in folder.iterdir()] == [LAST]


def test_one_that_the_disk_loses_leaves_the_one_before(
    tmp_path: Path, state: TrainState, like: TrainState, monkeypatch: pytest.MonkeyPatch
) -> None:
    _save(tmp_path, state, 1)

    def lost(file: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lost)
        with pytest.raises(OSError, match=re.escape(os.strerror(errno.EIO))) as caught:
            _save(tmp_path, state, 2)
    assert caught.value.filename == str(checkpoint_dir(tmp_path, LAST))
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == [LAST]
    assert checkpoint.restore(tmp_path, LAST, like).progress == {"epoch": 1}


# What fails in Orbax's threads besides is said when they are cleared away, and nobody can take it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_one_that_does_not_fit_leaves_the_one_before(
    tmp_path: Path,
    like: TrainState,
    state: TrainState,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with small_disk(tmp_path / "disk", kilobytes=300) as disk:
        _save(disk, state, 1)
        large = replace(state, params={"x": np.random.default_rng(0).random(100_000)})
        with pytest.raises(OSError, match="No space left") as caught:
            _save(disk, large, 2)
        assert caught.value.filename == str(checkpoint_dir(disk, LAST))
        assert capfd.readouterr().err == ""  # Orbax's threads would write pages of traceback
        assert [record.getMessage() for record in caplog.records] == []
        assert [path.name for path in (disk / "checkpoints").iterdir()] == [LAST]
        assert checkpoint.restore(disk, LAST, like).progress == {"epoch": 1}
        remount(disk, "ro")
        with pytest.raises(OSError, match="Read-only") as caught:
            _save(disk, state, 3)
        assert caught.value.filename == str(checkpoint_dir(disk, LAST))
        assert checkpoint.restore(disk, LAST, like).progress == {"epoch": 1}
        remount(disk, "rw")
        _save(disk, state, 4)
        assert checkpoint.restore(disk, LAST, like).progress == {"epoch": 4}


def test_there_is_none(tmp_path: Path, like: TrainState) -> None:
    assert not checkpoint.exists(tmp_path, LAST)
    with pytest.raises(UserError, match=r"checkpoints/last: no such checkpoint; train first"):
        checkpoint.restore(tmp_path, LAST, like)


def _empty(path: Path) -> None:
    for file in path.rglob("*"):
        if file.is_file():
            file.write_bytes(b"")


def _halve(path: Path) -> None:
    for file in path.rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _flip_bits(path: Path) -> None:
    for file in (path / "state").rglob("d/*"):
        file.write_bytes(bytes(byte ^ 0xFF for byte in file.read_bytes()))


def _lose_state(path: Path) -> None:
    shutil.rmtree(path / "state")


def _lose_meta(path: Path) -> None:
    shutil.rmtree(path / "meta")


# Orbax's readers that fail report to an event loop which has ended.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("damage", [_empty, _halve, _flip_bits, _lose_state, _lose_meta])
def test_a_damaged_one(
    tmp_path: Path, state: TrainState, like: TrainState, damage: Callable[[Path], None]
) -> None:
    damage(_save(tmp_path, state, 1))
    with pytest.raises(
        UserError, match=r"checkpoints/last: the checkpoint is damaged.*delete"
    ) as e:
        checkpoint.restore(tmp_path, LAST, like)
    assert "\n" not in str(e.value)
    del e
    gc.collect()


def _of_sgd(state: TrainState) -> TrainState:
    return filled_state(TINY)[0]


def _of_another_model(state: TrainState) -> TrainState:
    return replace(state, params={"other": state.params})


def _of_other_shapes(state: TrainState) -> TrainState:
    return replace(state, params=jax.tree.map(lambda leaf: np.zeros((5, 5)), state.params))


@pytest.mark.parametrize("change", [_of_sgd, _of_another_model, _of_other_shapes])
def test_one_of_another_kind(
    tmp_path: Path,
    state: TrainState,
    like: TrainState,
    change: Callable[[TrainState], TrainState],
) -> None:
    _save(tmp_path, change(state), 1)
    with pytest.raises(UserError, match=r"checkpoints/last: the checkpoint is .*delete the folder"):
        checkpoint.restore(tmp_path, LAST, like)
