"""`keras:NAME` against Keras itself, and everything that a model has to stand."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from support.train import (
    NO_AUGMENT,
    SMALL,
    assert_trees_close,
    assert_trees_equal,
    make_batch,
    train,
)

from dfbench.config import ModelConfig, RunConfig
from dfbench.errors import UserError
from dfbench.models import keras_graph, registry
from dfbench.models.keras_backbone import _SIDES, KerasBackbone, keras_spec, preprocessing
from dfbench.models.keras_graph import build_graph, keras, run_graph
from dfbench.models.keras_weights import file_weights, imagenet_weights
from dfbench.models.layers import BatchNorm, freeze_statistics
from dfbench.models.registry import check_name, get_model, keras_names, model_names, register
from dfbench.models.weights.pixels import widened
from dfbench.train import checkpoint
from dfbench.train.state import abstract_state, create_state

SIDE = 16
BATCH_NORMS = ("gamma", "beta", "moving_mean", "moving_variance")
OURS = dict(zip(BATCH_NORMS, ("scale", "bias", "mean", "var"), strict=True))
APPLICATIONS = tuple(name.removeprefix("keras:") for name in keras_names())

preprocess_input = keras.applications.vgg16.preprocess_input  # that of the network below


class StochasticDepth(keras.layers.Layer):  # type: ignore[misc]
    """As ConvNeXt's: Keras draws outside of any seed, so this must never run."""

    def __init__(self) -> None:
        super().__init__()
        self.drop_path_rate = 0.25

    def call(self, x: Any, training: Any = None) -> Any:
        if training:
            raise AssertionError
        return x


def _small_net(include_top: bool, weights: None, pooling: str, input_shape: Any) -> Any:
    """Every kind of layer that needs care, in a network that compiles in a second."""
    layers = keras.layers
    x = image = layers.Input(input_shape)
    x = layers.Normalization(name="normalization")(x)
    x = layers.Conv2D(8, 3, strides=2, name="stem.conv")(x)
    x = layers.BatchNormalization(momentum=0.9, epsilon=0.01, name="bn")(x)
    x = layers.ReLU()(x)
    parts = [layers.Conv2D(8, 1), layers.BatchNormalization(scale=False)]
    inner = keras.Sequential(parts, name="inner")
    y = layers.Dropout(0.25, noise_shape=(None, 1, 1, 1))(inner(x))
    x = layers.Add()([x, StochasticDepth()(y)])
    x = layers.Dropout(0.5)(layers.DepthwiseConv2D(3, name="depthwise")(x))
    return keras.Model(image, layers.GlobalAveragePooling2D()(x), name="small_0.5")


@pytest.fixture(autouse=True, scope="module")
def _small_net_of_keras() -> Iterator[None]:
    known, patch = dict(registry._SPECS), pytest.MonkeyPatch()
    patch.setattr(keras.applications, "SmallNet", _small_net, raising=False)

    def build(config: ModelConfig, rngs: nnx.Rngs) -> nnx.Module:
        return KerasBackbone(config, "SmallNet", side=SIDE, rngs=rngs)

    register(name="small_keras", summary="", input_size=SIDE, paper="", mean=0.5)(build)
    yield
    patch.undo()
    registry._SPECS.clear()
    registry._SPECS.update(known)


def _config(dropout: float = 0.0, **settings: Any) -> RunConfig:
    model = ModelConfig(name="small_keras", dropout=dropout, **settings)
    return replace(SMALL, model=model, augment=NO_AUGMENT)


