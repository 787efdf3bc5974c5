"""The training loop: epochs, validation, early stopping, checkpoints, metrics.jsonl."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Generator
from contextlib import nullcontext
from dataclasses import asdict
from typing import NoReturn

import jax
import numpy as np

from dfbench.config import phases_of, total_epochs
from dfbench.errors import UserError
from dfbench.processes import anywhere, decide, first_does, own_share, several
from dfbench.signals import Finishing, Stopped, finishing
from dfbench.train import checkpoint
from dfbench.train.ahead import Ahead
from dfbench.train.checkpoint import BEST, LAST, Checkpoint
from dfbench.train.divergence import DivergedError, Step, diverged, fault_of, not_finite
from dfbench.train.history import History
from dfbench.train.marks import Clock, Marks, Stopwatch
from dfbench.train.parallel import check_batch_size, place, pmap_train_step
from dfbench.train.state import (
    TrainState,
    begin_phase,
    build_networks,
    create_state,
    without_optimizer,
)
from dfbench.train.step import DeviceStep, Metrics, make_train_step
from dfbench.train.task import FitResult, Task, Validation

LOG_EVERY = 10  # steps

_Steps = Generator[dict[str, jax.Array], Metrics, None]


def fit(task: Task) -> FitResult:
    """Train; keep the best epoch by the val split of the *source* dataset.

    Each phase goes on from the last state of the one before, with an optimizer of its own; where
    patience runs out, its phase ends. The best epoch is the best of all phases.

    Writes `metrics.jsonl` and `checkpoints/{last,best}` under the run's folder. A resumed training
    ends with the same parameters, bit for bit, and the same metrics but for their timing.

    Raises:
        UserError: The batch cannot be split over the devices, a phase names no parameter (when it
            begins), the checkpoint to resume from does not fit, or (`DivergedError`) a number of
            the training is no longer finite.
        Stopped: SIGTERM or Ctrl-C came; the training is saved.
    """
    with finishing() as stop:
        with stop.at_once():
            training = Training(task, Clock(), stop)
        networks, steps, metrics = None, training.steps(), None
        while True:
            stop.look()
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
        stop: Says when it has to end; nothing does by default.

    Attributes:
        state: After the last step.
        networks: Of the phase that it is in.

    Raises:
        UserError: As of `fit`, before the first step.
    """

    def __init__(self, task: Task, clock: Clock, stop: Finishing | None = None) -> None:
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
        self.pending: tuple[int, Metrics, jax.Array] | None = None  # metrics not yet read, and rows
        self.rows: jax.Array | None = None  # of the step before
        self.stop, self.agreed = stop or Finishing(), False
        self.kept: int | None = None  # step of the checkpoint to resume from
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
            if name := not_finite(found.state):
                raise UserError(
                    f"{checkpoint.checkpoint_dir(run_dir, LAST)}: {name} is not finite, so nothing "
                    "can go on from there; --overwrite trains again"
                )
            self.state, self.kept = found.state, self.marks.step
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
        if anywhere(self.stop.asked):
            raise self._stopped()  # all is saved already
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
            batch = next(self.batches) | self._flag()
            metrics = yield batch
            self._read_pending()
            self.marks.step += 1
            self.pending = (self.marks.step, metrics, batch["index"])
            if self.watch.since is None:
                self._read_pending()  # what was compiled: wait for it, then time
                self.watch.start()
            if self._has_to_end():
                break
            if every and self.marks.step % every == 0 and self.marks.step < end:
                self._read_pending()
                with self.clock.stopped():
                    self._save_last(self._sound())
        self._read_pending()
        if self._has_to_end():
            self._save_and_end()

    def _flag(self) -> dict[str, jax.Array]:
        """Return what a batch says to the other processes: that this one was asked to end."""
        if not several():
            return {}
        own = own_share().size(self.config.training.batch_size)
        return place({"stop": np.full(own, self.stop.due, np.int32)})

    def _has_to_end(self) -> bool:
        """Tell whether somebody asked for the end; several processes hear of it at one step."""
        return self.agreed if several() else self.stop.due

    def _save_and_end(self) -> NoReturn:
        self.stop.saving = True
        self._save_last(self._sound())
        raise self._stopped()

    def _stopped(self) -> Stopped:
        marks, total = self.marks, total_epochs(self.config) * self.task.steps_per_epoch
        return Stopped(
            f"stopped after step {marks.step} of {total}: {self.task.run_dir} is saved, and the "
            "same command with --resume goes on (`matrix` resumes by itself)"
        )

    def _read_pending(self) -> None:
        """Wait for the metrics of the step dispatched last, and log them."""
        if self.pending is None:
            return
        step, metrics, self.rows = self.pending
        self.pending = None
        loss = float(metrics["loss"])
        self.agreed = "stop" in metrics and bool(metrics["stop"])
        if fault := fault_of(loss, float(metrics["grad_norm"])):
            raise self._diverged(fault, step)
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
                lr=self._lr(step),
                images_per_s=self.watch.rate(),
            )
            marks.losses.clear()

    def _lr(self, step: int) -> float:
        """Return the learning rate of a step of this phase."""
        start = self.marks.phase_start * self.task.steps_per_epoch
        return float(self.networks.schedule(step - 1 - start))

    def _diverged(self, fault: str, step: int) -> DivergedError:
        """Return the error of a fault at a step, the last one or the one before."""
        rows = [] if self.rows is None else self.task.names(np.asarray(self.rows).ravel())
        taken = Step(
            number=step,
            lr=self._lr(step),
            settings_lr=self.phases[self.marks.phase].optim.lr,
            clips=rows,
            kept=self.kept,
        )
        return diverged(fault, taken)

    def _sound(self) -> TrainState:
        """Return the state for a checkpoint, which holds finite numbers alone."""
        state: TrainState = jax.device_get(self.state)
        if name := not_finite(state):
            raise self._diverged(f"{name} is no longer finite", self.marks.step)
        return state

    def _validated(self) -> Validation:
        """Score the state; a signal breaks that off, but of several processes all would have to."""
        try:
            with nullcontext() if several() else self.stop.at_once():
                validation = self.task.validate(self.state)
        except KeyboardInterrupt:
            if not self.stop.asked:
                raise
            self._save_and_end()
        if not math.isfinite(validation.loss):
            raise self._diverged(f"the loss on val is {validation.loss}", self.marks.step)
        return validation

    def _validate_epoch(self, finished: int = 1) -> None:
        with self.clock.stopped():
            marks, validation = self.marks, self._validated()
            state = self._sound()
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
            self._save_last(state)

    def _save_last(self, state: TrainState) -> None:
        saved = Checkpoint(
            state=state, iterator=self.batches.get_state(), progress=asdict(self.marks)
        )
        checkpoint.save(self.task.run_dir, LAST, saved)
        self.kept = self.marks.step
        self.task.saved()
