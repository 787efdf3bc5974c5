"""Checkpoints of model, optimizer and data iterator: the one file that says orbax.

A checkpoint is a folder, replaced as a whole: whoever is killed while saving leaves either the
old one or the new one, and so does a machine without power.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from dfbench.errors import UserError
from dfbench.files import naming, to_disk
from dfbench.processes import first_does, own_share, several
from dfbench.train.state import TrainState

LAST = "last"
BEST = "best"
_EPOCH = "epoch-"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        state: Its leaves are numpy arrays after a restore.
        iterator: The data iterator's state after the last batch that `state` has seen: JSON or
            bytes.
        progress: The loop's own bookkeeping, JSON.
    """

    state: TrainState
    iterator: Any = None
    progress: Any = None


def checkpoint_dir(run_dir: Path, name: str) -> Path:
    """Return where the checkpoint called "last" or "best", or of an epoch, of a run stands."""
    return run_dir / "checkpoints" / name


def epoch_name(epoch: int) -> str:
    """Return the name of the checkpoint of an epoch, where each is kept; the first is 1."""
    return f"{_EPOCH}{epoch:04d}"


def kept_epochs(run_dir: Path) -> list[int]:
    """Return the epochs that have checkpoints of their own."""
    names = [path.name.removeprefix(_EPOCH) for path in _epoch_dirs(run_dir)]
    return sorted(int(name) for name in names if name.isdigit())


def drop_epochs(run_dir: Path) -> None:
    """Delete the checkpoints of single epochs."""

    def drop() -> None:
        for path in _epoch_dirs(run_dir):
            shutil.rmtree(path)

    first_does(drop)


def _epoch_dirs(run_dir: Path) -> list[Path]:
    return list((run_dir / "checkpoints").glob(f"{_EPOCH}*"))


def exists(run_dir: Path, name: str) -> bool:
    """Return whether there is such a checkpoint."""
    return _recovered(checkpoint_dir(run_dir, name)).is_dir()


def _recovered(path: Path) -> Path:
    """Finish a replacement that was cut off between its two renames."""
    old = path.with_name(path.name + ".old")
    if old.is_dir() and not path.is_dir():
        old.rename(path)
    return path


def save(run_dir: Path, name: str, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint, replacing the one of that name. Waits for the device.

    Of several processes the first one writes, and the others wait.

    Raises:
        OSError: The disk refuses it; the error names the checkpoint, and the one before stays.
    """
    first_does(lambda: _save(run_dir, name, checkpoint))
    return checkpoint_dir(run_dir, name).resolve()


def _save(run_dir: Path, name: str, checkpoint: Checkpoint) -> None:
    path = _recovered(checkpoint_dir(run_dir, name)).resolve()
    new, old = path.with_name(name + ".new"), path.with_name(name + ".old")
    state = jax.tree.map(np.asarray, jax.device_get(checkpoint.state))
    meta = {"iterator": _encode(checkpoint.iterator), "progress": checkpoint.progress}
    args = ocp.args.Composite(state=ocp.args.PyTreeSave(state), meta=ocp.args.JsonSave(meta))
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _drop(old, *_unfinished(new))
        try:
            with _checkpointer() as checkpointer, _quiet_threads():
                checkpointer.save(new, args)
            to_disk(new)
            if path.is_dir():
                path.rename(old)
            new.rename(path)
        except BaseException:
            _recovered(path)
            _drop(*_unfinished(new))  # the disk may be full
            raise
        _drop(old)


def _unfinished(new: Path) -> list[Path]:
    return list(new.parent.glob(f"{new.name}*"))  # Orbax adds to the name until it has everything


def _drop(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _quiet_threads() -> Iterator[None]:
    """Keep back the tracebacks of Orbax's threads, whose errors its `save` raises too.

    After an error other writes are still under way, and find its event loop closed when they end:
    of these nothing is said as long as this process lives.
    """
    log = logging.getLogger("absl")
    threads, disabled, unraisable = threading.excepthook, log.disabled, sys.unraisablehook
    threading.excepthook, log.disabled = lambda failed: None, True
    sys.unraisablehook = partial(_pass_on, unraisable)
    try:
        yield
        sys.unraisablehook = unraisable
    finally:
        threading.excepthook, log.disabled = threads, disabled


def _pass_on(hook: Callable[[Any], object], fault: Any) -> None:
    if str(fault.exc_value) != "Event loop is closed":
        hook(fault)


def _checkpointer() -> ocp.Checkpointer:
    """Return a reader and writer that knows no process but this one."""
    if not several():
        return ocp.Checkpointer(ocp.CompositeCheckpointHandler())
    own = own_share().part
    alone = ocp.options.MultiprocessingOptions(primary_host=own, active_processes={own})
    handler = ocp.CompositeCheckpointHandler(
        composite_options=ocp.CompositeOptions(multiprocessing_options=alone)
    )
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


def restore(run_dir: Path, name: str, like: TrainState) -> Checkpoint:
    """Read a checkpoint into the form of `like` (see `train.state.abstract_state`).

    Raises:
        UserError: There is none, it is damaged, or it is of another model or optimizer.
    """
    path = _recovered(checkpoint_dir(run_dir, name)).resolve()
    if not path.is_dir():
        raise UserError(f"{path}: no such checkpoint; train first, or name another run")
    as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), like)
    template = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), like)
    try:
        with _checkpointer() as checkpointer:
            found = checkpointer.restore(
                path,
                ocp.args.Composite(
                    state=ocp.args.PyTreeRestore(template, restore_args=as_numpy),
                    meta=ocp.args.JsonRestore(),
                ),
            )
        state, meta = found.state, found.meta
        iterator, progress = _decode(meta["iterator"]), meta["progress"]
    except Exception as error:  # orbax, tensorstore and json each raise their own
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"{path}: the checkpoint is damaged, or of another model or optimizer "
            f"({reason[:200]}); delete the folder to train anew"
        ) from error
    if _shapes(state) != _shapes(like):
        raise UserError(
            f"{path}: the checkpoint is of a model of other shapes; "
            "delete the folder to train anew, or keep to the configuration it was made with"
        )
    return Checkpoint(state=state, iterator=iterator, progress=progress)


def read_progress(run_dir: Path, name: str) -> Any:
    """Read the loop's bookkeeping of a checkpoint alone.

    Raises:
        UserError: There is none, or it is damaged.
    """
    path = _recovered(checkpoint_dir(run_dir, name)).resolve()
    try:
        with _checkpointer() as checkpointer:
            found = checkpointer.restore(path, ocp.args.Composite(meta=ocp.args.JsonRestore()))
        return found.meta["progress"]
    except Exception as error:  # orbax, tensorstore and json each raise their own
        raise UserError(
            f"{path}: the checkpoint is damaged ({str(error)[:200]}); "
            "delete the folder to train anew"
        ) from error


def _shapes(tree: Any) -> list[tuple[tuple[int, ...], str]]:
    return [(leaf.shape, np.dtype(leaf.dtype).name) for leaf in jax.tree.leaves(tree)]


def _encode(state: Any) -> Any:
    if isinstance(state, bytes):
        return {"base64": base64.b64encode(state).decode("ascii")}
    return {"json": state}


def _decode(state: dict[str, Any]) -> Any:
    return base64.b64decode(state["base64"]) if "base64" in state else state["json"]
