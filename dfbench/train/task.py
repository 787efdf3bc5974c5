"""What is trained, and what comes out of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dfbench.config import RunConfig
from dfbench.progress import Progress
from dfbench.train.ahead import BatchIterator
from dfbench.train.divergence import Names
from dfbench.train.state import Networks, TrainState

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
        names: Names the clips of rows of the split, where one of them may be at fault.
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
    names: Names = lambda rows: [f"row {row}" for row in rows]


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
