"""The records of a prepared dataset: files whose bytes depend on the examples alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

# Here and not in a function: threads that import it at the same time wait for each other for ever.
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from tensorflow_datasets.core.example_serializer import ExampleSerializer
from tensorflow_datasets.proto import tf_example_pb2

from dfbench.errors import UserError
from dfbench.files import decode_plain, naming


class EncodedFaces:
    """The encoded crops of a split, by position.

    TFDS makes arrays of all features of an example, which takes half as long as decoding the crop;
    here its image is taken out and the rest is left.
    """

    def __init__(self, folder: Path | str, split: str) -> None:
        self._folder = Path(folder)
        _require_known_features(self._folder)
        builder = tfds.builder_from_directory(folder)
        raw = tfds.decode.DeserializeMethod.RAW_BYTES
        self._records = builder.as_data_source(split, deserialize_method=raw)
        self._names = [n for n in ("face", "face_before") if n in builder.info.features]

    def __len__(self) -> int:
        return len(self._records)

    def face(self, position: int) -> bytes:
        """Return a crop, JPEG or PNG."""
        return self.frames([position])[0][0]

    def frames(self, positions: Sequence[int]) -> list[tuple[bytes, ...]]:
        """Return crops, each with the frame before behind, where that was prepared.

        Raises:
          OSError: the disk refuses it; the error names the dataset's folder.
        """
        with naming(self._folder):
            # One by one: to read several at once, TFDS starts threads, which takes longer.
            return [self._images(self._records[position]) for position in positions]

    def _images(self, record: bytes) -> tuple[bytes, ...]:
        features = tf_example_pb2.Example.FromString(record).features.feature
        return tuple(features[name].bytes_list.value[0] for name in self._names)


def _require_known_features(folder: Path) -> None:
    """Refuse features that are none of TFDS's: it would import the module that their name says.

    Raises:
      UserError: there are such, or what the features are cannot be read.
    """
    path = folder / "features.json"
    try:
        level = [decode_plain(path.read_bytes())]
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: {error}; delete {folder} and prepare it again") from error
    while level:
        inner: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                inner += one.values()
                for name in (one.get("pythonClassName", ""), one.get("type", "")):
                    if "." in str(name) and not str(name).startswith("tensorflow_datasets."):
                        raise UserError(f"{path}: '{name}' is no feature of a dataset of faces")
            elif isinstance(one, list):
                inner += one
        level = inner


def write_split(
    features: tfds.features.FeaturesDict,
    template: Any,
    files: Sequence[Callable[[], Iterable[dict[str, Any]]]],
) -> tfds.core.SplitInfo:
    """Write the files of a split one after the other, an example at a time.

    TFDS's own writers hold all examples of a split, or of a file, in memory. An example's features
    are a map, which TFDS writes in an order that each process draws anew; here the order is fixed.

    Args:
      features: of the dataset.
      template: TFDS's template of the names of the split's files.
      files: makes the examples of each file.

    Raises:
      OSError: a file cannot be written; the error names it.
    """
    serializer = ExampleSerializer(features.get_serialized_info())

    def encoded(example: dict[str, Any]) -> bytes:
        proto = serializer.get_tf_example(features.encode_example(example))
        return bytes(proto.SerializeToString(deterministic=True))

    lengths, size = [], 0
    for number, examples in enumerate(files):
        path = template.sharded_filepath(shard_index=number, num_shards=len(files))
        records, written = _write_file(os.fspath(path), map(encoded, examples()))
        lengths.append(records)
        size += written
    return tfds.core.SplitInfo(
        name=template.split, shard_lengths=lengths, num_bytes=size, filename_template=template
    )


def _write_file(path: str, records: Iterable[bytes]) -> tuple[int, int]:
    """Write one file; return how many records and how many bytes went into it."""
    count, size = 0, 0
    with naming(Path(path)):
        file = ArrayRecordWriter(path, "group_size:1")  # for random access
        for record in records:
            file.write(record)
            count += 1
            size += len(record)
        file.close()
    return count, size
