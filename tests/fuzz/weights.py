"""Targets that hold arrays: weights of Keras and PyTorch, and the project's own .npz files."""

from __future__ import annotations

import functools
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from fuzz.damage import NASTY, damaged
from fuzz.target import Target, read
from hypothesis import strategies as st
from safetensors.numpy import save

from dfbench.data.npz import read_npz
from dfbench.models.weights.files import read_weights

File = tuple[str, bytes]  # how its name ends, and its content
MOST = 256  # bytes in memory for a byte of a file


def _arrays() -> dict[str, list[tuple[str, np.ndarray]]]:
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    return {
        "conv2d": [("kernel", draw(3, 3, 3, 4)), ("bias", draw(4))],
        "batch_normalization": [(n, draw(4)) for n in ("gamma", "beta", "mean", "variance")],
        "dense": [("kernel", draw(8, 1)), ("bias", draw(1))],
    }


@functools.cache
def keras_2() -> bytes:
    """Return layers as Keras 1 and 2 wrote them."""
    file = io.BytesIO()
    with h5py.File(file, "w") as root:
        root.attrs["layer_names"] = [name.encode() for name in _arrays()]
        for name, arrays in _arrays().items():
            group = root.create_group(name)
            group.attrs["weight_names"] = [f"{name}/{leaf}:0".encode() for leaf, _ in arrays]
            for leaf, array in arrays:
                group[f"{name}/{leaf}:0"] = array
    return file.getvalue()


@functools.cache
def keras_3(compression: str | None = None) -> bytes:
    """Return layers as Keras 3 writes them."""
    file = io.BytesIO()
    with h5py.File(file, "w") as root:
        for name, arrays in _arrays().items():
            held = root.create_group(f"layers/{name}/vars")
            held.attrs["name"] = name
            for number, (_, array) in enumerate(arrays):
                held.create_dataset(str(number), data=array, compression=compression)
    return file.getvalue()


@functools.cache
def torch_state() -> bytes:
    """Return a state dict as safetensors."""
    return save(
        {
            "conv.weight": np.ones((4, 3, 3, 3), np.float32),
            "bn.weight": np.ones(4, np.float16),
            **{f"bn.{n}": np.ones(4, np.float32) for n in ("bias", "running_mean", "running_var")},
            "bn.num_batches_tracked": np.array(1, np.int64),
            "fc.weight": np.ones((1, 4), np.float64),
        }
    )


@functools.cache
def torch_zip() -> bytes:
    """Return an archive as torch.save writes it, with a pickle that must never be run."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps({"weight": [1.0]}))
        archive.writestr("model/data/0", b"\0" * 16)
    return file.getvalue()


def _named(suffix: str, *originals: bytes) -> st.SearchStrategy[File]:
    return damaged(originals).map(lambda data: (suffix, data))


@st.composite
def _built(draw: st.DrawFn) -> File:
    """Draw an HDF5 file that is sound, but not what Keras writes."""
    file = io.BytesIO()
    with h5py.File(file, "w") as root:
        held = root.create_group("layers")
        for name in draw(st.lists(st.sampled_from((*NASTY, "a", "a_2")), min_size=1, max_size=3)):
            kind = draw(st.sampled_from(sorted(_ODD)))
            try:
                group = held.create_group(f"{name}/vars")
                _ODD[kind](group)
            except (ValueError, TypeError, UnicodeError):
                continue  # HDF5 has no such name
        if draw(st.booleans()):
            root.attrs["layer_names"] = draw(st.sampled_from((["a"], [b"\xff"], [1.5], "a", 3)))
    return ".h5", file.getvalue()


def _shape(shape: tuple[int, ...]) -> Any:
    return lambda group: group.create_dataset("0", shape, np.float32, chunks=None)


_ODD: dict[str, Any] = {
    "never stored": _shape((10**6, 10**6)),
    "more numbers than there are": _shape((2**30, 2**30)),
    "chunks never stored": lambda g: g.create_dataset("0", (10**6, 10**6), "f4", chunks=(9, 9)),
    "grows": lambda g: g.create_dataset("0", (10**9,), "f4", maxshape=(None,), chunks=(64,)),
    "zeros, packed": lambda g: g.create_dataset("0", data=np.zeros(10**6), compression="gzip"),
    "link to a file": lambda g: g.__setitem__("0", h5py.ExternalLink("/etc/passwd", "/x")),
    "link to nothing": lambda g: g.__setitem__("0", h5py.SoftLink("/nowhere")),
    "link to itself": lambda g: g.__setitem__("0", h5py.SoftLink(f"{g.name}/0")),
    "text": lambda g: g.__setitem__("0", ["a", "b"]),
    "complex": lambda g: g.__setitem__("0", np.ones(3, complex)),
    "records": lambda g: g.__setitem__("0", np.zeros(3, [("a", "f4"), ("b", "S3")])),
    "booleans": lambda g: g.__setitem__("0", np.ones((2, 2), bool)),
    "no number": lambda g: g.__setitem__("x", np.ones(3, np.float32)),
    "superscript": lambda g: g.__setitem__("²", np.ones(3, np.float32)),
    "long number": lambda g: g.__setitem__("9" * 5000, np.ones(3, np.float32)),
    "groups": lambda g: g.create_group("0/0/0"),
    "nothing": lambda g: g.create_dataset("0", data=h5py.Empty("f4")),
    "scalar": lambda g: g.__setitem__("0", np.float32(1)),
    "five axes": lambda g: g.__setitem__("0", np.ones((1, 1, 1, 1, 1), np.float32)),
    "sound": lambda g: [g.__setitem__(str(n), np.ones(4, np.float32)) for n in range(4)],
    "name is no text": lambda g: g.attrs.__setitem__("name", b"\xff\xfe"),
}
WEIGHTS = st.one_of(
    st.deferred(lambda: _named(".h5", keras_2(), keras_3(), keras_3("gzip"))),
    st.deferred(lambda: _named(".safetensors", torch_state())),
    st.deferred(lambda: _named(".pt", torch_zip(), torch_state())),
    st.deferred(lambda: _named(".bin2", torch_zip(), torch_state(), keras_2())),
    _built(),
)


def check_weights(file: File, folder: Path) -> None:
    path = folder / f"weights{file[0]}"
    path.write_bytes(file[1])
    found = read(read_weights, path)
    if found is None:
        return
    arrays = [array for layer in found.layers for array in layer.arrays.values()]
    assert arrays
    assert all(array.dtype == np.float32 for array in arrays)
    assert sum(array.nbytes for array in arrays) <= MOST * len(file[1])


@functools.cache
def npz() -> list[bytes]:
    """Return arrays as NumPy writes them, and one file with an object in it."""
    found = []
    held = {"values": np.ones((4, 3), np.float32), "counts": np.arange(4)}
    for one in (held, {**held, "values": np.array([{}, 1], dtype=object)}):
        file = io.BytesIO()
        np.savez(file, **one)
        found.append(file.getvalue())
    return found


def check_npz(data: bytes, folder: Path) -> None:
    path = folder / "a.npz"
    path.write_bytes(data)
    found = read_npz(path, ("values", "counts"))
    if found is None:
        return
    assert set(found) == {"values", "counts"}
    assert not any(array.dtype.hasobject for array in found.values())
    assert sum(array.nbytes for array in found.values()) <= len(data)


TARGETS = (
    Target(name="weights: HDF5, safetensors, zip", inputs=WEIGHTS, check=check_weights, share=0.8),
    Target(name="npz", inputs=st.deferred(lambda: damaged(npz())), check=check_npz, share=0.8),
)
