from __future__ import annotations

import tracemalloc
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa

from dfbench.data.prepared import Missed
from dfbench.data.view import SplitView
from dfbench.eval.table import UNDETECTED
from dfbench.workflow.scored import scored_table


@dataclass(frozen=True)
class Data:
    """What a table of scores asks of a prepared dataset."""

    name: str
    lost: tuple[Missed, ...] = ()

    def missed(self, split: str) -> tuple[Missed, ...]:
        return tuple(one for one in self.lost if one.split == split)


def lost(video: str, split: Any = "test") -> Missed:
    return Missed(video=video, split=split, label=1, manipulation="Swap", reason="broken")


def crops(videos: int, frames: int, prefix: str, person: str = "") -> pa.Table:
    video = np.repeat(np.arange(videos), frames)
    return pa.table(
        {
            "video": [f"{prefix}/{number:07d}" for number in video],
            "frame": (np.arange(len(video)) % frames).astype(np.int32),
            "label": (video % 2).astype(np.int32),
            "manipulation": [("real", "Swap")[number % 2] for number in video],
            "identity": [person and f"{person}{number // 2}" for number in video],
        }
    )


def view_of(*parts: tuple[Data, pa.Table]) -> SplitView:
    datasets, tables = zip(*parts, strict=True)
    return SplitView(cast("Any", datasets), "test", tables)


def test_a_union_with_videos_that_gave_no_crop() -> None:
    one = Data("one", (lost("one/z"), lost("one/y", "train")))
    view = view_of((one, crops(2, 2, "one", "id")), (Data("two"), crops(1, 1, "two", "web/x")))
    np.testing.assert_array_equal(view.video_codes, [0, 0, 1, 1, 2])
    table = scored_table(view, np.array([-1.0, 1.0, 2.0, 3.0, 0.0], np.float32))
    assert table.dataset.tolist() == ["one"] * 4 + ["two", "one"]
    assert table.video.tolist() == [
        *["one/0000000"] * 2,
        *["one/0000001"] * 2,
        "two/0000000",
        "one/z",
    ]
    assert table.manipulation.tolist() == ["real", "real", "Swap", "Swap", "real", "Swap"]
    assert table.identity is not None
    assert table.identity.tolist() == ["one/id0"] * 4 + ["web/x0", ""]
    assert table.split.used() == ["test"]
    np.testing.assert_array_equal(table.frame, [0, 1, 0, 1, 0, UNDETECTED])
    np.testing.assert_array_equal(table.label, [0, 0, 1, 1, 0, 1])
    np.testing.assert_array_equal(table.logit, [-1, 1, 2, 3, 0, np.nan])
    np.testing.assert_array_equal(np.isnan(table.p_fake), [False] * 5 + [True])


def test_names_of_crops_do_not_become_objects() -> None:
    view = view_of((Data("one"), crops(500, 40, "one/manipulated_sequences/videos", "id")))
    logits = np.zeros(len(view), np.float32)
    tracemalloc.start()
    try:
        scored_table(view, logits)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100 * len(view)  # bytes; as texts of NumPy's the columns took 1,400