def _filled(name: str, side: int, **settings: Any) -> Any:
    """Build a module of random numbers by NumPy."""
    model = nnx.eval_shape(
        lambda: KerasBackbone(ModelConfig(**settings), name, side=side, rngs=nnx.Rngs(0))
    )
    rng = np.random.default_rng(0)

    def draw(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        spread = np.sqrt(2 / np.prod(leaf.shape[:-1])) if leaf.ndim > 1 else 0.0
        values = rng.normal(size=leaf.shape) * spread + (leaf.ndim < 2) * rng.uniform(
            0.5, 1, leaf.shape
        )
        return jnp.asarray(values, leaf.dtype)

    nnx.update(model, jax.tree.map(draw, nnx.state(model)))
    for _, module in nnx.iter_modules(model):
        if isinstance(module, BatchNorm) and isinstance(module.scale, nnx.BatchStat):
            module.scale[...] = jnp.ones(module.scale.shape)  # a constant
    return model


def _value(tree: Any, variable: Any) -> np.ndarray:
    """Find our value of a Keras variable, independently of how ours are named by the code."""
    *layers, name = variable.path.replace(".", "_").split("/")
    for part in layers:
        tree = tree[part]
    if name not in tree:
        name = OURS.get(name, "scale")  # of a batch norm, or ConvNeXt's scale without a name
    return np.asarray(tree[name])


def _keras_model(name: str, side: int, backbone: Any) -> Any:
    """Build Keras's own network with our numbers."""

    def build() -> Any:
        with keras.StatelessScope(initialize_variables=False):
            made = getattr(keras.applications, name)(
                include_top=False, weights=None, pooling="avg", input_shape=(side, side, 3)
            )
        for variable in made.variables:
            if "float" in variable.dtype:
                variable.assign(_value(backbone, variable))
            else:
                variable.assign(np.zeros(variable.shape, variable.dtype))
        for layer in made.layers:
            if isinstance(layer, keras.layers.Normalization) and layer.input_mean is None:
                layer.finalize_state()  # it computes with copies of its numbers
        return made

    return keras_graph.in_fresh_thread(build)


def _images(side: int, number: int = 2) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (number, side, side, 3)).astype(np.float32)


def _normalised(name: str, images: np.ndarray) -> np.ndarray:
    seen = preprocessing(name)
    return ((images / 255 - np.asarray(seen.mean)) / np.asarray(seen.std)).astype(np.float32)


# --- against Keras -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", APPLICATIONS)
def test_images_become_what_the_family_wants(name: str) -> None:
    images = _images(4)
    module = sys.modules[getattr(keras.applications, name).__module__]
    ours = _normalised(name, images)
    if preprocessing(name).flip_channels:
        ours = ours[..., ::-1]
    wanted = module.preprocess_input(images.copy())
    np.testing.assert_allclose(ours, wanted, rtol=1e-4, atol=2e-4)


def test_families_of_bgr_images() -> None:
    flipped = {name for name in APPLICATIONS if preprocessing(name).flip_channels}
    assert flipped == {"VGG16", "VGG19", "ResNet50", "ResNet101", "ResNet152"}
    assert preprocessing("MobileNetV2").std == pytest.approx((0.5, 0.5, 0.5))
    assert preprocessing("EfficientNetB0").std == pytest.approx((1 / 255,) * 3)
    assert preprocessing("DenseNet121").mean == pytest.approx((0.485, 0.456, 0.406), abs=1e-6)


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("VGG16", 32),
        ("MobileNetV2", 32),
        pytest.param("ResNet50V2", 32, marks=pytest.mark.slow),
        pytest.param("ResNet50", 32, marks=pytest.mark.slow),
        pytest.param("EfficientNetB0", 32, marks=pytest.mark.slow),
        pytest.param("InceptionV3", 75, marks=pytest.mark.slow),
        pytest.param("NASNetMobile", 32, marks=pytest.mark.slow),
        pytest.param("ConvNeXtTiny", 32, marks=pytest.mark.slow),
    ],
)
def test_outputs_are_those_of_keras(name: str, side: int) -> None:
    model = _filled(name, side)
    model.eval()
    backbone = nnx.to_pure_dict(nnx.state(model.backbone))
    reference, graph = _keras_model(name, side, backbone), build_graph(name, side, "float32")
    images = _images(side)
    module = sys.modules[getattr(keras.applications, name).__module__]
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        features = reference.predict(module.preprocess_input(images.copy()), verbose=0)
    dense = model.head.output
    wanted = features @ np.asarray(dense.kernel[...])[:, 0] + np.asarray(dense.bias[...])
    found = nnx.jit(lambda model, x: model(x))(model, jnp.asarray(_normalised(name, images)))
    kinds = {type(layer).__name__ for layer in keras_graph.all_layers(graph.model)}
    assert ("_Depthwise" in kinds) == (name in ("MobileNetV2", "EfficientNetB0"))
    assert np.max(np.abs(features)) > 1e-3
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * np.max(np.abs(wanted)))


