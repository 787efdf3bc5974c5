from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from support.compiled import compiled_programs
from support.train import TINY, Batches, assert_trees_equal, initial, train_step

from dfbench.config import OptimConfig, RunConfig, TrainingConfig
from dfbench.errors import UserError
from dfbench.report.curves import write_curves
from dfbench.train import checkpoint, loop
from dfbench.train.checkpoint import BEST, LAST
from dfbench.train.history import read_history
from dfbench.train.loop import FitResult, Task, Validation, fit
from dfbench.train.parallel import pmap_train_step
from dfbench.train.state import TrainState, abstract_state, without_optimizer

STEPS = 3  # an epoch


@dataclass
class Validated:
    """Validations by rote; keeps the states that were asked about."""

    aucs: list[float | None]
    losses: list[float] | None = None
    states: list[TrainState] = field(default_factory=list)

    def __call__(self, state: TrainState) -> Validation:
        epoch = len(self.states)
        self.states.append(jax.device_get(state))  # the next step takes its memory
        loss = 0.5 if self.losses is None else self.losses[epoch]
        return Validation(loss=loss, video_auc=self.aucs[epoch])


def _config(**training: Any) -> RunConfig:
    return replace(TINY, training=TrainingConfig(**{"batch_size": 16, "patience": 0} | training))


def _fit(
    run_dir: Path,
    config: RunConfig,
    validate: Callable[[TrainState], Validation],
    *,
    class_weights: tuple[float, float] = (1.0, 1.0),
    **options: Any,
) -> FitResult:
    task = Task(
        config=config,
        batches=Batches(config.training.batch_size, side=8),
        steps_per_epoch=STEPS,
        class_weights=class_weights,
        validate=validate,
        run_dir=run_dir,
        **options,
    )
    return fit(task)


