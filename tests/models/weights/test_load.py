"""Fitting: round trips in PyTorch's names, what does not fit, the classifier and its direction."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.weights import (
    KerasLayers,
    Net,
    flat,
    make_net,
    meso4_layers,
    random_images,
    write_keras,
    write_torch,
)

from dfbench.errors import UserError
from dfbench.models.meso4 import Meso4
from dfbench.models.resnet import ResNet
from dfbench.models.weights.head import fit_head
from dfbench.models.weights.layouts import find_layout
from dfbench.models.weights.load import Loaded, load_weights
from dfbench.models.weights.source import Layer, Weights

LEAVES = {"scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}


def _xception_names() -> Iterator[tuple[str, str]]:
    """Yield our path and the name in Cadene's network, by making its lists of modules."""
    yield from (("conv1", "conv1"), ("norm1", "bn1"), ("conv2", "conv2"), ("norm2", "bn2"))
    for block in range(12):
        ours, convs = f"blocks.{block}", 2 if block in (0, 1, 2, 11) else 3
        modules: list[str] = []
        for conv in range(convs):
            modules += ["relu", f"{ours}.convs.{conv}", f"{ours}.convs.{conv}.norm"]
        for place, path in enumerate(modules[1:] if block == 0 else modules):
            name = f"block{block + 1}.rep.{place}"
            if path.endswith("norm"):
                yield path, name
            elif path != "relu":
                yield f"{path}.depthwise", f"{name}.conv1"
                yield f"{path}.pointwise", f"{name}.pointwise"
        if convs == 2:
            yield f"{ours}.skip", f"block{block + 1}.skip"
            yield f"{ours}.skip_norm", f"block{block + 1}.skipbn"
    for ours, number in (("exit1", 3), ("exit2", 4)):
        yield f"{ours}.depthwise", f"conv{number}.conv1"
        yield f"{ours}.pointwise", f"conv{number}.pointwise"
        yield f"{ours}.norm", f"bn{number}"
    yield "head.output", "fc"


def _resnet_names(depths: tuple[int, ...], convs: int) -> Iterator[tuple[str, str]]:
    yield from (("conv1", "conv1"), ("norm1", "bn1"), ("head.output", "fc"))
    for stage, depth in enumerate(depths):
        for unit in range(depth):
            ours, name = f"stages.{stage}.{unit}", f"layer{stage + 1}.{unit}"
            for conv in range(convs):
                yield f"{ours}.convs.{conv}", f"{name}.conv{conv + 1}"
                yield f"{ours}.norms.{conv}", f"{name}.bn{conv + 1}"
            if unit == 0 and (stage or convs == 3):
                yield f"{ours}.skip", f"{name}.downsample.0"
                yield f"{ours}.skip_norm", f"{name}.downsample.1"


def _state_dict(net: Net, names: dict[str, str]) -> dict[str, np.ndarray]:
    """Return our weights as a PyTorch network holds them."""
    found: dict[str, np.ndarray] = {}
    for path, array in flat(net.params, net.batch_stats).items():
        layer, _, leaf = path.rpartition(".")
        if leaf == "kernel":
            axes = (3, 2, 0, 1) if array.ndim == 4 else (1, 0)
            found[f"{names[layer]}.weight"] = array.transpose(axes)
        elif leaf == "seen":
            found[f"{names[layer]}.num_batches_tracked"] = np.asarray(7)
        else:
            found[f"{names[layer]}.{LEAVES[leaf]}"] = array
    return found


