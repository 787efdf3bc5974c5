"""Transfer learning: what is frozen does not change by a bit, and phases follow each other."""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from support.train import (
    SMALL,
    TINY,
    Batches,
    assert_trees_equal,
    filled_state,
    kept_states,
    make_batch,
)

from dfbench.config import (
    ModelConfig,
    OptimConfig,
    PhaseConfig,
    RunConfig,
    TrainingConfig,
    from_dict,
    read_toml,
    to_dict,
    total_epochs,
    training_hash,
    write_toml,
)
from dfbench.errors import UserError
from dfbench.models.names import leaves
from dfbench.train import loop
from dfbench.train.ahead import AHEAD
from dfbench.train.history import read_history
from dfbench.train.loop import fit
from dfbench.train.parallel import pmap_train_step
from dfbench.train.phases import combine, partition, trained_names
from dfbench.train.state import TrainState
from dfbench.train.step import make_train_step
from dfbench.train.task import FitResult, Task, Validation

ADAM, SGD = OptimConfig(name="adam", lr=0.01), OptimConfig(name="sgd", lr=0.1)


def _phase(**values: Any) -> PhaseConfig:
    return PhaseConfig(**{"epochs": 1, "optim": ADAM} | values)


def _flat(tree: Any) -> dict[str, np.ndarray]:
    return leaves(jax.device_get(tree))


def _changed(before: Any, after: Any) -> set[str]:
    old, new = _flat(before), _flat(after)
    return {name for name in old if not np.array_equal(old[name], new[name])}


def _steps(phase: PhaseConfig, count: int = 2) -> tuple[TrainState, TrainState]:
    """Return the state before and after some steps of Meso-4 in a phase."""
    state, networks = filled_state(replace(SMALL, phases=(phase,)))
    step = pmap_train_step(make_train_step(networks, SMALL, (1.0, 1.0)), devices=2)
    new = state
    for number in range(count):
        new, metrics = step(new, make_batch(8, seed=number))
        assert float(metrics["grad_norm"]) > 0
    return state, new


def test_what_is_frozen_does_not_change_by_a_bit() -> None:
    before, after = _steps(_phase(train=("head.*",)))
    head = {name for name in _flat(before.params) if name.startswith("head.")}
    assert len(head) == 4
    assert _changed(before.params, after.params) == head
    # Nor do the statistics of layers that are frozen.
    assert_trees_equal(jax.device_get(after.batch_stats), before.batch_stats)


def test_weight_decay_and_freezing_from_the_other_side() -> None:
    optim = replace(ADAM, weight_decay=0.1)
    before, after = _steps(_phase(freeze=("convs.*", "norms.0"), optim=optim))
    names = set(_flat(before.params))
    frozen = {n for n in names if n.startswith(("convs.", "norms.0."))}
    assert len(frozen) == 10
    assert _changed(before.params, after.params) == names - frozen
    # norms.0 keeps its statistics, norms.1 follows the data.
    assert {name.split(".")[1] for name in _changed(before.batch_stats, after.batch_stats)} == {
        "1",
        "2",
        "3",
    }


@pytest.mark.parametrize(("mode", "layers"), [("train", 4), ("frozen", 0)])
def test_statistics_of_batch_norm(mode: Any, layers: int) -> None:
    before, after = _steps(_phase(train=("head.*", "norms.3.*"), batch_norm=mode), count=1)
    changed = _changed(before.batch_stats, after.batch_stats)
    assert len({name.split(".")[1] for name in changed}) == layers
    assert {"norms.3.scale", "norms.3.bias"} <= _changed(before.params, after.params)


def test_partition_and_combine() -> None:
    tree = {"a": {0: np.zeros(2), 1: np.ones(3)}, "b": np.arange(4)}
    names = trained_names(tree, _phase(train=("a",), freeze=("a.1",)))
    assert names == {"a.0"}
    trained, fixed = partition(tree, names)
    assert [leaf.size for leaf in jax.tree.leaves(trained)] == [2]
    assert [leaf.size for leaf in jax.tree.leaves(fixed)] == [3, 4]
    assert_trees_equal(combine(trained, fixed), tree)


@pytest.mark.parametrize(
    ("phase", "message"),
    [
        (_phase(train=("haed.*",)), r"'haed\.\*' is the name of no parameter"),
        (_phase(freeze=("convs.0.kernle",)), r"did you mean 'convs\.0\.kernel'\?"),
        (_phase(train=("head.*",), freeze=("head",)), "nothing is left to train"),
    ],
)
def test_patterns_that_fit_nothing(phase: PhaseConfig, message: str) -> None:
    with pytest.raises(UserError, match=message):
        filled_state(replace(SMALL, phases=(phase,)))


# --- two phases in the loop ----------------------------------------------------------------------

TWO = replace(
    TINY,
    model=ModelConfig(name="tiny", dropout=0.3),
    training=TrainingConfig(batch_size=16, patience=0, checkpoint_steps=2),
    phases=(
        PhaseConfig(epochs=2, train=("output.*",), optim=replace(ADAM, schedule="cosine")),
        PhaseConfig(epochs=2, optim=SGD, batch_norm="frozen"),
    ),
)


class _Cut(Exception):  # noqa: N818
    pass


def _fit(
    run_dir: Path, config: RunConfig = TWO, *, cut: int = 0, **options: Any
) -> tuple[FitResult, list[TrainState]]:
    """Train in epochs of three steps; `cut` ends it when a step wants that batch."""
    states: list[TrainState] = []

    def validate(state: TrainState) -> Validation:
        states.append(jax.device_get(state))
        return Validation(loss=1 / int(state.step), video_auc=0.5)

    class _Batches(Batches):
        def __next__(self) -> Any:
            if cut and self.number + 1 == cut + AHEAD:
                raise _Cut
            return super().__next__()

    batches = _Batches(16, side=8)
    weights = (1.0, 2.0)
    task = Task(
        config=config,
        batches=batches,
        steps_per_epoch=3,
        class_weights=weights,
        validate=validate,
        run_dir=run_dir,
        **options,
    )
    result = fit(task)
    return result, states


