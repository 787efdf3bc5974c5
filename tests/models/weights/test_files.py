"""Opening files of weights, and refusing the wrong ones."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import h5py
import jax.numpy as jnp
import numpy as np
import pytest
from support.weights import write_keras, write_torch

from dfbench.errors import UserError
from dfbench.models.weights.files import read_weights

CONV = np.arange(2 * 3 * 3 * 4, dtype=np.float32).reshape(3, 3, 2, 4)  # height, width, in, out
VECTOR = np.arange(4, dtype=np.float32)


def test_layers_of_keras_2_in_their_order(tmp_path: Path) -> None:
    norm = {
        "gamma": VECTOR,
        "beta": VECTOR + 1,
        "moving_mean": VECTOR + 2,
        "moving_var": VECTOR + 3,
    }
    separable = {
        "depthwise_kernel": np.ones((3, 3, 4, 1)),
        "pointwise_kernel": np.ones((1, 1, 4, 5)),
    }
    path = write_keras(
        tmp_path / "w.h5",
        [
            ("z_conv", {"kernel": CONV, "bias": VECTOR}),
            ("pool", {}),
            ("a_norm", norm),
            ("separable", separable),
            ("dense", {"kernel": np.ones((5, 2))}),
        ],
    )
    found = read_weights(path)
    assert found.origin == "keras"
    assert [(layer.name, layer.kind) for layer in found.layers] == [
        ("z_conv", "conv"),
        ("a_norm", "norm"),
        ("separable/depthwise", "conv"),
        ("separable/pointwise", "conv"),
        ("dense", "dense"),
    ]
    conv, normal, depthwise, _, dense = found.layers
    np.testing.assert_array_equal(conv.arrays["kernel"], CONV)
    np.testing.assert_array_equal(normal.arrays["scale"], VECTOR)
    np.testing.assert_array_equal(normal.arrays["var"], VECTOR + 3)
    assert depthwise.arrays["kernel"].shape == (3, 3, 1, 4)
    assert set(dense.arrays) == {"kernel"}
    assert all(a.dtype == np.float32 for layer in found.layers for a in layer.arrays.values())


def test_names_that_keras_split_over_attributes(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "w.h5", "w") as file:
        root = file.create_group("model_weights")
        root.attrs["layer_names0"], root.attrs["layer_names1"] = [b"one"], [b"two"]
        for name in ("one", "two"):
            group = root.create_group(name)
            group.attrs["weight_names0"] = [b"kernel"]
            group["kernel"] = CONV
    assert [layer.name for layer in read_weights(tmp_path / "w.h5").layers] == ["one", "two"]


def test_state_dict_of_torch(tmp_path: Path) -> None:
    half = np.asarray(jnp.asarray([[1.5, -2, 0.25]], jnp.bfloat16))
    path = write_torch(
        tmp_path / "w.safetensors",
        {
            "module.backbone.layer10.weight": CONV.transpose(3, 2, 0, 1).astype(np.float16),
            "module.backbone.layer2.weight": VECTOR,
            "module.backbone.layer2.bias": VECTOR,
            "module.backbone.layer2.running_mean": VECTOR + 2,
            "module.backbone.layer2.running_var": VECTOR,
            "module.backbone.layer2.num_batches_tracked": np.asarray(7),
            "fc.weight": half,
        },
    )
    found = read_weights(path)
    assert found.origin == "torch"
    dense, norm, conv = found.layers
    assert (dense.name, norm.name, conv.name) == ("fc", "layer2", "layer10")
    np.testing.assert_array_equal(conv.arrays["kernel"], CONV)
    np.testing.assert_array_equal(norm.arrays["mean"], VECTOR + 2)
    np.testing.assert_array_equal(dense.arrays["kernel"], [[1.5], [-2], [0.25]])
    assert dense.arrays["kernel"].dtype == np.float32


def test_the_content_tells_the_format(tmp_path: Path) -> None:
    path = write_torch(tmp_path / "model.bin", {"fc.weight": np.ones((2, 3))})
    with pytest.raises(UserError, match="pickles can run any code"):
        read_weights(path)  # a name that mostly means a pickle
    path = path.rename(tmp_path / "model.weights")
    assert read_weights(path).origin == "torch"
    path = write_keras(tmp_path / "model.h5", [("dense", {"kernel": np.ones((3, 2))})])
    assert read_weights(path.rename(tmp_path / "model.hdf5.bak")).origin == "keras"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.h5", b"<html>sign in</html>", r"text\.h5: not HDF5"),
        ("text.txt", b"hello", "neither HDF5 .* nor safetensors"),
        ("empty.h5", b"", "the file is empty"),
        ("text.safetensors", b"hello hello hello", "a broken safetensors file"),
        ("model.keras", b"PK\x03\x04....", "unzip"),
        ("model.h5", b"\x89HDF\r\n\x1a\n", "a broken HDF5 file"),
        ("unnamed", b"\x80\x02}q\x00.", "pickles can run any code"),
    ],
)
def test_wrong_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read_weights(tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_missing_and_truncated_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.h5: no such weights file"):
        read_weights(tmp_path / "gone.h5")
    with pytest.raises(UserError, match="a folder, not a weights file"):
        read_weights(tmp_path)
    for path, message in (
        (write_keras(tmp_path / "cut.h5", [("conv", {"kernel": CONV})]), "a broken HDF5 file"),
        (write_torch(tmp_path / "cut.safetensors", {"fc.weight": CONV[0, 0]}), "not fully covered"),
    ):
        path.write_bytes(path.read_bytes()[:-3])
        with pytest.raises(UserError, match=rf"{re.escape(str(path))}.*{message}"):
            read_weights(path)


def test_files_that_hold_no_layers_we_know(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["x"] = VECTOR
    with pytest.raises(UserError, match="without layers of a Keras model"):
        read_weights(tmp_path / "data.h5")
    inner = {"a/kernel": CONV, "b/kernel": CONV, "c/kernel": CONV}
    path = write_keras(tmp_path / "nested.h5", [("xception", inner)])
    with pytest.raises(UserError, match=r"'xception' with arrays .* \(3, 3, 2, 4\), .*inner"):
        read_weights(path)
    path = write_torch(tmp_path / "vit.safetensors", {"blocks.0.gamma": VECTOR})
    with pytest.raises(UserError, match=r"'blocks.0' with gamma \(4,\) is neither"):
        read_weights(path)
    path = write_torch(
        tmp_path / "two.safetensors", {"model.fc.weight": CONV[0, 0], "fc.weight": CONV[0, 0]}
    )
    with pytest.raises(UserError, match=r"two networks in one file have 'fc\.weight'"):
        read_weights(path)


class Trap:
    """Unpickling this writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("suffix", ["pth", "pt", "pkl", "ckpt", "bin"])
def test_pickles_are_never_opened(tmp_path: Path, suffix: str) -> None:
    import pickle

    path = tmp_path / f"w.{suffix}"
    path.write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(UserError, match=f"w.{suffix}: pickles can run any code") as caught:
        read_weights(path)
    assert "weights_only=True" in str(caught.value)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.slow
def test_the_command_in_the_refusal_converts(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "a file's.pth"
    shared = torch.arange(6.0).reshape(2, 3)
    torch.save({"state_dict": {"fc.weight": shared, "fc2.weight": shared}}, path)
    with pytest.raises(UserError) as caught:
        read_weights(path)
    command = shlex.split(str(caught.value).split("installed: ", 1)[1])
    assert command[:2] == ["python", "-c"]
    subprocess.run([sys.executable, *command[1:]], check=True, timeout=120)
    found = read_weights(tmp_path / "a file's.safetensors")
    np.testing.assert_array_equal(found.layers[0].arrays["kernel"], shared.numpy().T)
