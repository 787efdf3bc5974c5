"""The training loop: epochs, validation, early stopping, checkpoints, metrics.jsonl."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass
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
from dfbench.train.marks import Clock, Marks, Stopwatch
from dfbench.train.parallel import check_batch_size, place, pmap_train_step
from dfbench.train.state import (
    Networks,
    TrainState,
    begin_phase,
    build_networks,
    create_state,
    without_optimizer,
)
from dfbench.train.step import DeviceStep, Metrics, make_train_step

LOG_EVERY = 10  # steps

SelectedBy = Literal["val video AUC", "val loss"]
_Steps = Generator[dict[str, jax.Array], Metrics, None]


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
class Task:
    """What is to be trained, and who is told of it.

    Attributes:
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
    """

    config: RunConfig
    batches: BatchIterator
    steps_per_epoch: int
    class_weights: tuple[float, float]
    validate: Callable[[TrainState], Validation]
    run_dir: Path
    start: Callable[[TrainState], TrainState] | None = None
    resume: bool = False
    keep_epochs: bool = False
    saved: Callable[[], None] = lambda: None
    progress: Progress | None = None


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


def fit(task: Task) -> FitResult:
    """Train; keep the best epoch by the val split of the *source* dataset.

    Each phase goes on from the last state of the one before, with an optimizer of its own; where
    patience runs out, its phase ends. The best epoch is the best of all phases.

    Writes `metrics.jsonl` and `checkpoints/{last,best}` under the run's folder. A resumed training
    ends with the same parameters, bit for bit, and the same metrics but for their timing.

    Raises:
        UserError: The batch cannot be split over the devices, a phase names no parameter (when it
            begins), the loss is no longer finite, or the checkpoint to resume from does not fit.
    """
    training = Training(task, Clock())
    networks, steps, metrics = None, training.steps(), None
    while True:
        try:
            batch = next(steps) if metrics is None else steps.send(metrics)
        except StopIteration as end:
            result: FitResult = end.value
            return result
        if training.networks is not networks:  # a phase begins
            networks, step = training.networks, pmap_train_step(training.device_step())
        training.state, metrics = step(training.state, batch)


class Training:
    """One training, which leaves its steps to others.

    Args:
        task: What is trained.
        clock: Times it; shared with those that take turns with it.

    Attributes:
        state: After the last step.
        networks: Of the phase that it is in.

    Raises:
        UserError: As of `fit`, before the first step.
    """

    def __init__(self, task: Task, clock: Clock) -> None:
        check_batch_size(task.config.training.batch_size)
        self.task, self.config = task, task.config
        self.phases = phases_of(task.config)
        state, self.networks = create_state(task.config, steps_per_epoch=task.steps_per_epoch)
        self.held: Callable[[], TrainState] = lambda: state
        self.history = History(task.run_dir / "metrics.jsonl")
        self.marks, self.clock, self.watch = Marks(), clock, Stopwatch(clock=clock)
        own = own_share().size(task.config.training.batch_size)
        seed = np.full(own, task.config.seed, np.int32)
        self.batches = Ahead(task.batches, lambda batch: place({**batch, "seed": seed}))
        self.pending: tuple[int, Metrics] | None = None  # metrics not yet read
        self._begin()

    @property
    def state(self) -> TrainState:
        """Return what is to be trained on, checked or saved."""
        return self.held()

    @state.setter
    def state(self, state: TrainState) -> None:
        self.held = lambda: state

    def device_step(self) -> DeviceStep:
        """Return the per-device function of a step of the phase it is in."""
        return make_train_step(self.networks, self.config, self.task.class_weights)

    def _begin(self) -> None:
        """Take up the last checkpoint, or clear the way for a new training."""
        run_dir, start = self.task.run_dir, self.task.start
        run_dir.mkdir(parents=True, exist_ok=True)
        if self.task.resume and decide(lambda: checkpoint.exists(run_dir, LAST)):
            self.marks = Marks(**checkpoint.read_progress(run_dir, LAST))
            if self.marks.phase:
                self._enter_phase()
            found = checkpoint.restore(run_dir, LAST, self.state)
            self.state = found.state
            self.batches.set_state(found.iterator)
        else:
            first_does(lambda: shutil.rmtree(run_dir / "checkpoints", ignore_errors=True))
            if start is not None:
                self.state = start(self.state)
        self.history.keep_until(self.marks.step)

    def _enter_phase(self) -> None:
        """Take the optimizer and the frozen parameters of the phase that the marks name."""
        self.networks = build_networks(
            self.config, steps_per_epoch=self.task.steps_per_epoch, phase=self.marks.phase
        )
        self.state = begin_phase(self.state, self.networks)

    def steps(self) -> Generator[dict[str, jax.Array], Metrics, FitResult]:
        """Yield the batch of each step; whoever takes it sets `state`, and sends its metrics."""
        start = time.perf_counter()
        while True:
            yield from self._phase_steps()
            if self.marks.phase + 1 == len(self.phases):
                break
            self.marks.phase += 1
            self.marks.phase_start = self.marks.epochs
            self._enter_phase()
        if not total_epochs(self.config):
            self._validate_epoch(finished=0)  # what there was before the first step is kept
        best = checkpoint.restore(self.task.run_dir, BEST, without_optimizer(self.state))
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

    def _phase_steps(self) -> _Steps:
        end = self.marks.phase_start + self.phases[self.marks.phase].epochs
        self.watch.since = None  # the first step compiles
        while self.marks.epochs < end and not self._out_of_patience():
            yield from self._epoch_steps()
            self._validate_epoch()

    def _out_of_patience(self) -> bool:
        patience = self.config.training.patience
        return patience > 0 and self.marks.waited >= patience

    def _epoch_steps(self) -> _Steps:
        end = (self.marks.epochs + 1) * self.task.steps_per_epoch
        every = self.config.training.checkpoint_steps
        while self.marks.step < end:
            # The device works on this step while the metrics of the one before are read.
            metrics = yield next(self.batches)
            self._read_pending()
            self.marks.step += 1
            self.pending = (self.marks.step, metrics)
            if self.watch.since is None:
                self._read_pending()  # what was compiled: wait for it, then time
                self.watch.start()
            if every and self.marks.step % every == 0 and self.marks.step < end:
                self._read_pending()
                with self.clock.stopped():
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
        marks, steps_per_epoch = self.marks, self.task.steps_per_epoch
        marks.losses.append(loss)
        self.watch.tick(self.config.training.batch_size)
        if self.task.progress is not None:
            total = total_epochs(self.config) * steps_per_epoch
            self.task.progress(step, total, f"loss {loss:.3f}")
        if step % LOG_EVERY == 0 or step % steps_per_epoch == 0:
            self.history.append(
                step=step,
                epoch=(step - 1) // steps_per_epoch + 1,
                loss=sum(marks.losses) / len(marks.losses),
                lr=float(self.networks.schedule(step - 1 - marks.phase_start * steps_per_epoch)),
                images_per_s=self.watch.rate(),
            )
            marks.losses.clear()

    def _validate_epoch(self, finished: int = 1) -> None:
        with self.clock.stopped():
            marks, state = self.marks, self.state
            validation = self.task.validate(state)
            marks.epochs += finished
            best = marks.improved_by(validation.video_auc, validation.loss)
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
            names += [checkpoint.epoch_name(marks.epochs)] if self.task.keep_epochs else []
            kept = Checkpoint(state=without_optimizer(state), progress=asdict(marks))
            for name in names:
                checkpoint.save(self.task.run_dir, name, kept)
            self._save_last()

    def _save_last(self) -> None:
        saved = Checkpoint(
            state=self.state, iterator=self.batches.get_state(), progress=asdict(self.marks)
        )
        checkpoint.save(self.task.run_dir, LAST, saved)
        self.task.saved()
