"""Arrays in .npz files: what is damaged, packed or claims too much is not read."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.lib import format as npy

from dfbench.data.npz import read_npz, write_npz

ARRAYS = {"vectors": np.arange(12, dtype=np.float32).reshape(4, 3), "key": np.array("a")}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_npz(tmp_path / "new" / "a.npz", ARRAYS)
    return tmp_path / "new" / "a.npz"


def test_arrays_come_back(path: Path) -> None:
    found = read_npz(path, ("key", "vectors"))
    assert found is not None
    np.testing.assert_array_equal(found["vectors"], ARRAYS["vectors"])
    assert str(found["key"]) == "a"
    assert found["vectors"].flags.writeable
    assert [p.name for p in path.parent.iterdir()] == ["a.npz"]


def test_what_is_missing_or_damaged_is_none(path: Path, tmp_path: Path) -> None:
    whole = path.read_bytes()
    assert read_npz(path, ("other",)) is None
    assert read_npz(tmp_path / "gone.npz", ("key",)) is None
    assert read_npz(tmp_path, ("key",)) is None
    for content in (b"", whole[:100], whole[:-10], whole.replace(b"NUMPY", b"NUMPX")):
        path.write_bytes(content)
        assert read_npz(path, ("vectors",)) is None


def _array(header: dict[str, object], data: bytes) -> bytes:
    file = io.BytesIO()
    npy.write_array_header_1_0(file, header)
    return file.getvalue() + data


CLAIMS = {
    "10^12 numbers": {"descr": "<f4", "fortran_order": False, "shape": (10**6, 10**6)},
    "a product that overflows": {"descr": "<f4", "fortran_order": False, "shape": (2**33, 2**33)},
    "fewer than none": {"descr": "<f4", "fortran_order": False, "shape": (-1, -4)},
    "objects": {"descr": "|O", "fortran_order": False, "shape": (2,)},
    "long text": {"descr": "<U1000000000", "fortran_order": False, "shape": (9,)},
}


@pytest.mark.parametrize("kind", sorted(CLAIMS))
def test_a_header_that_claims_more_is_not_believed(tmp_path: Path, kind: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("vectors.npy", _array(CLAIMS[kind], b"\0" * 16))
    assert read_npz(tmp_path / "a.npz", ("vectors",)) is None


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", vectors=np.zeros(10**7, np.float32))
    assert (tmp_path / "a.npz").stat().st_size < 10**5
    assert read_npz(tmp_path / "a.npz", ("vectors",)) is None
