"""Arrays in .npz files: no pickles, and never more memory than the file has bytes."""

from __future__ import annotations

import math
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from dfbench.files import whole

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
# What zipfile and NumPy raise where a file is damaged; RecursionError and NotImplementedError, of a
# strange packing, are RuntimeErrors.
_DAMAGED = (
    *(OSError, ValueError, KeyError, EOFError, TypeError, RuntimeError, MemoryError),
    *(OverflowError, struct.error, zipfile.BadZipFile),
)


def write_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays by name; the file appears whole or not at all.

    Raises:
      OSError: the disk refuses it.
    """
    with whole(path) as unfinished:
        np.savez(unfinished, **arrays)


def read_npz(path: Path, names: Sequence[str]) -> dict[str, np.ndarray] | None:
    """Read some arrays of a file that `write_npz` wrote; None where it is missing or damaged.

    A header may claim any size, and what is packed may unpack to any size: both are looked at
    before memory is taken. `write_npz` packs nothing.
    """
    try:
        size = path.stat().st_size
        with zipfile.ZipFile(path) as archive:
            return {name: _array(archive, f"{name}.npy", size) for name in names}
    except _DAMAGED:
        return None


def _array(archive: zipfile.ZipFile, name: str, most: int) -> np.ndarray:
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > most:
        raise ValueError(f"{name}: packed")
    with archive.open(info) as file:
        shape, _, dtype = _HEADERS[npy.read_magic(file)](file)
        if dtype.hasobject or math.prod(shape) * dtype.itemsize != info.file_size - file.tell():
            raise ValueError(f"{name}: another size than its header says")
        file.seek(0)
        array: np.ndarray = npy.read_array(file, allow_pickle=False)
        return array