def test_a_training_step_sees_the_statistics_of_keras() -> None:
    """From unbiased running averages at their start, one step gives the batch's moments."""
    backbone = nnx.to_pure_dict(nnx.state(_filled("SmallNet", SIDE).backbone))
    reference = _keras_model("SmallNet", SIDE, backbone)
    stem = keras.Model(reference.input, reference.get_layer("stem.conv").output)
    images = _images(SIDE, 8)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        activations = np.asarray(stem(preprocess_input(images.copy())))
    model = _filled("SmallNet", SIDE)
    model.backbone["bn"].seen[...] = jnp.zeros(())
    found = _trained_once(model, jnp.asarray(_normalised("SmallNet", images)))
    stats = found["backbone"]["bn"]
    np.testing.assert_allclose(stats["mean"], activations.mean((0, 1, 2)), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(stats["var"], activations.var((0, 1, 2)), rtol=1e-3)
    assert float(stats["seen"]) == pytest.approx(0.1)


def _trained_once(model: Any, images: jax.Array) -> Any:
    """Call in training on one device; return the statistics."""
    graphdef, state = nnx.split(model)

    def call(state: Any, images: jax.Array) -> Any:
        module = nnx.merge(graphdef, state, copy=True)
        module(images, rngs=nnx.Rngs(dropout=0))
        return nnx.to_pure_dict(nnx.state(module, nnx.BatchStat))

    mapped = jax.pmap(call, axis_name="batch", in_axes=(None, 0), devices=jax.devices()[:1])
    return jax.tree.map(lambda leaf: np.asarray(leaf)[0], mapped(state, images[None]))


# --- as a model ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_devices_change_nothing_but_rounding() -> None:
    """With every dropout of Keras's, and of the head."""
    config = _config(dropout=0.5)
    batches = [make_batch(16, side=get_model(config.model.name).input_size, seed=0)]
    alone, many = (train(config, batches, devices=number) for number in (1, 4))
    assert many.metrics[0] == pytest.approx(alone.metrics[0], rel=1e-4)
    gradients, others = (trained.state.opt_state[0].trace for trained in (alone, many))
    assert_trees_close(others, gradients, rtol=1e-4, atol=1e-6)
    assert_trees_close(many.state.batch_stats, alone.state.batch_stats, rtol=1e-4, atol=1e-6)
    assert all(
        np.any(leaf) for leaf in jax.tree.leaves(gradients["backbone"]["stem_conv"]["kernel"])
    )


def test_names_are_readable_and_split_by_kind() -> None:
    state = abstract_state(_config(), optimizer=False)
    params = {
        jax.tree_util.keystr(p, simple=True, separator=".")
        for p, _ in jax.tree.leaves_with_path(state.params)
    }
    assert params == {
        "backbone.stem_conv.kernel",
        "backbone.stem_conv.bias",
        "backbone.bn.scale",
        "backbone.bn.bias",
        "backbone.inner.conv2d.kernel",
        "backbone.inner.conv2d.bias",
        "backbone.inner.batch_normalization.bias",
        "backbone.depthwise.kernel",
        "backbone.depthwise.bias",
        "head.output.kernel",
        "head.output.bias",
    }
    stats = state.batch_stats["backbone"]
    assert set(stats) == {"normalization", "bn", "inner"}
    assert set(stats["normalization"]) == {"mean", "variance"}
    assert set(stats["bn"]) == {"mean", "var", "seen"}
    assert set(stats["inner"]["batch_normalization"]) == {"mean", "var", "seen", "scale"}


def test_names_do_not_depend_on_what_was_built_before() -> None:
    first = list(build_graph("InceptionV3", 75, "float32").weights)
    build_graph.cache_clear()
    keras_graph.in_fresh_thread(lambda: keras.layers.Conv2D(1, 1))
    keras.layers.Conv2D(1, 1)
    assert list(build_graph("InceptionV3", 75, "float32").weights) == first
    assert ("conv2d", "kernel") in first


def test_two_builds_are_the_same_graph() -> None:
    def graph(seed: int) -> Any:
        build = get_model("small_keras").build
        return nnx.graphdef(nnx.eval_shape(lambda: build(ModelConfig(), nnx.Rngs(seed))))

    assert graph(0) == graph(1)
    assert hash(graph(0)) == hash(graph(1))


def test_the_seed_makes_the_weights() -> None:
    one, same, other = (create_state(_config(), seed=seed)[0] for seed in (3, 3, 4))
    assert_trees_equal(one.params, same.params)
    kernels = [state.params["backbone"]["stem_conv"]["kernel"] for state in (one, other)]
    assert not np.any(kernels[0] == kernels[1])
    assert np.all(one.params["backbone"]["bn"]["scale"] == 1)
    assert np.all(one.batch_stats["backbone"]["normalization"]["variance"] == 1)


@pytest.mark.parametrize(
    "initializer",
    [
        keras.initializers.GlorotUniform(),
        keras.initializers.HeNormal(),
        keras.initializers.VarianceScaling(2.0, "fan_out", "truncated_normal"),
        keras.initializers.VarianceScaling(1.0, "fan_in", "untruncated_normal"),
        keras.initializers.RandomNormal(stddev=0.02),
    ],
    ids=lambda initializer: type(initializer).__name__,
)
@pytest.mark.parametrize("shape", [(3, 3, 32, 128), (3, 3, 4096, 1), (64, 512)], ids=str)
def test_draws_have_the_distribution_of_kerass(initializer: Any, shape: tuple[int, ...]) -> None:
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        wanted = np.asarray(initializer(shape))
    with keras.StatelessScope(initialize_variables=False):
        variable = keras.Variable(initializer, shape=shape, dtype="float32")
    found = np.asarray(keras_graph.initial_values({("a",): variable}, nnx.Rngs(0))["a",])
    assert found.shape == shape
    assert found.dtype == np.float32
    # 33 thousand draws each: the standard error of the ratio is some 0.5 %.
    assert np.std(found) == pytest.approx(np.std(wanted), rel=0.03)
    extreme = [np.quantile(np.abs(values), 0.999) for values in (found, wanted)]
    assert extreme[0] == pytest.approx(extreme[1], rel=0.06)


def test_frozen_statistics_stay() -> None:
    model = _filled("SmallNet", SIDE)
    before = nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))["backbone"]
    freeze_statistics(model, lambda name: name == "backbone.bn")
    after = _trained_once(model, jnp.asarray(_images(SIDE, 4)))["backbone"]
    assert_trees_equal(after["bn"], jax.tree.map(np.asarray, before["bn"]))
    assert_trees_equal(after["normalization"], jax.tree.map(np.asarray, before["normalization"]))
    inner, old = after["inner"]["batch_normalization"], before["inner"]["batch_normalization"]
    assert np.all(inner["mean"] != old["mean"])
    np.testing.assert_array_equal(inner["scale"], old["scale"])


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    config = _config(dropout=0.5)
    state = train(config, [make_batch(16, side=SIDE)], devices=4).state
    checkpoint.save(tmp_path, "last", checkpoint.Checkpoint(state=state))
    found = checkpoint.restore(tmp_path, "last", abstract_state(config, optimizer=True))
    assert_trees_equal(found.state, state)


