from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dfbench.config import ModelConfig
from dfbench.models import lowering
from dfbench.models.layers import drawn_flat
from dfbench.models.meso4 import Meso4
from dfbench.models.mesoinception4 import Inception, MesoInception4
from dfbench.models.registry import get_model
from dfbench.models.resnet import ResNet, ResNetV2, Unit
from dfbench.models.small_cnn import SmallCnn
from dfbench.models.xception import Block, Xception

Build = Callable[[ModelConfig], nnx.Module]


def _meso4(config: ModelConfig) -> nnx.Module:
    return Meso4(config, input_size=64, rngs=nnx.Rngs(0))


def _mesoinception4(config: ModelConfig) -> nnx.Module:
    return MesoInception4(config, input_size=64, rngs=nnx.Rngs(0))


def _small_cnn(config: ModelConfig) -> nnx.Module:
    return SmallCnn(config, input_size=32, rngs=nnx.Rngs(0))


def _xception(config: ModelConfig) -> nnx.Module:
    return Xception(config, middle_blocks=1, rngs=nnx.Rngs(0))


def _midway(config: ModelConfig) -> nnx.Module:
    return Xception(config, middle_blocks=1, grouped=True, skip_everywhere=True, rngs=nnx.Rngs(0))


def _resnet(unit: Unit) -> Build:
    def build(config: ModelConfig) -> nnx.Module:
        return ResNet(config, unit=unit, depths=(1, 2), widths=(4, 8), rngs=nnx.Rngs(0))

    return build


def _resnetv2(config: ModelConfig) -> nnx.Module:
    return ResNetV2(config, depths=(2, 2), widths=(4, 8), rngs=nnx.Rngs(0))


SMALL_MODELS: dict[str, tuple[Build, int]] = {
    "meso4": (_meso4, 64),
    "mesoinception4": (_mesoinception4, 64),
    "small_cnn": (_small_cnn, 32),
    "xception": (_xception, 32),
    "midway": (_midway, 32),
    "resnet basic": (_resnet("basic"), 32),
    "resnet bottleneck": (_resnet("bottleneck"), 32),
    "resnet v1.5": (_resnet("bottleneck_v1_5"), 32),
    "resnet v2": (_resnetv2, 32),
}
SMALL = pytest.mark.parametrize(("build", "side"), SMALL_MODELS.values(), ids=SMALL_MODELS.keys())


def _parameters(model: nnx.Module) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))


def _abstract(name: str) -> Any:
    return nnx.eval_shape(lambda: get_model(name).build(ModelConfig(name=name), nnx.Rngs(0)))


def _filled(build: Build) -> Any:
    """Build a model of random numbers, faster than its own initialisers compile."""
    model = nnx.eval_shape(lambda: build(ModelConfig()))
    rng = np.random.default_rng(0)

    def draw(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        return jnp.asarray(rng.uniform(0, 0.2, leaf.shape), leaf.dtype)

    nnx.update(model, jax.tree.map(draw, nnx.state(model)))
    return model


def test_parameters_of_mesonets() -> None:
    assert _parameters(_abstract("meso4")) == 27_977
    assert _parameters(_abstract("mesoinception4")) == 28_615


def test_parameters_of_the_small_network_by_hand() -> None:
    convs = (9 * 3 + 1) * 16 + (9 * 16 + 1) * 32
    assert _parameters(_abstract("small_cnn")) == convs + (40 * 40 * 32 + 1) * 64 + 65 == 3_282_017


def test_branches_of_an_inception_module() -> None:
    """One pixel lights up what each branch's kernel reaches: 1, 3, 5 and 7 px across."""
    module = Inception(1, (1, 1, 1, 1), dtype=jnp.dtype("float32"), rngs=nnx.Rngs(0))
    for conv in module.convs:
        conv.kernel[...] = jnp.ones_like(conv.kernel[...])
    y = np.asarray(module(jnp.zeros((1, 9, 9, 1)).at[0, 4, 4, 0].set(1.0)))[0]
    widths = [np.ptp(np.nonzero(y[..., c])[0]) + 1 for c in range(4)]
    assert widths == [1, 3, 5, 7]
    assert [int(y[..., c].sum()) for c in range(4)] == [1, 9, 9, 9]


def test_parameters_of_xception() -> None:
    model = _abstract("xception")
    assert _parameters(model) == 20_811_050
    assert _parameters(model) - _parameters(model.head.output) == 20_806_952
    assert len(model.blocks) == 12


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("light_xception", 14_355_146),
        ("midway_xception", 25_270_002),
        # Midway's, but for four blocks: each 3 * (9 * 2 + 728 + 2) * 728 and 728 * (728 + 2).
        ("light_midway_xception", 25_270_002 - 4 * 728 * (3 * 748 + 730)),
    ],
)
def test_parameters_of_the_variants_of_xception(name: str, count: int) -> None:
    assert _parameters(_abstract(name)) == count


