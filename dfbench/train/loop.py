"""The training loop: epochs, validation, early stopping, checkpoints, metrics.jsonl."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import jax
import numpy as np

from dfbench.config import RunConfig, phases_of, total_epochs
from dfbench.errors import UserError
from dfbench.processes import decide, first_does, own_share
from dfbench.progress import Progress
from dfbench.train import checkpoint
from dfbench.train.ahead import Ahead, BatchIterator
from dfbench.train.checkpoint import BEST, LAST, Checkpoint
from dfbench.train.history import History
from dfbench.train.parallel import check_batch_size, place, pmap_train_step
from dfbench.train.state import (
    Networks,
    TrainState,
    begin_phase,
    build_networks,
    create_state,
    without_optimizer,
)
from dfbench.train.step import make_train_step

LOG_EVERY = 10  # steps

SelectedBy = Literal["val video AUC", "val loss"]


@dataclass(frozen=True, kw_only=True)
class Validation:
    """How the source dataset's val split was scored.

    Attributes:
        loss: Mean of `training.loss`.
        video_auc: AUC by video; None where it is undefined (a class is missing).
    """

    loss: float
    video_auc: float | None


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """What came out of a training.

    Attributes:
        epochs: Epochs run, over all resumed sessions.
        steps: Steps taken, likewise.
        best_epoch: The epoch whose state was kept (the first is 1).
        best_val_auc: Its video AUC on the source's val split; None where undefined.
        best_val_loss: Its loss there.
        selected_by: What chose it.
        stopped_early: Whether patience ran out.
        wall_seconds: Of this session.
        images_per_s: Training throughput without validation, checkpoints and the first step,
            which compiles; None where no step was timed.
        best: The state that was kept, without the optimizer's; leaves are numpy arrays.
        networks: To predict with it.
    """

    epochs: int
    steps: int
    best_epoch: int
    best_val_auc: float | None
    best_val_loss: float
    selected_by: SelectedBy
    stopped_early: bool
    wall_seconds: float
    images_per_s: float | None
    best: TrainState
    networks: Networks


@dataclass(kw_only=True)
class _Marks:
    """The loop's bookkeeping, saved in each checkpoint as JSON."""

    step: int = 0
    epochs: int = 0  # finished, with their validation
    phase: int = 0
    phase_start: int = 0  # `epochs` when the phase began
    best_epoch: int = 0
    best_auc: float | None = None
    best_loss: float = math.inf
    losses: list[float] = field(default_factory=list)  # since the last row of metrics.jsonl

    @property
    def waited(self) -> int:
        """Epochs of this phase without a better validation."""
        return self.epochs - max(self.best_epoch, self.phase_start)

    def improved_by(self, validation: Validation) -> bool:
        """Compare by AUC, ties by loss; without AUC by loss."""
        if not self.best_epoch:
            return True
        return _rank(validation.video_auc, validation.loss) > _rank(self.best_auc, self.best_loss)


def _rank(auc: float | None, loss: float) -> tuple[float, float]:
    return (-math.inf if auc is None else auc, -loss)


@dataclass(kw_only=True)
class _Stopwatch:
    """Images and seconds of training, without validation, checkpoints and the first step."""

    images: int = 0
    seconds: float = 0.0
    since: float | None = None
    row: tuple[int, float] = (0, 0.0)  # images and seconds at the last row of metrics.jsonl

    def start(self) -> None:
        self.since = time.perf_counter()

    def tick(self, images: int) -> None:
        """Count a step that ended now."""
        if self.since is not None:
            now = time.perf_counter()
            self.images, self.seconds = self.images + images, self.seconds + now - self.since
            self.since = now

    def rate(self) -> float | None:
        """Return images a second since the last call."""
        images, seconds = self.images - self.row[0], self.seconds - self.row[1]
        self.row = (self.images, self.seconds)
        return round(images / seconds, 2) if seconds else None


