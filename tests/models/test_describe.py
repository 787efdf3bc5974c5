"""What models declare of themselves, counted anew, and their layers."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from dfbench.config import ModelConfig
from dfbench.models.describe import (
    abstract_model,
    count_multiply_adds,
    layers_of,
    multiply_adds,
    parameter_count,
)
from dfbench.models.meso4 import Meso4
from dfbench.models.registry import get_model, model_names


@pytest.mark.parametrize("name", model_names())
def test_declared_numbers_are_the_counted_ones(name: str) -> None:
    spec = get_model(name)
    model = abstract_model(spec)
    assert spec.parameters == parameter_count(model)
    assert spec.multiply_adds == round(multiply_adds(model, spec.input_size) / 1e6, 1)


@pytest.mark.parametrize(
    ("name", "published"),  # G multiply-adds, as timm and the papers round them
    [("xception", 8.4), ("resnet18", 1.82), ("resnet34", 3.67), ("resnet50v1_5", 4.11)],
)
def test_multiply_adds_are_those_published(name: str, published: float) -> None:
    assert get_model(name).multiply_adds == pytest.approx(1000 * published, rel=0.01)


def test_multiply_adds_of_meso4_by_hand() -> None:
    model = nnx.eval_shape(lambda: Meso4(ModelConfig(), input_size=32, rngs=nnx.Rngs(0)))
    model.eval()
    convs = 32**2 * 9 * 3 * 8 + 16**2 * 25 * 8 * 8 + 8**2 * 25 * 8 * 16 + 4**2 * 25 * 16 * 16
    assert multiply_adds(model, 32) == convs + 16 * 16 + 16


def test_a_loop_counts_as_often_as_it_runs() -> None:
    def loop(x: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, 5, lambda _, y: y @ y, x)

    assert count_multiply_adds(jax.make_jaxpr(loop)(jnp.ones((2, 2))).jaxpr) == 5 * 2**3


@pytest.mark.parametrize(("stride", "groups"), [(1, 1), (2, 1), (1, 4), (3, 2)])
def test_both_gradients_of_a_convolution_cost_what_it_costs(stride: int, groups: int) -> None:
    def convolve(images: jax.Array, kernel: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(
            images,
            kernel,
            (stride, stride),
            "VALID",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
        ).sum()

    # The sides are such that each pixel lies under windows that are whole: 3 + 6 strides.
    images = jnp.ones((2, 3 + 6 * stride, 3 + 6 * stride, 4))
    kernel = jnp.ones((3, 3, 4 // groups, 8))
    once = 2 * 7 * 7 * 8 * 9 * (4 // groups)

    def cost(function: Callable[..., jax.Array]) -> int:
        return count_multiply_adds(jax.make_jaxpr(function)(images, kernel).jaxpr)

    assert cost(convolve) == once
    assert cost(jax.grad(convolve, 1)) == 2 * once  # with the value
    by_images = cost(jax.grad(convolve)) - once
    assert by_images == 2 * (images.shape[1] ** 2 * 4) * 9 * (8 // groups) // stride**2


def test_layers_are_listed_as_they_are_called() -> None:
    model = abstract_model(get_model("xception"))
    call = type(model).__call__
    layers = layers_of(model, 299)
    assert type(model).__call__ is call
    assert sum(layer.count for layer in layers) == 20_811_050
    by_path = {layer.path: layer for layer in layers}
    assert list(by_path)[:3] == ["conv1", "norm1", "conv2"]
    assert list(by_path)[-1] == "head.output"
    depthwise = by_path["blocks.3.convs.1.depthwise"]
    assert (depthwise.kind, depthwise.output) == ("Depthwise", (19, 19, 728))
    assert depthwise.parameters == {"kernel": (3, 3, 1, 728)}
    assert by_path["head.output"].output == (2,)


def test_parts_that_are_never_called_are_listed_too() -> None:
    class Parts(nnx.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            self.parts = nnx.Dict(kernel=nnx.Param(jnp.ones((3, 1))))

        def __call__(self, images: jax.Array) -> jax.Array:
            return (images.mean((1, 2)) @ self.parts["kernel"][...])[:, 0]

    (layer,) = layers_of(Parts(), 8)
    assert (layer.path, layer.kind, layer.output, layer.count) == ("parts", "", None, 3)
