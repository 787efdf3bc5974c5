"""Seeds that are trained together end where each ends alone, to rounding."""

from __future__ import annotations

import functools
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from support.train import SMALL, Batches, assert_trees_close, kept_states

from dfbench.config import (
    AugmentConfig,
    ModelConfig,
    OptimConfig,
    PhaseConfig,
    RunConfig,
    TrainingConfig,
)
from dfbench.errors import UserError
from dfbench.signals import Stopped
from dfbench.train import checkpoint, loop, seeds
from dfbench.train.ahead import AHEAD
from dfbench.train.checkpoint import BEST, LAST
from dfbench.train.history import read_history
from dfbench.train.loop import fit
from dfbench.train.parallel import Batch
from dfbench.train.seeds import fit_together
from dfbench.train.state import Networks, TrainState
from dfbench.train.step import DeviceStep
from dfbench.train.task import FitResult, Task, Validation

STEPS = 4  # an epoch
SEEDS = (0, 1, 2)
CONFIG = replace(
    SMALL,
    model=ModelConfig(name="tiny", dropout=0.5),
    augment=AugmentConfig(flip=0.5, brightness=0.1, contrast=0.1),
    optim=OptimConfig(name="adam", lr=0.01, schedule="cosine"),
    training=TrainingConfig(epochs=3, batch_size=16, checkpoint_steps=3, patience=1),
)
# Video AUCs by epoch: seed 1 runs out of patience after two.
AUCS = {0: [0.6, 0.8, 0.9], 1: [0.7, 0.6], 2: [0.5, 0.7, 0.6]}
# Rounding of sums in another order, over twelve steps: parameters differ by some 1e-6 of the
# largest. Another seed's keys or batches, or a step too many, change them by 1e-2.
RTOL, ATOL = 1e-4, 1e-6


class _Cut(Exception):  # noqa: N818 - as a kill would
    pass


class _Own(Batches):
    """Batches of a seed's own; one wants no more, or is of no number, when `last` is asked for."""

    def __init__(self, seed: int, *, cut: int = 0, bad: int = 0) -> None:
        super().__init__(16, side=8)
        self.seed, self.cut, self.bad = seed, cut, bad

    def __next__(self) -> Batch:
        if self.cut and self.number + 1 == self.cut + AHEAD:
            raise _Cut
        batch = dict(super().__next__())
        order = np.random.default_rng((self.seed, self.number)).permutation(16)
        batch = {name: values[order] for name, values in batch.items()}
        if self.number == self.bad:
            batch["mask"] = batch["mask"] * np.float32("nan")
        return batch


class _Validate:
    def __init__(self, aucs: list[float], steps: int) -> None:
        self.aucs, self.steps = aucs, steps

    def __call__(self, state: TrainState) -> Validation:
        epoch = int(state.step) // self.steps
        return Validation(loss=0.5, video_auc=self.aucs[epoch - 1])


def _task(folder: Path, seed: int, config: RunConfig = CONFIG, **options: Any) -> Task:
    batches = _Own(seed, **{k: options.pop(k) for k in ("cut", "bad") if k in options})
    return Task(
        config=replace(config, seed=seed),
        batches=batches,
        steps_per_epoch=STEPS,
        class_weights=(1.0, 2.0),
        validate=_Validate(AUCS[seed], STEPS),
        run_dir=folder / f"seed{seed}",
        **options,
    )


@pytest.fixture(scope="module", autouse=True)
def _compiled_once() -> Iterator[None]:
    """Let seeds and tests share programs, as the compile cache does: the seed is an input."""
    make_state, make_step = kept_states(loop.create_state), functools.cache(loop.make_train_step)

    def create(config: RunConfig, steps_per_epoch: int) -> tuple[TrainState, Networks]:
        networks = make_state(replace(config, seed=0), steps_per_epoch=steps_per_epoch)[1]
        return make_state(config, steps_per_epoch=steps_per_epoch)[0], networks

    def step(networks: Networks, config: RunConfig, weights: tuple[float, float]) -> DeviceStep:
        return make_step(networks, replace(config, seed=0), weights)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "create_state", create)
        patch.setattr(loop, "make_train_step", step)
        for module in (loop, seeds):
            patch.setattr(module, "pmap_train_step", functools.cache(module.pmap_train_step))
        patch.setattr(seeds, "together", functools.cache(seeds.together))
        yield


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[FitResult]]:
    folder = tmp_path_factory.mktemp("alone")
    return folder, [fit(_task(folder, seed)) for seed in SEEDS]


def _rows(run_dir: Path) -> list[dict[str, Any]]:
    rows = read_history(run_dir / "metrics.jsonl")
    return [{k: v for k, v in row.items() if k != "images_per_s"} for row in rows]


def _assert_same(folder: Path, seed: int, result: Any, wanted_dir: Path, wanted: FitResult) -> None:
    assert isinstance(result, FitResult)
    for name in ("epochs", "steps", "best_epoch", "best_val_auc", "selected_by", "stopped_early"):
        assert getattr(result, name) == getattr(wanted, name)
    assert_trees_close(result.best.params, wanted.best.params, rtol=RTOL, atol=ATOL)
    assert_trees_close(result.best.batch_stats, wanted.best.batch_stats, rtol=RTOL, atol=ATOL)
    found_rows, wanted_rows = (_rows(one / f"seed{seed}") for one in (folder, wanted_dir))
    assert [row.keys() for row in found_rows] == [row.keys() for row in wanted_rows]
    for row, expected in zip(found_rows, wanted_rows, strict=True):
        assert row == pytest.approx(expected, rel=1e-3)