NETWORKS = {
    "xception": dict(_xception_names()),
    "resnet18": dict(_resnet_names((2, 2, 2, 2), 2)),
    "resnet34": dict(_resnet_names((3, 4, 6, 3), 2)),
    "resnet50v1_5": dict(_resnet_names((3, 4, 6, 3), 3)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_state_dict_of_our_weights_gives_them_back(tmp_path: Path, name: str) -> None:
    net, other = make_net(name), make_net(name, seed=1)
    arrays = {f"module.{k}": v for k, v in _state_dict(net, NETWORKS[name]).items()}
    path = write_torch(tmp_path / "w.safetensors", arrays)
    loaded = load_weights(name, path, other.params, other.batch_stats)
    expected = flat(net.params, net.batch_stats)
    found = flat(loaded.params, loaded.batch_stats)
    assert found.keys() == expected.keys()
    for key, array in found.items():
        wanted = np.float32(1) if key.endswith(".seen") else expected[key]
        np.testing.assert_array_equal(array, wanted, err_msg=key, strict=True)
    assert "P(fake)" in loaded.notes[0] or "(real, fake)" in loaded.notes[0]


def test_pointwise_kernels_of_two_dimensions(tmp_path: Path) -> None:
    """So they are in Cadene's own file; and FaceForensics++ has its linear layer in a list."""
    net, other = make_net("xception"), make_net("xception", seed=1)
    arrays = _state_dict(net, NETWORKS["xception"])
    for name in list(arrays):
        if name.endswith("pointwise.weight"):
            arrays[name] = arrays[name][:, :, 0, 0]
        if name.startswith("fc."):
            arrays[name.replace("fc.", "last_linear.1.")] = arrays.pop(name)
    path = write_torch(tmp_path / "w.safetensors", {f"model.{k}": v for k, v in arrays.items()})
    loaded = load_weights("xception", path, other.params, other.batch_stats)
    found, expected = flat(loaded.params), flat(net.params)
    for name in ("blocks.4.convs.1.pointwise.kernel", "head.output.kernel"):
        np.testing.assert_array_equal(found[name], expected[name])


SIDE = 64


def _small_meso4(config: Any, rngs: Any) -> Any:
    return Meso4(config, input_size=SIDE, rngs=rngs)


@pytest.fixture(scope="module")
def net() -> Net:
    return make_net("meso4", build=_small_meso4)


def _load(path: Path, net: Net, **settings: Any) -> Loaded:
    return load_weights("meso4", path, net.params, net.batch_stats, **settings)


def _logits(net: Net, loaded: Loaded) -> np.ndarray:
    images = random_images(SIDE, count=4)
    return replace(net, params=loaded.params, batch_stats=loaded.batch_stats).logits(images)


def test_mesonet_files_score_reals_unless_said_otherwise(tmp_path: Path, net: Net) -> None:
    path = write_keras(tmp_path / "w.h5", meso4_layers(net))
    other = make_net("meso4", seed=1, build=_small_meso4)
    expected = net.logits(random_images(SIDE, count=4))
    assert np.ptp(expected) > 1e-3
    for label, sign in (("fake", 1), ("real", -1), (None, -1)):
        loaded = _load(path, other, label=label)
        np.testing.assert_allclose(_logits(other, loaded), sign * expected, rtol=1e-5)
        said = "P(fake)" if sign > 0 else "P(real), turned round"
        assert loaded.notes == (f"its output is taken for {said}",)


@pytest.mark.parametrize("label", ["fake", "real"])
@pytest.mark.parametrize("theirs", [1, 2])
@pytest.mark.parametrize("ours", [1, 2])
def test_direction_of_outputs(label: Any, theirs: int, ours: int) -> None:
    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(size=(5, theirs)), rng.normal(size=theirs)
    x = rng.normal(size=(3, 5))
    outputs = x @ kernel + bias
    logit = outputs[:, 0] if theirs == 1 else outputs[:, 1] - outputs[:, 0]
    expected = logit if label == "fake" else -logit
    layer = Layer("fc", "dense", {"kernel": kernel, "bias": bias})
    shapes = {"head.output": {"kernel": (5, ours), "bias": (ours,)}}
    found, note = fit_head([layer], shapes, label=label, replaced=False, path=Path("w"))
    outputs = x @ found["head.output.kernel"] + found["head.output.bias"]
    logit = outputs[:, 0] if ours == 1 else outputs[:, 1] - outputs[:, 0]
    np.testing.assert_allclose(logit, expected)
    said = {1: f"P({label})", 2: "(real, fake)" if label == "fake" else "(fake, real)"}
    assert said[theirs] in note


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda layers: layers[:-2], "no classifier in the file"),
        (lambda layers: [*layers[:-1], ("top", {"kernel": np.ones((16, 1000))})], "1000 classes"),
    ],
)
def test_a_foreign_classifier_stays_out(
    tmp_path: Path, net: Net, change: Any, message: str
) -> None:
    path = write_keras(tmp_path / "w.h5", change(meso4_layers(net)))
    other = make_net("meso4", seed=1, build=_small_meso4)
    loaded = _load(path, other)
    assert message in loaded.notes[0]
    assert "the head is new" in loaded.notes[0]
    found = flat(loaded.params)
    for key, array in flat(other.params).items():
        same = np.array_equal(found[key], array)
        assert same == key.startswith("head."), key