def test_bfloat16_keeps_float32_numbers() -> None:
    full, half = (_filled("SmallNet", SIDE, dtype=dtype) for dtype in ("float32", "bfloat16"))
    assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(half))} == {jnp.dtype("float32")}
    images = jnp.asarray(_images(SIDE)) / 100
    outputs = []
    for model in (full, half):
        model.eval()
        outputs.append(np.asarray(model(images)))
    assert outputs[1].dtype == np.float32
    assert not np.array_equal(*outputs)
    np.testing.assert_allclose(outputs[1], outputs[0], rtol=0.05, atol=0.05)


def test_bfloat16_trains() -> None:
    trained = train(_config(dtype="bfloat16"), [make_batch(16, side=SIDE)], devices=2)
    assert np.isfinite(trained.metrics[0]["loss"])
    state = trained.state
    leaves = jax.tree.leaves((state.params, state.batch_stats))
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype("float32")}


def test_more_channels_begin_without_effect() -> None:
    """Weights of three channels, of a network of BGR images with a normalisation of its own."""
    model, wide = _filled("SmallNet", SIDE), _filled("SmallNet", SIDE, input="rgb+srm")
    theirs, ours = (nnx.to_pure_dict(nnx.state(m)) for m in (model, wide))
    nnx.update(
        wide,
        nnx.State(
            jax.tree.map(
                lambda a, b: jnp.asarray(widened(a, b.shape)),
                jax.tree.map(np.asarray, theirs),
                ours,
            )
        ),
    )
    images = jnp.asarray(_images(SIDE)) / 100
    for module in (model, wide):
        module.eval()
    wanted = model(images)
    for extra in (jnp.zeros_like(images), images[::-1]):
        found = wide(jnp.concatenate([images, extra], axis=-1))
        np.testing.assert_allclose(found, wanted, rtol=1e-5)
    assert ours["backbone"]["stem_conv"]["kernel"].shape == (3, 3, 6, 8)