@pytest.fixture
def _compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the loop compiling a step it has had: none depends on `training`."""
    step = train_step(TINY, (1.0, 1.0), None, pmap_train_step)
    monkeypatch.setattr(loop, "pmap_train_step", lambda device_step: step)
    monkeypatch.setattr(loop, "create_state", lambda config, steps_per_epoch: initial(TINY))


@pytest.mark.usefixtures("_compiled_once")
@pytest.mark.parametrize(
    ("aucs", "losses", "best", "selected_by"),
    [
        ([0.6, 0.8, 0.7], [0.1, 0.9, 0.2], 2, "val video AUC"),
        ([0.6, 0.7, 0.8], [0.1, 0.2, 0.9], 3, "val video AUC"),
        ([0.8, 0.8, 0.8], [0.5, 0.3, 0.4], 2, "val video AUC"),  # ties by loss
        ([0.8, 0.8, 0.8], [0.5, 0.5, 0.5], 1, "val video AUC"),  # and then the first
        ([None, None, None], [0.5, 0.6, 0.4], 3, "val loss"),
        ([None, 0.1, None], [0.1, 0.9, 0.1], 2, "val video AUC"),
    ],
)
def test_the_best_epoch_is_that_of_the_val_auc(
    tmp_path: Path,
    aucs: list[float | None],
    losses: list[float],
    best: int,
    selected_by: str,
) -> None:
    validate = Validated(aucs, losses)
    result = _fit(tmp_path, _config(epochs=3), validate)
    assert (result.best_epoch, result.selected_by) == (best, selected_by)
    assert (result.best_val_auc, result.best_val_loss) == (aucs[best - 1], losses[best - 1])
    assert (result.epochs, result.steps, result.stopped_early) == (3, 9, False)
    # What is handed back, and what lies on disk, is the state of that epoch.
    expected = without_optimizer(validate.states[best - 1])
    assert_trees_equal(result.best, expected)
    assert int(result.best.step) == best * STEPS
    like = abstract_state(TINY, optimizer=False)
    assert_trees_equal(checkpoint.restore(tmp_path, BEST, like).state, expected)
    like = abstract_state(TINY, optimizer=True)
    assert_trees_equal(checkpoint.restore(tmp_path, LAST, like).state, validate.states[-1])


@pytest.mark.usefixtures("_compiled_once")
@pytest.mark.parametrize(
    ("patience", "aucs", "epochs"),
    [
        (1, [0.5, 0.6, 0.6, 0.9, 0.9], 3),
        (2, [0.5, 0.6, 0.6, 0.55, 0.9], 4),
        (2, [0.5, 0.4, 0.6, 0.55, 0.5], 5),  # at the very end: nothing was stopped
        (0, [0.9, 0.1, 0.1, 0.1, 0.1], 5),
    ],
)
def test_patience(tmp_path: Path, patience: int, aucs: list[float | None], epochs: int) -> None:
    result = _fit(tmp_path, _config(epochs=5, patience=patience), Validated(aucs))
    assert result.epochs == epochs
    assert result.stopped_early == (epochs < 5)
    assert (
        result.best_epoch == aucs[:epochs].index(max(aucs[:epochs], key=lambda auc: auc or 0)) + 1
    )


@pytest.mark.usefixtures("_compiled_once")
def test_resuming_after_patience_ran_out_trains_no_more(tmp_path: Path) -> None:
    config = _config(epochs=5, patience=1)
    _fit(tmp_path, config, Validated([0.6, 0.5]))
    result = _fit(tmp_path, config, Validated([]), resume=True)
    assert (result.epochs, result.best_epoch, result.stopped_early) == (2, 1, True)


@pytest.mark.usefixtures("_compiled_once")
def test_rows_of_the_history(tmp_path: Path) -> None:
    config = _config(epochs=2)
    seen: list[tuple[int, int, str]] = []
    result = _fit(
        tmp_path, config, Validated([0.7, None]), progress=lambda *report: seen.append(report)
    )
    rows = read_history(tmp_path / "metrics.jsonl")
    training, validation = rows[0::2], rows[1::2]
    assert [(row["step"], row["epoch"]) for row in training] == [(3, 1), (6, 2)]
    assert all(row["lr"] == pytest.approx(TINY.optim.lr) for row in training)
    losses = [float(note.removeprefix("loss ")) for _, _, note in seen]
    assert training[0]["loss"] == pytest.approx(np.mean(losses[:3]), abs=1e-3)
    assert training[1]["loss"] == pytest.approx(np.mean(losses[3:]), abs=1e-3)
    assert [(r["val_video_auc"], r["best"], r["step"]) for r in validation] == [
        (0.7, True, 3),
        (None, False, 6),
    ]
    assert [(done, total) for done, total, _ in seen] == [(i, 6) for i in range(1, 7)]
    assert result.images_per_s is not None
    assert result.images_per_s > 0


@pytest.mark.usefixtures("_compiled_once")
def test_the_loop_takes_the_steps_that_steps_alone_take(tmp_path: Path) -> None:
    result = _fit(tmp_path, _config(epochs=1), Validated([0.5]))
    state, _ = initial(TINY)
    step, batches = train_step(TINY, (1.0, 1.0), None, pmap_train_step), Batches(16, side=8)
    for _ in range(STEPS):
        state, _ = step(state, next(batches))
    assert_trees_equal(result.best, without_optimizer(state))


@pytest.mark.usefixtures("_compiled_once")
@pytest.mark.parametrize("bad", [2, 3])
def test_a_loss_that_is_not_finite_stops_and_saves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: int
) -> None:
    step = train_step(TINY, (1.0, 1.0), None, pmap_train_step)

    def diverge(state: TrainState, batch: Any) -> tuple[TrainState, dict[str, Any]]:
        new, metrics = step(state, batch)
        return new, metrics | {"loss": np.float32("nan" if int(new.step) >= bad else 1)}

    monkeypatch.setattr(loop, "pmap_train_step", lambda device_step: diverge)
    validate = Validated([])
    with pytest.raises(UserError, match=rf"loss is nan at step {bad}: .*optim\.lr=0\.001"):
        _fit(tmp_path, _config(epochs=1, checkpoint_steps=bad), validate)
    assert not validate.states
    assert not checkpoint.exists(tmp_path, LAST)


def test_a_learning_rate_far_too_large_is_the_users_mistake(tmp_path: Path) -> None:
    config = replace(_config(epochs=9), optim=OptimConfig(name="sgd", lr=1e38))
    with pytest.raises(UserError, match=r"the loss is (nan|inf) at step [23]"):
        _fit(tmp_path, config, Validated([0.5] * 9))


def test_only_the_first_step_compiles(tmp_path: Path) -> None:
    counts = []

    def count(*_: object) -> None:
        counts.append(len(compiled))

    with compiled_programs() as compiled:
        _fit(tmp_path, _config(epochs=3), Validated([0.5, 0.6, 0.7]), progress=count)
    assert counts[0] > 0
    assert counts[1:] == [counts[0]] * (3 * STEPS - 1)


def test_a_batch_that_cannot_be_split(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="batch size 12 cannot be split over 8 devices"):
        _fit(tmp_path, _config(batch_size=12), Validated([]))


@pytest.mark.usefixtures("_compiled_once")
def test_resuming_with_another_optimizer_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fit(tmp_path, _config(epochs=1), Validated([0.5]))
    adam = replace(TINY, optim=OptimConfig(name="adam"))
    monkeypatch.setattr(loop, "create_state", lambda config, steps_per_epoch: initial(adam))
    with pytest.raises(UserError, match=r"checkpoints/last: the checkpoint is"):
        _fit(tmp_path, _config(epochs=2), Validated([0.5]), resume=True)
    assert read_history(tmp_path / "metrics.jsonl")  # nothing was lost by the attempt


@pytest.mark.usefixtures("_compiled_once")
def test_no_epochs_keep_the_first_weights(tmp_path: Path) -> None:
    """Imported weights as they are: validated and kept, without a step."""
    seen = Validated([0.9, 0.8])
    result = _fit(tmp_path, _config(epochs=0), seen)
    assert (result.epochs, result.steps, result.best_epoch) == (0, 0, 0)
    assert (result.best_val_auc, result.stopped_early, result.images_per_s) == (0.9, False, None)
    assert_trees_equal(result.best, without_optimizer(initial(TINY)[0]))
    rows = read_history(tmp_path / "metrics.jsonl")
    assert [(row["step"], row["epoch"], row["best"]) for row in rows] == [(0, 0, True)]
    write_curves(rows, tmp_path / "curves.png")
    again = _fit(tmp_path, _config(epochs=0), seen, resume=True)
    assert (again.epochs, again.best_val_auc) == (0, 0.8)
