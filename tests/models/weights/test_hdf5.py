"""Weight files of strangers: looked through before anything in them is read."""

from __future__ import annotations

import io
import json
import resource
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from dfbench.errors import UserError
from dfbench.models.weights import hdf5
from dfbench.models.weights.files import read_weights

SOUND = np.ones((3, 3, 2, 4), np.float32)
GIB = 2**30


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Let whoever takes memory by a claim fail."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + GIB, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def write(path: Path, fill: Callable[[h5py.Group], Any]) -> Path:
    """Write a file of Keras 3 with one sound layer and what `fill` puts into another."""
    with h5py.File(path, "w") as file:
        file["layers/conv2d/vars/0"] = SOUND
        fill(file.create_group("layers/dense/vars"))
    return path


def _virtual(group: h5py.Group) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("secret.h5", "numbers", (4,))
    group.create_virtual_dataset("0", layout)


def _external(group: h5py.Group) -> None:
    group.create_dataset("0", (4,), "f4", external=[("secret.bin", 0, 16)])


BAD: dict[str, tuple[Callable[[h5py.Group], Any], str]] = {
    "a claim of 10^12 numbers": (
        lambda group: group.create_dataset("0", (10**6, 10**6), "f4"),
        r"'layers/dense/vars/0' claims 4,000,000,000,000 bytes, of which 0 are stored",
    ),
    "a claim whose product overflows": (
        lambda group: group.create_dataset("0", (2**40, 2**30), "f4"),
        "claims 4,722,366,482,869,645,213,696 bytes",
    ),
    "a claim in chunks": (
        lambda group: group.create_dataset("0", (10**6, 10**6), "f4", chunks=(10, 10)),
        "of which 0 are stored",
    ),
    "a packed bomb": (
        lambda group: group.create_dataset(
            "0", data=np.zeros(10**7, np.float32), compression="gzip", compression_opts=9
        ),
        "claims 40,000,000 bytes",
    ),
    "a large chunk": (
        lambda group: group.create_dataset(
            "0", data=np.ones(9), maxshape=(None,), chunks=(2**18,), compression="gzip"
        ),
        "claims more bytes",
    ),
    "numbers of another file": (_virtual, "lie in other files, which are not read"),
    "bytes of another file": (_external, "lie in other files, which are not read"),
    "a link to another file": (
        lambda group: group.__setitem__("0", h5py.ExternalLink("secret.h5", "/numbers")),
        "'layers/dense/vars/0' is a link, which is not followed",
    ),
    "a link": (lambda group: group.__setitem__("0", h5py.SoftLink("/layers")), "is a link"),
    "text": (lambda group: group.__setitem__("0", ["a"]), "holds no array of numbers"),
    "objects": (
        lambda group: group.__setitem__("0", np.zeros(2, [("a", "f4")])),
        "holds no array of numbers",
    ),
    "NaN": (
        lambda group: group.__setitem__("0", np.full((2, 1), np.nan, np.float32)),
        "holds NaN, or numbers too large",
    ),
    "numbers too large": (
        lambda group: group.__setitem__("0", np.full((2, 1), 1e300)),
        "holds NaN, or numbers too large",
    ),
    "a name that is no number": (lambda group: group.__setitem__("²", SOUND), "broken HDF5 file"),
}


@pytest.mark.parametrize("kind", sorted(BAD))
def test_a_bad_file_is_refused_before_it_is_read(
    tmp_path: Path, little_memory: None, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hdf5, "MOST_CHUNK", 2**20)
    with h5py.File("secret.h5", "w") as file:
        file["numbers"] = np.ones(4, np.float32)
    (tmp_path / "secret.bin").write_bytes(b"\0" * 16)
    fill, message = BAD[kind]
    path = write(tmp_path / "weights.h5", fill)
    with pytest.raises(UserError, match=r"weights\.h5: ") as raised:
        read_weights(path)
    assert raised.match(message)


@pytest.mark.parametrize(
    "kind", ["a link to another file", "a packed bomb", "numbers of another file"]
)
@pytest.mark.parametrize("archived", [False, True])
def test_what_keras_reads_is_looked_through_before(
    tmp_path: Path, kind: str, archived: bool
) -> None:
    fill, message = BAD[kind]
    path = write(tmp_path / "model.weights.h5", fill)
    if archived:
        with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
            archive.write(path, hdf5.ARCHIVED)
        path = tmp_path / "model.keras"
    with pytest.raises(UserError, match=message):
        hdf5.require_sound(path)
    hdf5.require_sound(write(tmp_path / "sound.h5", lambda group: group.__setitem__("0", SOUND)))


def test_an_archive_that_unpacks_to_much_more_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(hdf5.ARCHIVED, b"\0" * 10**7)
    with pytest.raises(UserError, match=r"would unpack to 10,000,000 bytes"):
        hdf5.require_sound(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "empty.keras", "w"):
        pass
    with pytest.raises(UserError, match=r"empty\.keras: a broken file"):
        hdf5.require_sound(tmp_path / "empty.keras")


def test_groups_that_lie_in_themselves_end(tmp_path: Path) -> None:
    def fill(group: h5py.Group) -> None:
        group["0"] = np.ones((4, 1), np.float32)
        group.file["layers/dense/again"] = group.file["layers"]  # a hard link

    found = read_weights(write(tmp_path / "w.h5", fill))
    assert [layer.kind for layer in found.layers] == ["conv", "dense"]


def test_packed_weights_are_read(tmp_path: Path) -> None:
    packed = np.random.default_rng(0).normal(size=(64, 1)).astype(np.float32)

    def fill(group: h5py.Group) -> None:
        group.create_dataset("0", data=packed, compression="gzip", chunks=(16, 1))

    found = read_weights(write(tmp_path / "w.h5", fill))
    np.testing.assert_array_equal(found.layers[-1].arrays["kernel"], packed)


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 4 * 10**12]}, "broken"),
        ({"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}, "broken"),
        ({"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}, "broken|neither"),
        ({"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "neither convolution"),
    ],
)
def test_safetensors_claims_are_held_against_the_file(
    tmp_path: Path, little_memory: None, about: dict[str, Any], message: str
) -> None:
    header = json.dumps({"fc²3.weight": about}).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)
    with pytest.raises(UserError, match=rf"w\.safetensors: .*({message})"):
        read_weights(path)


def test_a_header_of_exabytes_is_refused(tmp_path: Path, little_memory: None) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", 2**62) + b"{}")
    with pytest.raises(UserError, match=r"w\.safetensors: a broken"):
        read_weights(path)


def test_a_file_in_memory_is_looked_through_too() -> None:
    file = io.BytesIO()
    with h5py.File(file, "w") as opened:
        opened["a"] = SOUND
        hdf5.check(opened)
        opened["b"] = h5py.SoftLink("/a")
        with pytest.raises(UserError, match="'b' is a link"):
            hdf5.check(opened)