def test_blocks_of_midway_xception() -> None:
    model = _abstract("midway_xception")
    convs = [conv for block in model.blocks for conv in block.convs] + [model.exit1, model.exit2]
    assert {conv.depthwise.kernel.shape[:3] for conv in convs} == {(3, 3, 2)}
    assert [block.skip.stride for block in model.blocks] == [2, 2, 2] + [1] * 8 + [2]
    assert all(block.skip_norm.scale.shape for block in model.blocks)


@pytest.mark.parametrize(
    ("name", "published"),
    [
        # Those of torchvision, with 1,000 outputs.
        ("resnet18", 11_689_512),
        ("resnet34", 21_797_672),
        ("resnet50", 25_557_032),
        ("resnet50v1_5", 25_557_032),
        # Keras' trainable ones.
        ("resnet50v2", 25_613_800 - 45_440),
    ],
)
def test_parameters_of_resnets(name: str, published: int) -> None:
    model = _abstract(name)
    features = model.head.output.kernel.shape[0]
    assert _parameters(model) == published - 999 * (features + 1)


def _strides(name: str) -> list[list[list[int]]]:
    """Of the convolutions of the second stage's units."""
    return [[conv.stride for conv in unit.convs] for unit in _abstract(name).stages[1]]


def test_where_resnets_stride() -> None:
    assert _strides("resnet34") == [[2, 1]] + [[1, 1]] * 3
    assert _strides("resnet50") == [[2, 1, 1]] + [[1, 1, 1]] * 3
    assert _strides("resnet50v1_5") == [[1, 2, 1]] + [[1, 1, 1]] * 3
    assert _strides("resnet50v2") == [[1, 1, 1]] * 3 + [[1, 2, 1]]
    assert [u.identity for u in _abstract("resnet34").stages[0]] == [True] * 3
    assert [u.identity for u in _abstract("resnet50").stages[0]] == [False, True, True]


def test_parameters_are_float32_even_in_bfloat16() -> None:
    config = ModelConfig(name="xception", dtype="bfloat16")
    model = nnx.eval_shape(lambda: Xception(config, middle_blocks=1, rngs=nnx.Rngs(0)))
    assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(model))} == {jnp.dtype("float32")}


