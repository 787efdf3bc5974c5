"""Values, gradients, statistics and a training against the PyTorch builds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax import lax
from support.train import NO_AUGMENT

from dfbench.config import ModelConfig, OptimConfig, RunConfig
from dfbench.models import lowering, registry
from dfbench.models.meso4 import Meso4
from dfbench.models.mesoinception4 import MesoInception4
from dfbench.models.registry import get_model, register
from dfbench.models.resnet import ResNet, ResNetV2
from dfbench.models.small_cnn import SmallCnn
from dfbench.models.xception import Xception
from dfbench.train.parallel import AXIS, pmap_predict, pmap_train_step
from dfbench.train.state import Networks, TrainState, abstract_state, build_networks
from dfbench.train.step import make_train_step

torch = pytest.importorskip("torch", reason="PyTorch is not installed: `make parity` does that")
from parity import torch_networks as theirs  # noqa: E402

TOLERANCE = 1e-4  # of the largest number of each array
DEVICES = 2


@dataclass(frozen=True)
class Case:
    """One network, twice; images have this side.

    `sharpness` is of the smooth ReLU: the softer, the less rounding grows in a deep network; but
    where it is nearly linear, batch norm after it all but cancels the gradients of biases. Those of
    which nothing is left but rounding end in one of `cancelled`.
    """

    ours: Callable[[ModelConfig, nnx.Rngs], nnx.Module]
    torch: Callable[[], Any]
    side: int
    sharpness: float = 1.0
    cancelled: tuple[str, ...] = ()
    slow: bool = False


def _registered(name: str) -> Callable[[ModelConfig, nnx.Rngs], nnx.Module]:
    return lambda config, rngs: get_model(name).build(config, rngs)


def _small_xception(midway: bool) -> Callable[[ModelConfig, nnx.Rngs], nnx.Module]:
    return lambda config, rngs: Xception(
        config, middle_blocks=1, grouped=midway, skip_everywhere=midway, rngs=rngs
    )


CASES = {
    "meso4": Case(
        lambda config, rngs: Meso4(config, input_size=64, rngs=rngs),
        lambda: theirs.Meso4(64),
        side=64,
        sharpness=16.0,
    ),
    "mesoinception4": Case(
        lambda config, rngs: MesoInception4(config, input_size=64, rngs=rngs),
        lambda: theirs.MesoInception4(64),
        side=64,
        sharpness=16.0,
    ),
    "small_xception": Case(_small_xception(False), lambda: theirs.Xception(1), side=71),
    "small_midway_xception": Case(
        _small_xception(True), lambda: theirs.Xception(1, midway=True), side=71
    ),
    "small_resnet": Case(
        lambda config, rngs: ResNet(config, unit="basic", depths=(1, 2, 1, 1), rngs=rngs),
        lambda: theirs.ResNet(depths=(1, 2, 1, 1)),
        side=64,
    ),
    "small_resnet_keras": Case(
        lambda config, rngs: ResNet(
            config,
            unit="bottleneck",
            depths=(1, 2, 1, 1),
            momentum=0.99,
            epsilon=1.001e-5,
            rngs=rngs,
        ),
        lambda: theirs.ResNet(bottleneck=True, keras=True, depths=(1, 2, 1, 1)),
        side=64,
        slow=True,
    ),
    "small_resnetv2": Case(
        lambda config, rngs: ResNetV2(config, depths=(2, 1, 2, 1), rngs=rngs),
        lambda: theirs.ResNetV2((2, 1, 2, 1)),
        side=64,
        cancelled=("convs.2.bias", "skip.bias"),  # each batch norm behind takes the mean away
        slow=True,
    ),
    "small_cnn": Case(
        lambda config, rngs: SmallCnn(config, input_size=32, rngs=rngs),
        lambda: theirs.SmallCnn(32),
        side=32,
    ),
    # The whole networks, which take any side.
    "xception": Case(_registered("xception"), theirs.Xception, side=149, slow=True),
    "light_xception": Case(
        _registered("light_xception"), lambda: theirs.Xception(4), side=149, slow=True
    ),
    "midway_xception": Case(
        _registered("midway_xception"), lambda: theirs.Xception(midway=True), side=149, slow=True
    ),
    "resnet34": Case(_registered("resnet34"), theirs.ResNet, side=129, slow=True),
    "resnet50v1_5": Case(
        _registered("resnet50v1_5"), lambda: theirs.ResNet(bottleneck=True), side=129, slow=True
    ),
}
MEAN, STD = 0.5, 0.25  # of images, for all
each_network = pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if c.slow else ()) for name, c in CASES.items()],
)


@pytest.fixture(autouse=True, scope="module")
def _networks() -> Iterator[None]:
    for name, case in CASES.items():
        add = register(
            name=f"parity_{name}",
            summary="",
            paper="",
            input_size=case.side,
            mean=MEAN,
            std=STD,
        )
        add(case.ours)
    yield
    for name in CASES:
        del registry._SPECS[f"parity_{name}"]


def _config(name: str, optim: OptimConfig | None = None) -> RunConfig:
    return RunConfig(
        model=ModelConfig(name=f"parity_{name}", dropout=0.0),
        augment=NO_AUGMENT,
        optim=optim or OptimConfig(),
    )


def _state(config: RunConfig) -> tuple[TrainState, Networks]:
    """Draw He-normal kernels, and sane vectors and statistics; `seen` is 1."""
    networks, rng = build_networks(config), np.random.default_rng(0)

    def draw(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        kind = path[-1].key
        if kind == "seen":
            return np.ones((), np.float32)
        if kind in ("scale", "var"):
            return rng.uniform(0.5, 1.0, leaf.shape).astype(np.float32)
        fan_in = np.prod(leaf.shape[:-1]) if leaf.ndim > 1 else 200
        return (rng.normal(size=leaf.shape) * np.sqrt(2 / fan_in)).astype(np.float32)

    like = abstract_state(config, optimizer=False)
    params, stats = (jax.tree.map_with_path(draw, tree) for tree in (like.params, like.batch_stats))
    opt_state = jax.tree.map(np.asarray, networks.optimizer.init(params))
    step = np.zeros((), np.int32)
    return TrainState(step=step, params=params, batch_stats=stats, opt_state=opt_state), networks


def _twin(name: str, state: TrainState) -> Any:
    module = CASES[name].torch()
    theirs.copy_weights(module, state.params, state.batch_stats)
    return module


def _batch(name: str, size: int, seed: int = 0, *, every: int = 2) -> dict[str, np.ndarray]:
    """Make random crops, one fake in `every`; fakes are a little redder."""
    rng, side = np.random.default_rng(seed), CASES[name].side
    label = rng.permutation(np.arange(size) % every == 1).astype(np.int32)
    image = rng.integers(0, 235, (size, side, side, 3))
    image[..., 0] += 20 * label[:, None, None]
    return {
        "image": image.astype(np.uint8),
        "label": label,
        "index": np.arange(size, dtype=np.int32),
        "mask": np.ones(size, np.float32),
    }


def _normalised(batch: Mapping[str, np.ndarray]) -> np.ndarray:
    unit = batch["image"].astype(np.float32) / np.float32(255)
    return (unit - np.float32(MEAN)) / np.float32(STD)


def _to_torch(images: np.ndarray) -> Any:
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def _assert_close(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    assert found.keys() == expected.keys()
    errors = {}
    for name, array in expected.items():
        array, other = np.asarray(array, np.float64), np.asarray(found[name], np.float64)
        assert array.shape == other.shape, name
        largest = np.max(np.abs(array))
        assert largest > 0, f"{name} is all zeros: nothing to compare"
        errors[name] = np.max(np.abs(other - array)) / largest
    beyond = {name: error for name, error in errors.items() if not error < TOLERANCE}
    assert not beyond


@each_network
def test_logits_with_running_statistics(name: str) -> None:
    state, networks = _state(_config(name))
    images = _normalised(_batch(name, 4))

    def predict(state: TrainState, batch: Mapping[str, jax.Array]) -> jax.Array:
        variables = (nnx.State(state.params), nnx.State(state.batch_stats))
        logits: jax.Array = nnx.merge(networks.graphdef_eval, *variables)(batch["image"])
        return logits

    logits = pmap_predict(predict, devices=DEVICES)(state, {"image": images})()
    with torch.inference_mode():
        expected = _twin(name, state).eval()(_to_torch(images)).numpy()
    assert np.ptp(expected) > 0.01 * np.max(np.abs(expected))  # the images matter
    _assert_close({"logits": logits}, {"logits": expected})


def _training_pass(
    state: TrainState, networks: Networks, batch: dict[str, np.ndarray]
) -> dict[str, Any]:
    """Return logits, loss, gradients and new running statistics, of normalised images."""

    def device(state: TrainState, batch: Mapping[str, jax.Array]) -> tuple[TrainState, Any]:
        def local_loss(params: Any) -> tuple[jax.Array, Any]:
            variables = (nnx.State(params), nnx.State(state.batch_stats))
            model = nnx.merge(networks.graphdef_train, *variables, copy=True)
            logits = model(batch["image"])
            losses = optax.sigmoid_binary_cross_entropy(logits, batch["label"].astype(jnp.float32))
            stats = nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))
            return jnp.mean(losses) / DEVICES, (logits, stats)

        (loss, (logits, stats)), grads = jax.value_and_grad(local_loss, has_aux=True)(state.params)
        loss, grads = lax.psum((loss, grads), AXIS)
        logits = lax.all_gather(logits, AXIS, tiled=True)
        return state, {"loss": loss, "logits": logits, "grads": grads, "stats": stats}

    _, result = pmap_train_step(device, devices=DEVICES)(state, batch)
    found: dict[str, Any] = jax.device_get(result)
    return found


def _statistics_of_batch(module: Any, images: Any) -> tuple[Any, dict[str, np.ndarray]]:
    """Call `module`; return its logits, and mean and biased variance of what each norm saw."""
    seen = {}

    def watch(name: str) -> Callable[..., None]:
        def hook(_: Any, inputs: tuple[Any, ...]) -> None:
            x = inputs[0].detach()
            seen[f"{name}.mean"] = x.mean((0, 2, 3)).numpy()
            seen[f"{name}.var"] = x.var((0, 2, 3), correction=0).numpy()

        return hook

    for name, part in module.named_modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.register_forward_pre_hook(watch(name))
    return module(images), seen


def _smooth(monkeypatch: pytest.MonkeyPatch, sharpness: float) -> None:
    """Put x * sigmoid(sharpness * x) for ReLU and means for maxima, on both sides."""
    functional = torch.nn.functional
    monkeypatch.setattr(functional, "relu", lambda x: x * torch.sigmoid(sharpness * x))
    monkeypatch.setattr(functional, "max_pool2d", functional.avg_pool2d)
    monkeypatch.setattr(nnx, "relu", lambda x: x * nnx.sigmoid(sharpness * x))
    monkeypatch.setattr(lowering, "max_pool", _mean_pool)
    monkeypatch.setattr(lowering, "max_pool3x3", lambda images, **_: _mean_pool(images, 3, 2, 1))


def _mean_pool(images: jax.Array, window: int, stride: int = 0, padding: int = 0) -> jax.Array:
    stride, zero = stride or window, np.zeros((), images.dtype)
    pads = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    sums = lax.reduce_window(
        images, zero, lax.add, (1, window, window, 1), (1, stride, stride, 1), pads
    )
    return sums / window**2


WITH_KINKS = [
    pytest.param(name, False, id=f"{name}-kinks", marks=pytest.mark.slow)
    for name, case in CASES.items()
    if not case.slow
]
SMOOTH = [
    pytest.param(name, True, id=name, marks=pytest.mark.slow if case.slow else ())
    for name, case in CASES.items()
]


@pytest.mark.parametrize(("name", "smooth"), SMOOTH + WITH_KINKS)
def test_a_training_pass(name: str, smooth: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logits by the batch's statistics, loss, gradients of all parameters, running statistics.

    Gradients are held to the tolerance in the smooth form. A number that lies within rounding of
    ReLU's kink, or of another in its window, has a derivative of 0 or 1 by chance: among a million
    there always are some, and float32 gradients differ by a few percent from those in float64, in
    PyTorch too. So with the kinks this only sees that no layer's gradient is another one.
    """
    if smooth:
        _smooth(monkeypatch, CASES[name].sharpness)
    state, networks = _state(_config(name))
    batch = _batch(name, 8, every=4)  # of as many fakes as reals, gradients nearly cancel
    images = _normalised(batch)
    found = _training_pass(state, networks, batch | {"image": images})

    module = _twin(name, state).train()
    logits, of_batch = _statistics_of_batch(module, _to_torch(images))
    loss = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, torch.from_numpy(batch["label"]).float()
    )
    loss.backward()
    values = {"logits": logits.detach().numpy(), "loss": loss.item()}
    _assert_close({key: found[key] for key in values}, values)
    _assert_running_statistics(module, of_batch, theirs.named(state.batch_stats), found["stats"])
    ours, expected = theirs.named(found["grads"]), theirs.gradients(module)
    for key in [key for key in expected if key.endswith(CASES[name].cancelled)]:
        kernel = np.max(np.abs(expected[key.replace("bias", "kernel")]))
        assert max(np.max(np.abs(side.pop(key))) for side in (ours, expected)) < 1e-3 * kernel
    if smooth:
        _assert_close(ours, expected)
    else:
        assert ours.keys() == expected.keys()
        for key, array in expected.items():
            distance = np.linalg.norm(ours[key] - array) / np.linalg.norm(array)
            assert distance < 0.02, key


