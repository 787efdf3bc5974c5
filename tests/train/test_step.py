from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from support.train import (
    FULL_AUGMENT,
    SMALL,
    TINY,
    Tiny,
    assert_trees_equal,
    filled_state,
    make_batch,
    train,
)

from dfbench.config import ModelConfig, OptimConfig
from dfbench.errors import UserError
from dfbench.models.registry import get_model
from dfbench.train.parallel import AXIS, pmap_train_step
from dfbench.train.state import (
    TrainState,
    abstract_state,
    create_state,
    parameter_count,
    without_optimizer,
)
from dfbench.train.step import loss_sum, make_train_step

LOGITS = np.array([-2.0, 0.5, 3.0, -0.25, 40.0, -40.0], np.float32)
LABELS = np.array([0, 1, 0, 1, 0, 1], np.int32)


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.25, 3.0)])
@pytest.mark.parametrize("mask", [[1, 1, 1, 1, 1, 1], [1, 0, 1, 1, 0, 0]])
def test_weighted_cross_entropy(weights: tuple[float, float], mask: list[int]) -> None:
    total, weight = loss_sum(
        jnp.asarray(LOGITS),
        jnp.asarray(LABELS),
        jnp.asarray(mask, jnp.float32),
        jnp.asarray(weights),
    )
    p = 1 / (1 + np.exp(-LOGITS.astype(np.float64)))
    losses = -np.log(np.where(LABELS == 1, p, 1 / (1 + np.exp(LOGITS.astype(np.float64)))))
    each = np.array(mask) * np.array(weights)[LABELS]
    np.testing.assert_allclose(total, np.sum(each * losses), rtol=1e-5)
    np.testing.assert_allclose(weight, np.sum(each), rtol=1e-6)


def test_cross_entropy_of_extreme_logits_is_finite() -> None:
    logits, labels = jnp.array([-1e30, 1e30]), jnp.array([1, 0])
    total, gradient = jax.value_and_grad(
        lambda x: loss_sum(x, labels, jnp.ones(2), jnp.ones(2))[0]
    )(logits)
    assert float(total) == pytest.approx(2e30)
    np.testing.assert_array_equal(gradient, [-1.0, 1.0])


def _tiny_logits(params: dict[str, np.ndarray], images: np.ndarray) -> np.ndarray:
    """Work out `support.train.Tiny` in training, in NumPy."""
    x = images.astype(np.float64) / 255 - 0.5
    norm, output = params["norm"], params["output"]
    x = (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-3) * norm["scale"] + norm["bias"]
    quarters = x.reshape(-1, 2, 4, 2, 4, 3).mean((2, 4)).reshape(-1, 12)
    return (quarters @ output["kernel"] + output["bias"])[:, 0]


def test_metrics_of_a_step() -> None:
    mask, weights = np.array([1.0] * 13 + [0.0] * 3), (0.5, 2.0)
    batch = make_batch(16, side=8, mask=mask)
    state, networks = filled_state(TINY)
    step = pmap_train_step(make_train_step(networks, TINY, weights), devices=8)
    new, metrics = step(state, batch)
    logits, label = _tiny_logits(state.params, batch["image"]), batch["label"]
    each = mask * np.array(weights)[label]
    losses = np.logaddexp(0, np.where(label == 1, -logits, logits))
    assert float(metrics["loss"]) == pytest.approx(np.sum(each * losses) / np.sum(each), rel=1e-5)
    assert float(metrics["correct"]) == np.sum(mask * ((logits > 0) == (label == 1)))
    assert float(metrics["count"]) == 13
    # After its first step, SGD's momentum is the gradient.
    gradient = jax.tree.leaves(new.opt_state[0].trace)
    norm = np.sqrt(sum(np.sum(np.square(leaf)) for leaf in gradient))
    assert float(metrics["grad_norm"]) == pytest.approx(norm, rel=1e-5)
    assert int(new.step) == 1


def test_a_step_goes_down_the_loss() -> None:
    losses = [values["loss"] for values in train(TINY, [make_batch(16, side=8)] * 30).metrics]
    assert losses[-1] < losses[0] - 0.01
    assert all(later < earlier for earlier, later in itertools.pairwise(losses))


def test_a_batch_of_padding_alone_changes_no_parameter() -> None:
    state, networks = filled_state(TINY)
    step = pmap_train_step(make_train_step(networks, TINY, (1.0, 1.0)))
    new, metrics = step(state, make_batch(16, side=8, mask=np.zeros(16)))
    assert (float(metrics["loss"]), float(metrics["count"])) == (0, 0)
    assert_trees_equal(jax.device_get(new.params), state.params)


def test_padding_alone_does_not_move_the_gradient() -> None:
    """What the loss weighs with nothing may have any label."""
    mask = np.array([1.0] * 10 + [0.0] * 6)
    batch = make_batch(16, side=8, mask=mask)
    other = dict(batch, label=np.where(mask > 0, batch["label"], 1 - batch["label"]))
    assert_trees_equal(train(TINY, [batch]).state, train(TINY, [other]).state)


