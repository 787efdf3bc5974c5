"""What the clips of prepared datasets are and show, one row a clip: what an audit compares."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dfbench.data.keys import clip_key, person_key
from dfbench.data.prepared import Prepared
from dfbench.faces.clip import Split
from dfbench.faces.hashing import BYTES

# Names are keys: one means the same clip, person or footage in every dataset. Empty: not known.
CLIPS = pa.schema(
    {
        "dataset": pa.string(),
        "split": pa.string(),
        "position": pa.int64(),  # of the clip's middle crop in the split's records
        "label": pa.int32(),
        "video": pa.string(),
        "identity": pa.string(),
        "source_identity": pa.string(),
        "original": pa.string(),  # `video` of the real clip that a fake was made from
        "footage": pa.list_(pa.string()),
        "content": pa.uint64(),  # hash of the middle crop's bytes
        "phash": pa.binary(BYTES),  # difference hash of the middle crop
    }
)


def clip_table(datasets: Sequence[Prepared], splits: Sequence[Split]) -> pa.Table:
    """Return the clips of some splits that gave crops: split by split, in the datasets' order.

    Columns: those of `CLIPS`.
    """
    tables = [_clips(dataset, split) for split in splits for dataset in datasets]
    return pa.concat_tables([CLIPS.empty_table(), *tables])


def middle_crops(dataset: Prepared, split: Split) -> pa.Table:
    """Return the rows of a split's frame table that are in the middle of their clips."""
    table = dataset.frames(split)
    if not len(table):
        return table
    videos = table["video"].combine_chunks()  # a clip's crops follow one another
    changes = pc.not_equal(videos[1:], videos[:-1]).to_numpy(zero_copy_only=False)
    starts = np.flatnonzero(np.concatenate([[True], changes]))
    ends = np.append(starts[1:], len(table))
    return table.take(pa.array((starts + ends) // 2))


def _clips(dataset: Prepared, split: Split) -> pa.Table:
    rows = middle_crops(dataset, split)
    columns = {name: rows[name] for name in CLIPS.names if name not in ("dataset", "split")}
    for name in ("video", "original"):
        columns[name] = [clip_key(dataset.name, key) for key in rows[name].to_pylist()]
    for name in ("identity", "source_identity"):
        columns[name] = [person_key(dataset.name, key) for key in rows[name].to_pylist()]
    columns |= {"dataset": [dataset.name] * len(rows), "split": [split] * len(rows)}
    return pa.table({name: columns[name] for name in CLIPS.names}, schema=CLIPS)
