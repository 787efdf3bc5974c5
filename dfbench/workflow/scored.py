"""The scores of a split as a table: its crops, and the videos that gave none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Shaped

from dfbench.data.keys import person_key
from dfbench.data.prepared import Missed, Prepared
from dfbench.data.view import SplitView
from dfbench.eval.table import UNDETECTED, ScoreTable, Text, score_table


def scored_table(view: SplitView, logits: Float[np.ndarray, " crops"]) -> ScoreTable:
    """Put the crops of a split and its videos without a crop into one table.

    Text stays encoded: as Python's objects, the names of a million crops take gigabytes.

    Args:
      view: the split.
      logits: of its crops, in order.
    """
    by_dataset = [dataset.missed(view.split) for dataset in view.datasets]
    missed = [one for some in by_dataset for one in some]
    places = np.arange(len(view.datasets), dtype=np.int32)
    of = [np.repeat(places, [len(rows) for rows in part]) for part in (view.tables, by_dataset)]
    names = pa.array([dataset.name for dataset in view.datasets])
    people = pa.chunked_array(
        [*map(_people, view.datasets, view.tables), pa.array([""] * len(missed), pa.string())]
    )

    def numbers(crops: np.ndarray, others: Sequence[float]) -> Shaped[np.ndarray, " rows"]:
        return np.concatenate([crops, np.asarray(others, crops.dtype)])

    return score_table(
        dataset=Text.of(pa.DictionaryArray.from_arrays(pa.array(np.concatenate(of)), names)),
        split=Text.constant(view.split, len(view) + len(missed)),
        manipulation=_text(view, missed, "manipulation"),
        video=_text(view, missed, "video"),
        frame=numbers(view.numbers("frame"), [UNDETECTED] * len(missed)),
        label=numbers(view.labels, [one.label for one in missed]),
        logit=numbers(logits, [np.nan] * len(missed)),
        identity=Text.of(people),
    )


def _text(view: SplitView, missed: Sequence[Missed], name: str) -> Text:
    chunks = [chunk for table in view.tables for chunk in table[name].chunks]
    others = pa.array([getattr(one, name) for one in missed], pa.string())
    return Text.of(pa.chunked_array([*chunks, others]))


def _people(dataset: Prepared, table: pa.Table) -> pa.Array:
    """Return who is seen in each crop, as audits name people."""
    found = table["identity"].combine_chunks().dictionary_encode()
    keys = [person_key(dataset.name, name) for name in found.dictionary.to_pylist()]
    return pa.array(keys, pa.string()).take(found.indices)