def fit(
    config: RunConfig,
    batches: BatchIterator,
    *,
    steps_per_epoch: int,
    class_weights: tuple[float, float],
    validate: Callable[[TrainState], Validation],
    run_dir: Path,
    start: Callable[[TrainState], TrainState] | None = None,
    resume: bool = False,
    keep_epochs: bool = False,
    saved: Callable[[], None] = lambda: None,
    progress: Progress | None = None,
) -> FitResult:
    """Train by `config`; keep the best epoch by the val split of the *source* dataset.

    Each phase goes on from the last state of the one before, with an optimizer of its own; where
    patience runs out, its phase ends. The best epoch is the best of all phases.

    Writes `metrics.jsonl` and `checkpoints/{last,best}` under `run_dir`. A resumed training ends
    with the same parameters, bit for bit, and the same metrics but for their timing.

    Args:
        config: Of it `seed`, `model`, `augment`, `optim`, `training` and `phases`.
        batches: Endless; its position is part of a checkpoint.
        steps_per_epoch: Steps between two validations.
        class_weights: Of real and fake examples in the loss.
        validate: Scores a state on the source's val split. Nothing else chooses the checkpoint.
        run_dir: Of this run; without `resume` an earlier training in it is deleted.
        start: Replaces the random parameters of the first state, for example by imported ones.
        resume: Go on from `checkpoints/last`, if there is one.
        keep_epochs: Also keep what each epoch ended with, without the optimizer's state.
        saved: Called after each checkpoint to resume from, in every process.
        progress: Called with steps.

    Raises:
        UserError: The batch cannot be split over the devices, a phase names no parameter (when it
            begins), the loss is no longer finite, or the checkpoint to resume from does not fit.
    """
    check_batch_size(config.training.batch_size)
    loop = _Loop(config, batches, steps_per_epoch, class_weights, validate, run_dir, progress)
    loop.keep_epochs, loop.saved = keep_epochs, saved
    loop.begin(resume, start)
    return loop.run()