def test_a_head_by_settings_stays_new(tmp_path: Path, net: Net) -> None:
    path = write_keras(tmp_path / "w.h5", meso4_layers(net))
    other = make_net("meso4", seed=1, build=_small_meso4, head=(12, 4))
    loaded = _load(path, other, new_head=True)
    assert "the head is new, as the settings ask" in loaded.notes[0]
    np.testing.assert_array_equal(
        flat(loaded.params)["head.hidden.1.kernel"], flat(other.params)["head.hidden.1.kernel"]
    )
    np.testing.assert_array_equal(
        flat(loaded.params)["convs.0.kernel"], flat(net.params)["convs.0.kernel"]
    )


def _without(layers: KerasLayers, number: int) -> KerasLayers:
    return layers[:number] + layers[number + 1 :]


def _with(layers: KerasLayers, number: int, **arrays: np.ndarray | None) -> KerasLayers:
    name, old = layers[number]
    new = {leaf: array for leaf, array in {**old, **arrays}.items() if array is not None}
    return [*layers[:number], (name, new), *layers[number + 1 :]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda k: _without(k, 4), r"3 convolutions where 'meso4' has 4: nothing is left for conv"),
        (lambda k: _without(k, 7), "3 batch norms where 'meso4' has 4"),
        (
            lambda k: [*k, ("extra", {"kernel": np.ones((1, 1, 2, 2))})],
            r"5 convolutions where 'meso4' has 4: the first left over is 'extra' \(kernel \(1, 1,",
        ),
        (
            lambda k: _with(k, 2, kernel=np.ones((3, 3, 8, 8))),
            r"'conv2d_10' has a kernel of shape \(3, 3, 8, 8\), but convs\.1 .* \(5, 5, 8, 8\)",
        ),
        (lambda k: _with(k, 2, bias=None), r"'conv2d_10' has no bias, which convs\.1"),
        (
            lambda k: _with(k, 8, kernel=np.ones((100, 16))),
            r"kernel of 'dense_7' has shape \(100, 16\), but head\.hidden\.0 has \(64, 16\)",
        ),
        (lambda k: _without(k, 8), r"1 dense layers \(dense_8\) where the head has 2"),
    ],
)
def test_what_does_not_fit_keras(tmp_path: Path, net: Net, change: Any, message: str) -> None:
    path = write_keras(tmp_path / "w.h5", change(meso4_layers(net)))
    with pytest.raises(UserError, match=message) as caught:
        _load(path, net)
    assert str(caught.value).startswith(f"{path}: ")


def _renamed(arrays: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    return {name.replace(old, new): array for name, array in arrays.items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda d: {k: v for k, v in d.items() if "layer3.1.conv2" not in k},
            r"no layer 'layer3\.1\.conv2' for stages\.2\.1\.convs\.1 of 'resnet18'",
        ),
        (lambda d: _renamed(d, "conv", "convolution"), "no layer 'conv1' for conv1"),
        (
            lambda d: {**d, "adjust.weight": np.ones((7, 5, 1, 1))},
            r"the layer 'adjust' \(kernel \(1, 1, 5, 7\)\) has no place in 'resnet18'",
        ),
        (
            lambda d: {**d, "layer1.0.conv1.weight": np.ones((64, 32, 3, 3))},
            r"'layer1\.0\.conv1' .* \(3, 3, 32, 64\), but stages\.0\.0\.convs\.0 .* \(3, 3, 64, 64",
        ),
        (
            lambda d: {**d, "conv1.bias": np.ones(64)},
            r"'conv1' has a bias, which conv1 of the model has not",
        ),
    ],
)
def test_what_does_not_fit_torch(tmp_path: Path, change: Any, message: str) -> None:
    net = make_net("resnet18")
    path = write_torch(tmp_path / "w.safetensors", change(_state_dict(net, NETWORKS["resnet18"])))
    with pytest.raises(UserError, match=message) as caught:
        load_weights("resnet18", path, net.params, net.batch_stats)
    assert str(caught.value).startswith(f"{path}: ")