def _assert_running_statistics(
    module: Any, of_batch: dict[str, np.ndarray], before: dict[str, np.ndarray], after: Any
) -> None:
    norms = {name: part for name, part in module.named_modules() if hasattr(part, "momentum")}
    after = theirs.named(after)
    expected = {}
    for key, value in of_batch.items():
        share = norms[key.rpartition(".")[0]].momentum  # PyTorch's is the share of the new
        expected[key] = (1 - share) * before[key] + share * value
    _assert_close({key: after[key] for key in expected}, expected)
    # PyTorch's own averages agree for the means; its variances are the unbiased ones.
    running = {f"{key}.mean": part.running_mean.numpy() for key, part in norms.items()}
    _assert_close({key: after[key] for key in running}, running)


def _torch_losses(module: Any, optimizer: Any, batches: list[dict[str, np.ndarray]]) -> np.ndarray:
    losses = []
    for batch in batches:
        optimizer.zero_grad()
        logits = module(_to_torch(_normalised(batch)))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            logits, torch.from_numpy(batch["label"]).float()
        )
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return np.array(losses)


# Rates at which rounding does not grow to a percent: at three times these it nearly does.
CURVES = [
    pytest.param("meso4", OptimConfig(name="adam", lr=1e-4), id="meso4-adam"),
    pytest.param("meso4", OptimConfig(name="sgd", lr=1e-3), id="meso4-sgd", marks=pytest.mark.slow),
    pytest.param(
        "small_xception",
        OptimConfig(name="sgd", lr=1e-3),
        id="small_xception-sgd",
        marks=pytest.mark.slow,
    ),
]


@pytest.mark.parametrize(("name", "optim"), CURVES)
def test_fifty_steps_follow_the_same_losses(name: str, optim: OptimConfig) -> None:
    config = _config(name, optim)
    state, networks = _state(config)
    module = _twin(name, state).train()
    if optim.name == "adam":
        optimizer = torch.optim.Adam(module.parameters(), lr=optim.lr)
    else:
        optimizer = torch.optim.SGD(module.parameters(), lr=optim.lr, momentum=optim.momentum)
    batches = [_batch(name, 16, seed) for seed in range(50)]
    expected = _torch_losses(module, optimizer, batches)

    step = pmap_train_step(make_train_step(networks, config, (1.0, 1.0)), devices=DEVICES)
    losses = []
    for batch in batches:
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    assert np.mean(expected[-10:]) < 0.9 * np.mean(expected[:10])  # there is something to follow
    np.testing.assert_allclose(losses, expected, rtol=0.01)
