"""The programs of accelerators, as far as they come to be on a machine without one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest
from jax import export
from jax.sharding import Mesh, PartitionSpec
from support.train import NO_AUGMENT, SMALL_MODELS, make_batch, small_models

from dfbench.config import AugmentConfig, ModelConfig, RunConfig
from dfbench.eval.predict import device_predict
from dfbench.models import lowering
from dfbench.models.describe import operations
from dfbench.models.registry import model_names
from dfbench.train.parallel import AXIS
from dfbench.train.state import abstract_state, build_networks
from dfbench.train.step import make_train_step

PLATFORMS = ("cuda", "tpu")
BATCH = 4


@pytest.fixture(scope="module", autouse=True)
def _small_models() -> Iterator[None]:
    with small_models():
        yield


def _config(name: str, augment: AugmentConfig = NO_AUGMENT) -> RunConfig:
    return RunConfig(model=ModelConfig(name=name, dtype="bfloat16"), augment=augment)


def _abstract(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype), tree)


def _programs(config: RunConfig) -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
    """Return training step and prediction as one of several devices runs them, and what they take.

    Crops are larger than what the network sees, so that they are resized.
    """
    networks = build_networks(config)
    state = abstract_state(config, optimizer=True)
    batch = _abstract(make_batch(BATCH, side=networks.spec.input_size + 1))
    mesh = Mesh(np.asarray(jax.devices()[:1]), (AXIS,))

    def mapped(function: Callable[..., Any], out: PartitionSpec) -> Callable[..., Any]:
        split = PartitionSpec(), PartitionSpec(AXIS)
        return jax.shard_map(function, mesh=mesh, in_specs=split, out_specs=out, check_vma=False)

    step = make_train_step(networks, config, (1.0, 1.0))
    predict = device_predict(networks.graphdef_eval, networks.spec, "logits")
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    return {
        "train": (mapped(step, PartitionSpec()), (state, batch)),
        "predict": (mapped(predict, PartitionSpec(AXIS)), (variables, {"image": batch["image"]})),
    }


def _lower(config: RunConfig) -> None:
    for program, arguments in _programs(config).values():
        with lowering.traced_as("plain"):
            exported = export.export(jax.jit(program), platforms=PLATFORMS)(*arguments)
        assert exported.platforms == PLATFORMS
        assert "convolution" in exported.mlir_module()


def test_a_small_network_is_lowered_for_gpu_and_tpu() -> None:
    _lower(_config("small_midway_xception"))


@pytest.mark.slow
@pytest.mark.parametrize("name", model_names())
def test_every_network_is_lowered_for_gpu_and_tpu(name: str) -> None:
    # With everything that may happen to an image on the way.
    every = AugmentConfig(
        flip_vertical=0.5, rotate=10, shift=0.1, shear=5, zoom=0.1, blur=0.5, noise=0.5, jpeg=0.5
    )
    _lower(_config(name, every))


def _operands(config: RunConfig, program: str, form: lowering.Form) -> Counter[tuple[str, ...]]:
    """Return how many convolutions and matrix products there are by the types of what they take."""
    function, arguments = _programs(config)[program]
    with lowering.traced_as(form):
        jaxpr = jax.make_jaxpr(function)(*arguments).jaxpr
    found = Counter[tuple[str, ...]]()
    for equation, _ in operations(jaxpr):
        if equation.primitive.name in ("conv_general_dilated", "dot_general"):
            types = {str(operand.aval.dtype) for operand in equation.invars}
            found[(equation.primitive.name, *sorted(types))] += 1
            # Who forces more than a matrix unit's own precision loses the unit.
            forced = equation.params["precision"]
            resize = "float32" in types and forced is not None
            assert forced is None or resize, equation
    return found


@pytest.mark.parametrize(
    ("name", "form"),
    [
        pytest.param(
            name,
            form,
            marks=() if (name, form) == ("small_midway_xception", "plain") else pytest.mark.slow,
        )
        for name in SMALL_MODELS
        for form in ("plain", "shifted")
        if name != "tiny"
    ],
)
def test_bfloat16_networks_multiply_in_bfloat16(name: str, form: lowering.Form) -> None:
    config = _config(name)
    convolution = ("conv_general_dilated", "bfloat16")
    narrow, wide = ("dot_general", "bfloat16"), ("dot_general", "float32")
    for program, outputs in (("predict", 1), ("train", 3)):
        found = _operands(config, program, form)
        # In float32: two products that resize the crops, and the output layer with its gradients.
        assert found.pop(wide) == 2 + outputs
        assert found[convolution] + found[narrow] == found.total() > 0


def test_float32_networks_multiply_in_float32() -> None:
    config = replace(_config("small_meso4"), model=ModelConfig(name="small_meso4"))
    types = {key[1:] for key in _operands(config, "train", "plain")}
    assert types == {("float32",)}
