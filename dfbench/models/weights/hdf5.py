"""HDF5 files of strangers: nothing is read before it is known where it lies and how large it is.

A file may link to others on this machine, and may claim arrays of any size that it does not hold.
"""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np

from dfbench.errors import UserError

MOST_BYTES = 8 * 2**30  # of all arrays; the largest network of Keras has 1.4 GB
MOST_CHUNK = 2**28  # bytes that are unpacked at a time
MOST_ENTRIES = 100_000  # groups and arrays
PACKED = 100  # times as large as what is stored may be, where it is packed
ARCHIVED = "model.weights.h5"  # in a .keras archive


def require_sound(path: Path) -> None:
    """Look through a file that another library is to read: HDF5, or Keras's archive with one in it.

    Raises:
        UserError: as `check` does, or it is damaged.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                _open(io.BytesIO(_archived(archive)))
        else:
            _open(path)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except Exception as error:  # h5py lets through whatever goes wrong
        raise UserError(f"{path}: a broken file: {error}") from error


def _open(file: Path | IO[bytes]) -> None:
    with h5py.File(file, "r") as opened:
        check(opened)


def _archived(archive: zipfile.ZipFile) -> bytes:
    info = archive.getinfo(ARCHIVED)
    if info.file_size > min(MOST_BYTES, PACKED * info.compress_size):
        raise UserError(f"'{ARCHIVED}' in it would unpack to {info.file_size:,} bytes")
    return archive.read(info)


def check(file: h5py.File) -> None:
    """Look at every group and array of a file without reading any.

    Raises:
        UserError: a link to another place or file, an array whose numbers lie in other files, that
            claims more than is stored, or a file that claims too much; the message does not name
            the file.
    """
    total = 0
    for name, dataset in _datasets(file):
        if dataset.is_virtual or dataset.external:
            raise UserError(f"the numbers of '{name}' lie in other files, which are not read")
        claimed, stored = _bytes(dataset.shape, dataset), dataset.id.get_storage_size()
        if claimed > PACKED * stored:
            raise UserError(f"'{name}' claims {claimed:,} bytes, of which {stored:,} are stored")
        total += claimed
        if total > MOST_BYTES or _bytes(dataset.chunks, dataset) > max(MOST_CHUNK, claimed):
            raise UserError(f"claims more bytes, up to '{name}', than {MOST_BYTES:,}")


def _bytes(shape: tuple[int, ...] | None, dataset: h5py.Dataset) -> int:
    """Return what an array of a shape takes; not as h5py does, whose product may overflow."""
    return 0 if shape is None else math.prod(shape) * int(dataset.dtype.itemsize)


def _datasets(file: h5py.File) -> Iterator[tuple[str, h5py.Dataset]]:
    """Yield the arrays of a file with their paths; a group that lies in itself is entered once."""
    groups, seen, entries = [file["/"]], set(), 0
    while groups:
        group = groups.pop()
        here = h5py.h5o.get_info(group.id).addr
        if here in seen:
            continue
        seen.add(here)
        for key in group:
            entries += 1
            name = f"{group.name}/{key}".lstrip("/")
            if entries > MOST_ENTRIES:
                raise UserError(f"has more than {MOST_ENTRIES:,} entries")
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                raise UserError(f"'{name}' is a link, which is not followed")
            entry = group[key]
            if isinstance(entry, h5py.Dataset):
                yield name, entry
            elif isinstance(entry, h5py.Group):
                groups.append(entry)


def numbers(dataset: Any, name: str) -> np.ndarray:
    """Read an array of a file that was checked.

    Raises:
        UserError: it holds something else than numbers.
    """
    found = isinstance(dataset, h5py.Dataset) and dataset.shape is not None
    if not found or dataset.dtype.kind not in "fiub":
        raise UserError(f"'{name}' holds no array of numbers")
    return np.asarray(dataset[()])