def test_together_is_as_alone(tmp_path: Path, alone: tuple[Path, list[FitResult]]) -> None:
    results = fit_together([_task(tmp_path, seed) for seed in SEEDS])
    assert [r.epochs for r in results if isinstance(r, FitResult)] == [3, 2, 3]
    for seed, result, wanted in zip(SEEDS, results, alone[1], strict=True):
        _assert_same(tmp_path, seed, result, alone[0], wanted)
        # What lies on disk has the form that a training alone reads, position and all.
        like = jax.device_get(loop.create_state(CONFIG, steps_per_epoch=STEPS)[0])
        last, expected = (
            checkpoint.restore(one / f"seed{seed}", LAST, like) for one in (tmp_path, alone[0])
        )
        assert (last.iterator, last.progress["step"]) == (
            expected.iterator,
            expected.progress["step"],
        )
        assert_trees_close(last.state.opt_state, expected.state.opt_state, rtol=1e-3, atol=ATOL)
    params = [result.best.params for result in alone[1]]
    with pytest.raises(AssertionError, match="off by"):
        assert_trees_close(params[0], params[1], rtol=0.01, atol=ATOL)  # seeds do differ


@pytest.mark.slow
@pytest.mark.parametrize("first", ["together", "alone"])
def test_cut_and_resumed_the_other_way(
    tmp_path: Path, alone: tuple[Path, list[FitResult]], first: str
) -> None:
    """Some begin alone and are cut at different steps; some begin together."""
    if first == "together":
        with pytest.raises(_Cut):
            fit_together([_task(tmp_path, 0), _task(tmp_path, 1), _task(tmp_path, 2, cut=8)])
        results: list[Any] = [fit(_task(tmp_path, seed, resume=True)) for seed in SEEDS]
    else:
        for seed, cut in ((0, 6), (2, 11)):
            with pytest.raises(_Cut):
                fit(_task(tmp_path, seed, cut=cut))
        results = list(fit_together([_task(tmp_path, seed, resume=True) for seed in SEEDS]))
    for seed, result, wanted in zip(SEEDS, results, alone[1], strict=True):
        _assert_same(tmp_path, seed, result, alone[0], wanted)


def test_all_are_saved_when_asked_to_end(
    tmp_path: Path, alone: tuple[Path, list[FitResult]]
) -> None:
    def end(done: int, total: int, note: str = "") -> None:
        if done == 5:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Stopped, match=r"seed0 is saved, .* so are 2 other seeds"):
        fit_together([_task(tmp_path, s, progress=end if s == 1 else None) for s in SEEDS])
    saved = {checkpoint.read_progress(tmp_path / f"seed{seed}", LAST)["step"] for seed in SEEDS}
    assert len(saved) == 1  # all heard of it at the same step
    assert saved <= {6, 7}
    results = fit_together([_task(tmp_path, seed, resume=True) for seed in SEEDS])
    for seed, result, wanted in zip(SEEDS, results, alone[1], strict=True):
        _assert_same(tmp_path, seed, result, alone[0], wanted)


def test_one_that_diverges_ends_alone(tmp_path: Path, alone: tuple[Path, list[FitResult]]) -> None:
    said: list[tuple[int, str]] = []
    results = fit_together(
        [_task(tmp_path, 0), _task(tmp_path, 1, bad=6), _task(tmp_path, 2)],
        failed=lambda number, error: said.append((number, str(error))),
    )
    assert isinstance(results[1], UserError)
    assert "the loss is nan at step 6" in str(results[1])
    assert said == [(1, str(results[1]))]
    assert checkpoint.exists(tmp_path / "seed1", BEST)  # of the epoch before
    for seed in (0, 2):
        _assert_same(tmp_path, seed, results[seed], alone[0], alone[1][seed])


@pytest.mark.slow
def test_a_damaged_checkpoint_is_the_matter_of_its_seed(tmp_path: Path) -> None:
    damaged = checkpoint.checkpoint_dir(tmp_path / "seed1", LAST)
    damaged.mkdir(parents=True)
    short = replace(CONFIG, training=replace(CONFIG.training, epochs=1))
    results = fit_together([_task(tmp_path, s, short, resume=True) for s in (0, 1)])
    assert isinstance(results[0], FitResult)
    assert isinstance(results[1], UserError)
    assert "the checkpoint is damaged" in str(results[1])


@pytest.mark.slow
def test_phases_that_end_at_different_steps(tmp_path: Path) -> None:
    """Seed 1 enters the second phase an epoch before the others."""
    adam, sgd = OptimConfig(name="adam", lr=0.01), OptimConfig(name="sgd", lr=0.1)
    phases = (
        PhaseConfig(epochs=3, optim=adam, train=("output",)),
        PhaseConfig(epochs=3, optim=sgd, freeze=("norm",)),
    )
    config = replace(CONFIG, phases=phases)
    aucs = {0: [0.5, 0.6, 0.7, 0.8, 0.85, 0.9], 1: [0.9, 0.8, 0.7]}
    results = {}
    for kind in ("alone", "together"):
        tasks = [
            replace(
                _task(tmp_path / kind, seed, config),
                validate=_Validate(aucs[seed], STEPS),
            )
            for seed in (0, 1)
        ]
        results[kind] = [fit(task) for task in tasks] if kind == "alone" else fit_together(tasks)
    for seed, result, wanted in zip((0, 1), results["together"], results["alone"], strict=True):
        assert isinstance(wanted, FitResult)
        _assert_same(tmp_path / "together", seed, result, tmp_path / "alone", wanted)