def test_the_seed_is_an_input_and_gives_the_same_numbers() -> None:
    """Then trainings with other seeds need no other program."""
    base = replace(TINY, model=ModelConfig(name="tiny", dropout=0.5), augment=FULL_AUGMENT)
    batch, programs = make_batch(16, side=8), set()
    for seed in (3, 2**31 - 1):
        config = replace(base, seed=seed)
        state, networks = filled_state(config)
        step = make_train_step(networks, config, (1.0, 1.0))
        given = {**batch, "seed": np.full(16, seed, np.int32)}
        programs.add(str(jax.make_jaxpr(step, axis_env=[(AXIS, 1)])(state, given)))
    run = pmap_train_step(step, devices=2)
    assert_trees_equal(jax.device_get(run(state, given)), jax.device_get(run(state, batch)))
    assert len(programs) == 1


def test_dropout_differs_from_step_to_step() -> None:
    config = replace(TINY, model=ModelConfig(name="tiny", dropout=0.5))
    config = replace(config, optim=OptimConfig(name="sgd", lr=1e-30))  # nothing else changes
    batch = make_batch(64, side=8)
    first, second = (values["loss"] for values in train(config, [batch] * 2).metrics)
    assert first != second
    assert first == train(config, [batch]).metrics[0]["loss"]
    assert train(TINY, [batch]).metrics[0]["loss"] != first


def test_the_first_state_follows_from_the_seed() -> None:
    state, _ = create_state(TINY)
    assert_trees_equal(state, create_state(TINY)[0])
    assert_trees_equal(create_state(TINY, seed=5)[0], create_state(replace(TINY, seed=5))[0])
    other = create_state(TINY, seed=5)[0].params["output"]["kernel"]
    assert not np.array_equal(state.params["output"]["kernel"], other)
    assert int(state.step) == 0


def test_seeds_share_the_program_of_the_first_state(monkeypatch: pytest.MonkeyPatch) -> None:
    programs, compiled = [], jax.jit

    def recorded(function: Callable[[Array], TrainState]) -> Callable[[Array], TrainState]:
        def call(key: Array) -> TrainState:
            programs.append(compiled(function).lower(key).as_text())
            return compiled(function)(key)

        return call

    monkeypatch.setattr(jax, "jit", recorded)
    one, other = (create_state(TINY, seed=seed)[0].params["output"]["kernel"] for seed in (1, 2))
    assert not np.array_equal(one, other)
    assert programs[0] == programs[1]


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_the_abstract_state_has_the_shapes_of_the_real_one(optimizer: str) -> None:
    config = replace(TINY, optim=OptimConfig(name="adam" if optimizer == "adam" else "sgd"))
    state, _ = create_state(config)

    def shapes(tree: object) -> object:
        return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)

    assert shapes(abstract_state(config, optimizer=True)) == shapes(state)
    assert shapes(abstract_state(config, optimizer=False)) == shapes(without_optimizer(state))


def test_parameter_count() -> None:
    assert parameter_count(filled_state(TINY)[0]) == 3 + 3 + 12 + 1
    config = replace(SMALL, model=ModelConfig(name="meso4"))
    assert parameter_count(abstract_state(config, optimizer=True)) == 27_977


def test_an_unknown_model() -> None:
    with pytest.raises(UserError, match=r"'tinny'; did you mean 'tiny'\?"):
        create_state(replace(TINY, model=ModelConfig(name="tinny")))
    assert get_model("tiny").build.__module__ == Tiny.__module__


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.25, 3.0)])
def test_squared_error_of_the_probability(weights: tuple[float, float]) -> None:
    mask = np.array([1, 0, 1, 1, 0, 1])
    total, weight = loss_sum(
        jnp.asarray(LOGITS),
        jnp.asarray(LABELS),
        jnp.asarray(mask, jnp.float32),
        jnp.asarray(weights),
        "l2",
    )
    p = 1 / (1 + np.exp(-LOGITS.astype(np.float64)))
    each = mask * np.array(weights)[LABELS]
    np.testing.assert_allclose(total, np.sum(each * (p - LABELS) ** 2), rtol=1e-5)
    np.testing.assert_allclose(weight, np.sum(each), rtol=1e-6)


def test_the_loss_is_the_one_of_the_settings() -> None:
    config = replace(TINY, training=replace(TINY.training, loss="l2"))
    batch = make_batch(16, side=8)
    state, _ = filled_state(TINY)
    logits = _tiny_logits(state.params, batch["image"])
    wanted = np.mean((1 / (1 + np.exp(-logits)) - batch["label"]) ** 2)
    losses = [values["loss"] for values in train(config, [batch] * 30).metrics]
    assert losses[0] == pytest.approx(wanted, rel=1e-5)
    assert losses[-1] < losses[0] - 0.01
