"""A training that gets a signal: `python -m support.killed RUN_DIR MODEL BATCH` is killed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from support.train import SMALL, Batches, small_models

from dfbench.config import AugmentConfig, ModelConfig, OptimConfig, RunConfig, TrainingConfig
from dfbench.models.registry import get_model
from dfbench.train.ahead import AHEAD
from dfbench.train.loop import fit
from dfbench.train.parallel import Batch
from dfbench.train.state import TrainState
from dfbench.train.task import FitResult, Task, Validation

STEPS_PER_EPOCH = 4


class Killed(Batches):
    """Batches whose reader gets a signal when its step wants the batch `last` (the first is 1)."""

    last, signal = 0, signal.SIGKILL

    def __next__(self) -> Batch:
        if self.last and self.number + 1 == self.last + AHEAD:
            os.kill(os.getpid(), self.signal)
        return super().__next__()


def config_of(model: str) -> RunConfig:
    """Return a training that uses everything with a state of its own."""
    return replace(
        SMALL,
        model=ModelConfig(name=model, dropout=0.5),
        augment=AugmentConfig(),
        optim=OptimConfig(name="adam", lr=0.01, schedule="cosine"),
        training=TrainingConfig(epochs=3, batch_size=16, checkpoint_steps=3, patience=0),
    )


def validate(state: TrainState) -> Validation:
    """Prefer the second epoch."""
    epoch = int(state.step) // STEPS_PER_EPOCH
    return Validation(loss=1 / epoch, video_auc=[0.6, 0.9, 0.7][epoch - 1])


def run(
    run_dir: Path,
    model: str,
    *,
    kill_at: int = 0,
    by: signal.Signals = signal.SIGKILL,
    validate: Callable[[TrainState], Validation] = validate,
    resume: bool = False,
) -> FitResult:
    """Train three epochs of four steps, or until the signal."""
    with small_models():
        batches = Killed(16, side=get_model(model).input_size)
        batches.last, batches.signal = kill_at, by
        task = Task(
            config=config_of(model),
            batches=batches,
            steps_per_epoch=STEPS_PER_EPOCH,
            class_weights=(1.0, 2.0),
            validate=validate,
            run_dir=run_dir,
            resume=resume,
        )
        return fit(task)


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2], kill_at=int(sys.argv[3]))