def test_networks_that_normalise_pictures_alone_take_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def picky(include_top: bool, weights: None, pooling: str, input_shape: Any) -> Any:
        made = _small_net(include_top, weights, pooling, input_shape)
        if input_shape[2] != 3:
            return made
        image = keras.layers.Input(input_shape)
        return keras.Model(image, made(keras.layers.Rescaling(2.0)(image)))

    monkeypatch.setattr(keras.applications, "PickyNet", picky, raising=False)
    assert build_graph("PickyNet", SIDE, "float32").features == 8
    with pytest.raises(UserError, match=r"keras:PickyNet takes three channels: model\.input"):
        build_graph("PickyNet", SIDE, "float32", 6)


def test_pooling_and_size_by_settings() -> None:
    layers = {
        pooling: build_graph("MobileNetV2", 32, "float32", pooling=pooling).model.layers[-1]
        for pooling in ("average", "max")  # type: ignore[arg-type]
    }
    assert isinstance(layers["average"], keras.layers.GlobalAveragePooling2D)
    assert isinstance(layers["max"], keras.layers.GlobalMaxPooling2D)
    config = ModelConfig(name="keras:VGG16", input_size=64, pooling="max")
    model = nnx.eval_shape(lambda: get_model(config.name).build(config, nnx.Rngs(0)))
    assert model.built == ("VGG16", 64, "float32", 3, "max")


def test_dropout_without_keys_is_refused() -> None:
    model = nnx.eval_shape(
        lambda: KerasBackbone(ModelConfig(dropout=0.0), "SmallNet", side=SIDE, rngs=nnx.Rngs(0))
    )
    model.eval()
    model.set_attributes(deterministic=False)  # dropout alone as in training
    with pytest.raises(ValueError, match="dropout needs rngs"):
        nnx.eval_shape(lambda model, x: model(x), model, jnp.zeros((2, SIDE, SIDE, 3)))


# --- names ---------------------------------------------------------------------------------------


def test_spec_of_an_application() -> None:
    spec = get_model("keras:InceptionV3")
    assert (spec.name, spec.input_size) == ("keras:InceptionV3", 299)
    assert spec.mean == pytest.approx((0.5,) * 3)
    assert get_model("keras:InceptionV3") is spec
    assert "keras:InceptionV3" not in model_names()