def test_the_two_resnet50_are_told_apart(tmp_path: Path) -> None:
    torch = write_torch(tmp_path / "w.safetensors", {"fc.weight": np.ones((2, 3))})
    with pytest.raises(UserError, match="3x3 convolution: that is the model 'resnet50v1_5'"):
        load_weights("resnet50", torch, {}, {})
    keras = write_keras(tmp_path / "w.h5", [("dense", {"kernel": np.ones((3, 2))})])
    with pytest.raises(UserError, match=r"first 1x1 convolution: .* 'resnet50', not"):
        load_weights("resnet50v1_5", keras, {}, {})
    with pytest.raises(UserError, match=r"'meso4' takes files with Keras' layers \(\.h5\) only"):
        load_weights("meso4", torch, {}, {})
    with pytest.raises(UserError, match=rf"{re.escape(str(keras))}.*'mine' can take no files"):
        load_weights("mine", keras, {}, {})


def _keras_layers(name: str, net: Net, biases: dict[str, np.ndarray]) -> KerasLayers:
    """Return our arrays by the layout of `keras.applications`, the convolutions with biases."""
    arrays = flat(net.params, net.batch_stats)
    paths = {path.rpartition(".")[0] for path in arrays if not path.startswith("head.")}
    layout = find_layout(name, Weights(Path("w.h5"), "keras", ()), paths)
    layers: dict[str, dict[str, np.ndarray]] = {}
    for number, entry in enumerate(layout.entries):
        layer, _, part = (entry.theirs or f"layer_{number}").partition("/")
        if f"{entry.ours}.scale" in arrays:
            found = {
                leaf: arrays[f"{entry.ours}.{leaf}"] for leaf in ("scale", "bias", "mean", "var")
            }
        else:
            kernel = arrays[f"{entry.ours}.kernel"]
            kernel = kernel.transpose(0, 1, 3, 2) if part == "depthwise" else kernel
            bias = {"bias": biases[entry.ours]} if entry.ours in biases else {}
            found = {f"{part}kernel": kernel, **bias}
        layers.setdefault(layer, {}).update(found)
    return list(layers.items())


@pytest.mark.parametrize("prefix", ["", "other_"])
def test_keras_xception_by_name_and_by_order(tmp_path: Path, prefix: str) -> None:
    """With the variance of an epsilon of 1e-3, as Keras has it, for one of 1e-5."""
    net, other = make_net("xception"), make_net("xception", seed=1)
    layers = [(prefix + name, arrays) for name, arrays in _keras_layers("xception", net, {})]
    path = write_keras(tmp_path / "w.h5", layers)
    loaded = load_weights("xception", path, other.params, other.batch_stats)
    assert "no classifier" in loaded.notes[0]
    expected = flat(net.params, net.batch_stats)
    for key, array in flat(loaded.params, loaded.batch_stats).items():
        if key.endswith(".var"):
            np.testing.assert_allclose(array + 1e-5, expected[key] + 1e-3, rtol=1e-6)
        elif not key.startswith("head.") and not key.endswith(".seen"):
            np.testing.assert_array_equal(array, expected[key], err_msg=key)


def test_biases_before_batch_norm_and_colours_in_reverse(tmp_path: Path) -> None:
    def build(config: Any, rngs: Any) -> ResNet:
        form = {"unit": "bottleneck", "depths": (1, 2), "widths": (8, 16), "epsilon": 1.001e-5}
        return ResNet(config, **form, rngs=rngs)

    net = make_net("resnet50", build=build)
    arrays, rng = flat(net.params, net.batch_stats), np.random.default_rng(2)
    biases = {
        path.removesuffix(".kernel"): rng.normal(size=array.shape[-1]).astype(np.float32)
        for path, array in arrays.items()
        if path.endswith(".kernel")
    }
    path = write_keras(tmp_path / "w.h5", _keras_layers("resnet50", net, biases))
    loaded = load_weights("resnet50", path, net.params, net.batch_stats)
    found = flat(loaded.params, loaded.batch_stats)
    for conv, norm in (
        ("conv1", "norm1"),
        ("stages.0.0.skip", "stages.0.0.skip_norm"),
        ("stages.1.1.convs.2", "stages.1.1.norms.2"),
    ):
        expected = arrays[f"{norm}.mean"] - biases[conv]
        np.testing.assert_array_equal(found[f"{norm}.mean"], expected)
    red, blue = found["conv1.kernel"][:, :, 0], found["conv1.kernel"][:, :, 2]
    np.testing.assert_allclose(red, arrays["conv1.kernel"][:, :, 2] * 255 * 0.229, rtol=1e-6)
    np.testing.assert_allclose(blue, arrays["conv1.kernel"][:, :, 0] * 255 * 0.225, rtol=1e-6)
    assert "blue, green, red" in loaded.notes[0]
