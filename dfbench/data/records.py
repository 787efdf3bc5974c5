"""The records of a prepared dataset: files whose bytes depend on the examples alone."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# Here and not in a function: threads that import it at the same time wait for each other for ever.
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from tensorflow_datasets.core.file_adapters import FileFormat
from tensorflow_datasets.core.writer import ExampleWriter
from tensorflow_datasets.proto import tf_example_pb2

_SYSTEM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS)


def open_split(folder: Path | str, split: str) -> Any:
    """Open the records of a split, by position; `face` and `face_before` stay encoded."""
    builder = tfds.builder_from_directory(folder)
    encoded = [name for name in ("face", "face_before") if name in builder.info.features]
    decoders = {name: tfds.decode.SkipDecoding() for name in encoded}
    return builder.as_data_source(split, decoders=decoders)


class RecordWriter(ExampleWriter):  # type: ignore[misc]
    """Writes the files of a dataset, in the place of TFDS's own writer.

    An example's features are a map, and TFDS writes maps in an order that each process draws anew.
    """

    def __init__(self) -> None:
        super().__init__(file_format=FileFormat.ARRAY_RECORD)

    def write(self, path: str | os.PathLike[str], examples: Iterable[tuple[object, bytes]]) -> None:
        """Write one file.

        Raises:
          OSError: it cannot be written; the error names it.
        """
        try:
            file = ArrayRecordWriter(os.fspath(path), "group_size:1")  # for random access
            for _, example in examples:
                parsed = tf_example_pb2.Example.FromString(example)
                file.write(parsed.SerializeToString(deterministic=True))
            file.close()
        except RuntimeError as error:
            raise _system_error(error, os.fspath(path)) from error


def _system_error(error: RuntimeError, path: str) -> OSError:
    """Return what the system refused; ArrayRecord has it as text."""
    for code in _SYSTEM:
        if os.strerror(code) in str(error):
            return OSError(code, os.strerror(code), path)
    return OSError(errno.EIO, " ".join(str(error).split()), path)