def test_names_that_are_wrong() -> None:
    with pytest.raises(UserError, match=r"'keras:VG19'; did you mean 'keras:VGG1[69]'\?"):
        get_model("keras:VG19")
    with pytest.raises(UserError, match="unknown model 'keras:imagenet_utils'"):
        check_name("keras:imagenet_utils")
    with pytest.raises(UserError, match=r"'vgg19'.*keras:NAME"):
        check_name("vgg19")
    check_name("keras:VGG19")
    check_name("meso4")


def test_names_are_all_that_keras_has() -> None:
    functions = {n for n in dir(keras.applications) if n[0].isupper() and n != "SmallNet"}
    assert set(APPLICATIONS) == functions
    assert len(functions) >= 38


def test_without_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'dfbench\[keras\]'"):
        get_model("keras:VGG19")


def test_keras_on_another_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.config, "backend", lambda: "torch")
    with pytest.raises(UserError, match=r"backend 'torch'.*KERAS_BACKEND=jax"):
        keras_graph._import_keras()


def test_a_size_that_a_network_does_not_take() -> None:
    with pytest.raises(UserError, match="keras:InceptionV3 cannot be built for images of 32 px"):
        build_graph("InceptionV3", 32, "float32")


@pytest.mark.slow
@pytest.mark.parametrize("name", APPLICATIONS)
def test_every_application_can_be_trained(name: str) -> None:
    """By shapes alone, at the size of its ImageNet images."""
    spec = keras_spec(f"keras:{name}")
    whole = keras_graph.in_fresh_thread(lambda: _empty(getattr(keras.applications, name)))
    # MobileNetV3 takes any size.
    assert (whole.input_shape[1] or 224) == spec.input_size == _SIDES.get(name, 224)
    assert {
        type(norm.gamma._initializer).__name__
        for norm in whole.layers
        if keras_graph.is_batch_norm(norm) and norm.scale
    } <= {"Ones"}
    model = nnx.eval_shape(lambda: spec.build(ModelConfig(name=spec.name), nnx.Rngs(0)))
    graph = build_graph(name, spec.input_size, "float32")
    trainable = sum(int(np.prod(v.shape)) for v in graph.model.trainable_variables)
    ours = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model.backbone, nnx.Param)))
    assert ours == trainable


def _empty(function: Any) -> Any:
    with keras.StatelessScope(initialize_variables=False):
        return function(weights=None)


# --- weights of Keras ----------------------------------------------------------------------------


def _saved(name: str, side: int, path: Path) -> tuple[Any, Any]:
    """Save random weights with Keras; return ours."""
    model = _filled(name, side)
    backbone = nnx.to_pure_dict(nnx.state(model.backbone))
    reference = _keras_model(name, side, backbone)
    with warnings.catch_warnings():
        # Of Keras 3.15 with NumPy 2, when it saves.
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        _save(reference, path)
    _, params, stats = nnx.split(model, nnx.Param, nnx.BatchStat)
    return tuple(
        jax.tree.map(np.asarray, {"backbone": nnx.to_pure_dict(part).get("backbone", {})})
        for part in (params, stats)
    )


def _save(reference: Any, path: Path) -> None:
    if path.name.endswith(".weights.h5"):
        reference.save_weights(path)
    else:
        reference.save(path)


def _seen(stats: Any) -> Any:
    """Statistics from a file count as data; a scale that Keras lacks is one."""
    fixed = {"seen": np.ones((), np.float32)}
    return {
        key: _seen(value) if isinstance(value, dict) else fixed.get(key, value)
        for key, value in stats.items()
    }


@pytest.mark.parametrize("suffix", [".weights.h5", ".h5"])
def test_a_file_of_keras(suffix: str, tmp_path: Path) -> None:
    params, stats = _saved("MobileNetV2", 32, tmp_path / f"saved{suffix}")
    found = file_weights("MobileNetV2", 32, tmp_path / f"saved{suffix}")
    assert_trees_equal(found[0], params)
    assert_trees_equal(found[1], _seen(stats))


