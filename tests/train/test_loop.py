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
from dfbench.train.divergence import DivergedError, not_finite
from dfbench.train.history import read_history
from dfbench.train.loop import fit
from dfbench.train.parallel import pmap_train_step
from dfbench.train.state import TrainState, abstract_state, without_optimizer
from dfbench.train.task import FitResult, Task, Validation

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


Change = Callable[[int, TrainState, dict[str, Any]], tuple[TrainState, dict[str, Any]]]


@pytest.fixture
def changed(monkeypatch: pytest.MonkeyPatch, _compiled_once: None) -> Callable[[Change], None]:
    """Return a function that puts a change between the steps and the loop."""
    step = train_step(TINY, (1.0, 1.0), None, pmap_train_step)

    def put(change: Change) -> None:
        def run(state: TrainState, batch: Any) -> tuple[TrainState, dict[str, Any]]:
            new, metrics = step(state, batch)
            return change(int(new.step), new, metrics)

        monkeypatch.setattr(loop, "pmap_train_step", lambda device_step: run)

    return put


@pytest.mark.parametrize("bad", [2, 3])
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [("loss", "nan", "loss is nan"), ("grad_norm", "inf", "norm of the gradient is inf")],
)
def test_what_is_not_finite_stops_and_saves_nothing(
    tmp_path: Path,
    changed: Callable[[Change], None],
    bad: int,
    name: str,
    value: str,
    said: str,
) -> None:
    def diverge(
        step: int, state: TrainState, metrics: dict[str, Any]
    ) -> tuple[TrainState, dict[str, Any]]:
        return state, metrics | {name: np.float32(value if step >= bad else 1)}

    changed(diverge)
    validate = Validated([])
    config = _config(epochs=1, checkpoint_steps=bad)
    with pytest.raises(DivergedError) as caught:
        _fit(tmp_path, config, validate, names=lambda rows: [f"clip{row // 2}" for row in rows])
    assert str(caught.value) == (
        f"the {said} at step {bad}, learning rate 0.01: try a lower one (--set optim.lr=0.001) or "
        "--set model.dtype=float32, and look at the clips of the batch: clip0, clip1, clip2, "
        "clip3, clip4, clip5, clip6, clip7; no checkpoint yet"
    )
    assert not validate.states
    assert not checkpoint.exists(tmp_path, LAST)


def _poisoned_at(bad: int) -> Change:
    def poison(
        step: int, state: TrainState, metrics: dict[str, Any]
    ) -> tuple[TrainState, dict[str, Any]]:
        if step < bad:
            return state, metrics
        nan = jax.tree.map(lambda leaf: leaf * np.float32("nan"), state.params)
        return replace(state, params=nan), metrics

    return poison


@pytest.mark.parametrize(("bad", "epochs"), [(2, 0), (3, 0), (4, 1), (5, 1), (6, 1)])
def test_no_checkpoint_is_made_of_a_state_that_is_not_finite(
    tmp_path: Path, changed: Callable[[Change], None], bad: int, epochs: int
) -> None:
    """It may be so by the last step alone, whose loss and gradient still were good."""
    config = _config(epochs=2, checkpoint_steps=2)
    changed(_poisoned_at(bad))
    validate = Validated([0.5, 0.6])
    with pytest.raises(DivergedError, match=r"(no longer finite|loss is nan) at step \d, .*row 0"):
        _fit(tmp_path, config, validate)
    like = abstract_state(TINY, optimizer=True)
    if checkpoint.exists(tmp_path, LAST):
        found = checkpoint.restore(tmp_path, LAST, like)
        assert not_finite(found.state) == ""
        assert int(found.state.step) < bad
        assert found.progress["epochs"] == epochs
    else:
        assert bad == 2
    assert checkpoint.exists(tmp_path, BEST) == (epochs > 0)
    changed(lambda step, state, metrics: (state, metrics))
    result = _fit(tmp_path, config, Validated([0.5, 0.6][epochs:]), resume=True)
    assert (result.steps, result.epochs) == (6, 2)


@pytest.mark.usefixtures("_compiled_once")
def test_a_validation_that_is_not_finite(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match="the loss on val is nan at step 3"):
        _fit(tmp_path, _config(epochs=2), Validated([0.5], [float("nan")]))
    assert not checkpoint.exists(tmp_path, BEST)


@pytest.mark.usefixtures("_compiled_once")
def test_nothing_goes_on_from_a_poisoned_checkpoint(tmp_path: Path) -> None:
    """As earlier versions could make one."""
    config = _config(epochs=2)
    _fit(tmp_path, replace(config, training=replace(config.training, epochs=1)), Validated([0.5]))
    found = checkpoint.restore(tmp_path, LAST, abstract_state(TINY, optimizer=True))
    nan = jax.tree.map(lambda leaf: leaf * np.float32("inf"), found.state.params)
    checkpoint.save(tmp_path, LAST, replace(found, state=replace(found.state, params=nan)))
    with pytest.raises(UserError, match=r"checkpoints/last: params\.\S+ is not finite, .*--overwr"):
        _fit(tmp_path, config, Validated([]), resume=True)


def test_a_learning_rate_far_too_large_is_the_users_mistake(tmp_path: Path) -> None:
    config = replace(_config(epochs=9), optim=OptimConfig(name="sgd", lr=1e38))
    with pytest.raises(UserError, match=r"at step [123], learning rate 1e\+38"):
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