class _Loop:
    """The variables of one `fit`."""

    def __init__(
        self,
        config: RunConfig,
        batches: BatchIterator,
        steps_per_epoch: int,
        class_weights: tuple[float, float],
        validate: Callable[[TrainState], Validation],
        run_dir: Path,
        progress: Progress | None,
    ) -> None:
        self.config, self.run_dir = config, run_dir
        self.steps_per_epoch, self.class_weights = steps_per_epoch, class_weights
        self.validate, self.progress = validate, progress
        self.phases = phases_of(config)
        self.state, self.networks = create_state(config, steps_per_epoch=steps_per_epoch)
        self.history = History(run_dir / "metrics.jsonl")
        self.marks, self.watch = _Marks(), _Stopwatch()
        self.keep_epochs = False
        self.saved: Callable[[], None] = lambda: None
        own = own_share().size(config.training.batch_size)
        seed = np.full(own, config.seed, np.int32)
        self.batches = Ahead(batches, lambda batch: place({**batch, "seed": seed}))
        self.pending: tuple[int, dict[str, jax.Array]] | None = None  # metrics not yet read

    def begin(self, resume: bool, start: Callable[[TrainState], TrainState] | None) -> None:
        """Take up the last checkpoint, or clear the way for a new training."""
        self.run_dir.mkdir(parents=True, exist_ok=True)
        if resume and decide(lambda: checkpoint.exists(self.run_dir, LAST)):
            self.marks = _Marks(**checkpoint.read_progress(self.run_dir, LAST))
            if self.marks.phase:
                self._enter_phase()
            found = checkpoint.restore(self.run_dir, LAST, self.state)
            self.state = found.state
            self.batches.set_state(found.iterator)
        else:
            first_does(lambda: shutil.rmtree(self.run_dir / "checkpoints", ignore_errors=True))
            if start is not None:
                self.state = start(self.state)
        self.history.keep_until(self.marks.step)

    def _enter_phase(self) -> None:
        """Take the optimizer and the frozen parameters of the phase that the marks name."""
        self.networks = build_networks(
            self.config, steps_per_epoch=self.steps_per_epoch, phase=self.marks.phase
        )
        self.state = begin_phase(self.state, self.networks)

    def run(self) -> FitResult:
        start = time.perf_counter()
        while True:
            self._run_phase()
            if self.marks.phase + 1 == len(self.phases):
                break
            self.marks.phase += 1
            self.marks.phase_start = self.marks.epochs
            self._enter_phase()
        if not total_epochs(self.config):
            self._validate_epoch(finished=0)  # what there was before the first step is kept
        best = checkpoint.restore(self.run_dir, BEST, without_optimizer(self.state))
        marks, watch = self.marks, self.watch
        return FitResult(
            epochs=marks.epochs,
            steps=marks.step,
            best_epoch=marks.best_epoch,
            best_val_auc=marks.best_auc,
            best_val_loss=marks.best_loss,
            selected_by="val loss" if marks.best_auc is None else "val video AUC",
            stopped_early=marks.epochs < total_epochs(self.config),
            wall_seconds=time.perf_counter() - start,
            images_per_s=watch.images / watch.seconds if watch.seconds else None,
            best=best.state,
            networks=self.networks,
        )

    def _run_phase(self) -> None:
        end = self.marks.phase_start + self.phases[self.marks.phase].epochs
        if self.marks.epochs >= end or self._out_of_patience():
            return
        step = make_train_step(self.networks, self.config, self.class_weights)
        self.step = pmap_train_step(step)
        self.watch.since = None  # the first step compiles
        while self.marks.epochs < end and not self._out_of_patience():
            self._train_epoch()
            self._validate_epoch()

    def _out_of_patience(self) -> bool:
        patience = self.config.training.patience
        return patience > 0 and self.marks.waited >= patience

    def _train_epoch(self) -> None:
        end = (self.marks.epochs + 1) * self.steps_per_epoch
        every = self.config.training.checkpoint_steps
        while self.marks.step < end:
            # The device works on this step while the metrics of the one before are read.
            self.state, metrics = self.step(self.state, next(self.batches))
            self._read_pending()
            self.marks.step += 1
            self.pending = (self.marks.step, metrics)
            if self.watch.since is None:
                self._read_pending()  # the first step compiles: wait for it, then time
                self.watch.start()
            if every and self.marks.step % every == 0 and self.marks.step < end:
                self._read_pending()
                self._save_last()
        self._read_pending()

    def _read_pending(self) -> None:
        """Wait for the metrics of the step dispatched last, and log them."""
        if self.pending is None:
            return
        step, metrics = self.pending
        self.pending = None
        loss = float(metrics["loss"])
        if not math.isfinite(loss):
            lr = self.phases[self.marks.phase].optim.lr
            raise UserError(
                f"the loss is {loss} at step {step}: try a lower learning rate "
                f"(--set optim.lr={lr / 10:g}) or --set model.dtype=float32"
            )
        marks = self.marks
        marks.losses.append(loss)
        self.watch.tick(self.config.training.batch_size)
        total = total_epochs(self.config) * self.steps_per_epoch
        if self.progress is not None:
            self.progress(step, total, f"loss {loss:.3f}")
        if step % LOG_EVERY == 0 or step % self.steps_per_epoch == 0:
            self.history.append(
                step=step,
                epoch=(step - 1) // self.steps_per_epoch + 1,
                loss=sum(marks.losses) / len(marks.losses),
                lr=float(
                    self.networks.schedule(step - 1 - marks.phase_start * self.steps_per_epoch)
                ),
                images_per_s=self.watch.rate(),
            )
            marks.losses.clear()

    def _validate_epoch(self, finished: int = 1) -> None:
        marks = self.marks
        validation = self.validate(self.state)
        marks.epochs += finished
        best = marks.improved_by(validation)
        if best:
            marks.best_epoch = marks.epochs
            marks.best_auc, marks.best_loss = validation.video_auc, validation.loss
        self.history.append(
            step=marks.step,
            epoch=marks.epochs,
            val_loss=validation.loss,
            val_video_auc=validation.video_auc,
            best=best,
        )
        names = [BEST] if best else []
        names += [checkpoint.epoch_name(marks.epochs)] if self.keep_epochs else []
        kept = Checkpoint(state=without_optimizer(self.state), progress=asdict(marks))
        for name in names:
            checkpoint.save(self.run_dir, name, kept)
        self._save_last()

    def _save_last(self) -> None:
        saved = Checkpoint(
            state=self.state, iterator=self.batches.get_state(), progress=asdict(self.marks)
        )
        checkpoint.save(self.run_dir, LAST, saved)
        self.saved()
        if self.watch.since is not None:
            self.watch.start()  # saving and validating are not training