def test_a_scale_that_keras_lacks_is_one(tmp_path: Path) -> None:
    _, stats = _saved("SmallNet", SIDE, tmp_path / "saved.weights.h5")
    found = file_weights("SmallNet", SIDE, tmp_path / "saved.weights.h5")[1]
    norm = found["backbone"]["inner"]["batch_normalization"]
    np.testing.assert_array_equal(norm["scale"], np.ones(8, np.float32))
    assert jax.tree.structure(found) == jax.tree.structure(stats)


def test_a_file_that_does_not_fit(tmp_path: Path) -> None:
    _saved("SmallNet", SIDE, tmp_path / "saved.weights.h5")
    with pytest.raises(UserError, match=r"saved\.weights\.h5: no weights of keras:VGG16"):
        file_weights("VGG16", 32, tmp_path / "saved.weights.h5")
    with pytest.raises(UserError, match="no such file"):
        file_weights("VGG16", 32, tmp_path / "none.h5")
    (tmp_path / "saved.pth").touch()
    with pytest.raises(UserError, match=r"saved\.pth: keras:VGG16 takes files that Keras saved"):
        file_weights("VGG16", 32, tmp_path / "saved.pth")


def _offer(monkeypatch: pytest.MonkeyPatch, name: str, path: Path | None) -> None:
    """Let Keras's loader of a family find a file, or no network."""
    module = sys.modules[getattr(keras.applications, name).__module__]

    def get_file(*args: Any, **kwargs: Any) -> str:
        if path is None:
            raise Exception("URL fetch failure on https://storage: None")
        return str(path)

    monkeypatch.setattr(module.file_utils, "get_file", get_file)


def test_imagenet_weights_are_kerass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params, stats = _saved("VGG16", 32, tmp_path / "vgg.weights.h5")
    _offer(monkeypatch, "VGG16", tmp_path / "vgg.weights.h5")
    found = imagenet_weights("VGG16", 32)
    assert_trees_equal(found[0], params)
    assert found[1] == {}
    assert stats == {"backbone": {}}


@pytest.mark.slow
def test_imagenet_weights_of_efficientnet_do_as_in_keras(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With them, and only then, Keras rescales after its normalisation."""
    _saved("EfficientNetB0", 32, tmp_path / "efficient.weights.h5")
    _offer(monkeypatch, "EfficientNetB0", tmp_path / "efficient.weights.h5")
    params, stats = imagenet_weights("EfficientNetB0", 32)
    model = _filled("EfficientNetB0", 32)
    model.eval()
    for part in (params, stats):
        nnx.update(model.backbone, nnx.State(part["backbone"]))
    graph = build_graph("EfficientNetB0", 32, "float32")
    images = _images(32)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        reference = keras.applications.EfficientNetB0(
            include_top=False, weights="imagenet", pooling="avg", input_shape=(32, 32, 3)
        )
        wanted = reference.predict(images, verbose=0)
    assert sum(isinstance(layer, keras.layers.Rescaling) for layer in reference.layers) == 2

    @nnx.jit
    def features(model: Any, images: jax.Array) -> jax.Array:
        def at(path: tuple[str, ...]) -> Any:
            found = model.backbone
            for part in path:
                found = found[part]
            return found

        values = {path: at(path)[...] for path in (*graph.weights, *graph.constants)}
        norms = {path: at(path) for path in graph.norms}
        return run_graph(graph, images, values, norms, training=False, rngs=None)

    found = features(model, jnp.asarray(images))
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4 * np.max(np.abs(wanted)))


def test_imagenet_weights_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    _offer(monkeypatch, "VGG16", None)
    with pytest.raises(UserError, match=r"keras:VGG16: .*URL fetch failure.*--init PATH"):
        imagenet_weights("VGG16", 32)