def test_stages_of_xception_at_299(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = []
    call = Block.__call__

    def watched(block: Block, x: jax.Array) -> jax.Array:
        y = call(block, x)
        shapes.append(y.shape[1:])
        return y

    monkeypatch.setattr(Block, "__call__", watched)
    model = _abstract("xception")
    model.eval()
    images = jax.ShapeDtypeStruct((2, 299, 299, 3), jnp.float32)
    logits = nnx.eval_shape(lambda model, x: model(x), model, images)
    assert logits.shape == (2,)
    # 299 -> 149 -> 147 without padding, then halved and rounded up.
    entry = [(74, 74, 128), (37, 37, 256), (19, 19, 728)]
    assert shapes == entry + [(19, 19, 728)] * 8 + [(10, 10, 1024)]


@SMALL
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_logits_are_float32(build: Build, side: int, dtype: Literal["float32", "bfloat16"]) -> None:
    model = nnx.eval_shape(lambda: build(ModelConfig(dtype=dtype)))
    model.eval()
    images = jax.ShapeDtypeStruct((3, side, side, 3), jnp.float32)
    logits = nnx.eval_shape(lambda model, x: model(x), model, images)
    assert (logits.shape, logits.dtype) == ((3,), jnp.float32)


@SMALL
def test_training_traces_in_the_forms_of_other_platforms(
    monkeypatch: pytest.MonkeyPatch, build: Build, side: int
) -> None:
    monkeypatch.setattr(lowering, "shifted", lambda: False)

    def loss(params: Any, rest: Any, images: jax.Array) -> jax.Array:
        model = nnx.merge(graphdef, params, rest, copy=True)
        return jnp.sum(model(images, rngs=nnx.Rngs(dropout=0)))

    model = nnx.eval_shape(lambda: build(ModelConfig(dtype="bfloat16")))
    model.train()
    graphdef, params, rest = nnx.split(model, nnx.Param, ...)
    images = jax.ShapeDtypeStruct((4, side, side, 3), jnp.float32)
    step = jax.shard_map(
        jax.grad(loss),
        mesh=jax.make_mesh((1,), ("batch",)),
        in_specs=jax.P(),
        out_specs=jax.P(),
        check_vma=False,
    )
    gradients = jax.eval_shape(jax.jit(step), params, rest, images)
    assert jax.tree.map(jnp.shape, gradients) == jax.tree.map(jnp.shape, params)


@SMALL
def test_dropout_acts_in_training_only(build: Build, side: int) -> None:
    images = jax.ShapeDtypeStruct((4, side, side, 3), jnp.float32)
    model = nnx.eval_shape(lambda: build(ModelConfig(dropout=0.5)))
    model.eval()
    assert nnx.eval_shape(lambda model, x: model(x), model, images).shape == (4,)
    model.set_attributes(deterministic=False)  # dropout alone as in training
    with pytest.raises(ValueError, match="dropout needs rngs"):
        nnx.eval_shape(lambda model, x: model(x), model, images)


@pytest.mark.slow
def test_the_logit_of_xception_is_the_difference_of_its_outputs() -> None:
    model = _filled(lambda config: Xception(config, middle_blocks=0, rngs=nnx.Rngs(0)))
    model.eval()
    images = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)), jnp.float32)
    plain = nnx.jit(lambda model: model(images))(model)
    model.head.output.kernel[...] = model.head.output.kernel[...][:, ::-1]
    model.head.output.bias[...] = model.head.output.bias[...][::-1]
    assert np.all(np.abs(plain) > 0.01)
    swapped = nnx.jit(lambda model: model(images))(model)
    np.testing.assert_allclose(swapped, -plain, rtol=1e-5)


def test_kernels_of_the_initialisers_have_their_spread() -> None:
    """He-normal: variance 2 / fan in; Glorot-uniform: 2 / (fan in + fan out)."""
    key, shape = jax.random.key(0), (5, 5, 32, 64)
    he = drawn_flat(nnx.initializers.he_normal())(key, shape, jnp.float32)
    glorot = drawn_flat(nnx.initializers.glorot_uniform())(key, shape, jnp.float32)
    assert he.shape == glorot.shape == shape
    # 51,200 draws: the standard error of a variance is 0.6 %.
    np.testing.assert_allclose(np.var(he), 2 / (25 * 32), rtol=0.03)
    np.testing.assert_allclose(np.var(glorot), 2 / (25 * 32 + 25 * 64), rtol=0.03)


def test_meso4_pools_by_32() -> None:
    model = nnx.eval_shape(lambda: Meso4(ModelConfig(), input_size=96, rngs=nnx.Rngs(0)))
    assert model.head.hidden[0].kernel.shape == (3 * 3 * 16, 16)