@pytest.fixture(scope="module", autouse=True)
def _compiled_once() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "create_state", kept_states(loop.create_state))
        patch.setattr(loop, "build_networks", functools.cache(loop.build_networks))
        patch.setattr(loop, "make_train_step", functools.cache(loop.make_train_step))
        patch.setattr(loop, "pmap_train_step", functools.cache(loop.pmap_train_step))
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FitResult, list[TrainState]]:
    run_dir = tmp_path_factory.mktemp("phases")
    result, states = _fit(run_dir)
    return run_dir, result, states


def test_two_phases(whole: tuple[Path, FitResult, list[TrainState]]) -> None:
    run_dir, result, states = whole
    assert (result.epochs, result.steps, result.best_epoch) == (4, 12, 4)
    assert not result.stopped_early
    first, second = states[1], states[3]
    start, _ = loop.create_state(TWO, steps_per_epoch=3)
    assert _changed(start.params, first.params) == {"output.kernel", "output.bias"}
    assert len(_changed(first.params, second.params)) == 4
    # Batch norm was frozen in both: with its layer, and by the setting.
    assert_trees_equal(second.batch_stats, jax.device_get(start).batch_stats)
    history = read_history(run_dir / "metrics.jsonl")
    rows = [row for row in history if "lr" in row and row["step"] % 3 == 0]
    # Step 3 is the third of six cosine steps; the second phase is constant.
    rates = [pytest.approx(0.01 * (1 + np.cos(np.pi * n / 6)) / 2, rel=1e-5) for n in (2, 5)]
    assert [row["lr"] for row in rows] == [*rates, pytest.approx(0.1), pytest.approx(0.1)]


@pytest.mark.parametrize("cut", [3, 7, 9, 12], ids=["phase 1", "between", "phase 2", "last step"])
def test_cut_and_resumed_is_the_same(
    tmp_path: Path, whole: tuple[Path, FitResult, list[TrainState]], cut: int
) -> None:
    with pytest.raises(_Cut):
        _fit(tmp_path, cut=cut)
    result, states = _fit(tmp_path, resume=True)
    assert result.steps == 12
    assert_trees_equal(states[-1], whole[2][-1])
    assert_trees_equal(result.best, whole[1].best)


def test_patience_ends_a_phase_not_the_training(tmp_path: Path) -> None:
    config = replace(TWO, training=replace(TWO.training, patience=1))
    aucs = iter([0.9, 0.5, 0.4, 0.3])  # in each phase the second epoch is too many

    def validate(state: TrainState) -> Validation:
        return Validation(loss=0.5, video_auc=next(aucs))

    task = Task(
        config=replace(config, phases=tuple(replace(p, epochs=5) for p in TWO.phases)),
        batches=Batches(16, side=8),
        steps_per_epoch=3,
        class_weights=(1.0, 1.0),
        validate=validate,
        run_dir=tmp_path,
    )
    result = fit(task)
    assert (result.epochs, result.best_epoch, result.stopped_early) == (3, 1, True)


def test_a_first_state_of_imported_weights(tmp_path: Path) -> None:
    zeros = functools.partial(jax.tree.map, np.zeros_like)
    seen: list[TrainState] = []

    def start(state: TrainState) -> TrainState:
        seen.append(state)
        return replace(state, params=zeros(state.params))

    config = replace(TWO, phases=(replace(TWO.phases[0], epochs=1, train=("output.bias",)),))
    result, _ = _fit(tmp_path, config, start=start)
    assert len(seen) == 1
    assert not np.any(result.best.params["output"]["kernel"])
    assert np.all(result.best.params["output"]["bias"] != 0)


# --- configuration -------------------------------------------------------------------------------


def test_a_phase_takes_what_it_does_not_say_from_all(tmp_path: Path) -> None:
    values = {
        "optim": {"name": "sgd", "momentum": 0.8},
        "phases": [
            {"epochs": 3, "train": ["head.*"]},
            {"epochs": 15, "optim": {"lr": 5e-4}, "batch_norm": "frozen"},
        ],
    }
    config = from_dict(values, "here")
    assert [p.optim for p in config.phases] == [
        OptimConfig(name="sgd", momentum=0.8),
        OptimConfig(name="sgd", momentum=0.8, lr=5e-4),
    ]
    assert total_epochs(config) == 18
    write_toml(config, tmp_path / "config.toml")
    assert read_toml(tmp_path / "config.toml") == config
    plain = to_dict(config)
    assert json.loads(json.dumps(plain)) == plain  # as a result card holds it
    other = replace(config, phases=(config.phases[0], replace(config.phases[1], freeze=("head",))))
    assert training_hash(config) != training_hash(other)


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        ([{"epochs": 1, "trian": []}], r"here: unknown setting 'phases\[0\]\.trian'.*train"),
        ([{"epochs": 1, "optim": {"rate": 1}}], r"unknown setting 'phases\[0\]\.optim\.rate'"),
        ([{"epochs": 0}], r"phases\[0\]\.epochs = 0 must be above 0"),
        ([{"train": ["*"]}], "epochs"),
        ({"epochs": 1}, r"'phases' is a list of tables"),
        ([{"epochs": 1, "batch_norm": "on"}], "there are follow, train, frozen"),
    ],
)
def test_phases_that_make_no_sense(phases: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_dict({"phases": phases}, "here")
