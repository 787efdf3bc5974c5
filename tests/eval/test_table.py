from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from dfbench.eval.table import Text, dense_codes, in_order, score_table, video_codes


@pytest.mark.parametrize(
    "values",
    [
        ["b", "a", "b", "", "ä"],
        np.array(["b", "a", "b", "", "ä"]),
        pa.array(["b", "a", "b", "", "ä"]),
        pa.chunked_array([["b", "a"], ["b", "", "ä"]]),
        pa.chunked_array([["b", "a"], ["b", "", "ä"]]).dictionary_encode(),
        # A name twice, and one that no row has.
        pa.DictionaryArray.from_arrays([1, 2, 0, 4, 5], ["b", "b", "a", "zz", "", "ä"]),
    ],
)
def test_text_from_anywhere(values: object) -> None:
    text = Text.of(values)  # type: ignore[arg-type]
    assert text.tolist() == ["b", "a", "b", "", "ä"]
    assert len(text) == 5
    names = text.names.to_pylist()
    assert names == sorted(set(names))
    assert text.used() == ["", "a", "b", "ä"]
    assert text[1] == "a"
    assert text[np.array([True, False, True, False, False])].tolist() == ["b", "b"]
    assert text[3:].tolist() == ["", "ä"]
    assert text.equal_to("b").tolist() == [True, False, True, False, False]
    assert not text.equal_to("nobody").any()
    assert np.asarray(text).tolist() == text.tolist()
    assert text.to_arrow().to_pylist() == text.tolist()


def test_constant_and_empty_text() -> None:
    assert Text.constant("x", 3).tolist() == ["x"] * 3
    for empty in (Text.of([]), Text.of(pa.array([], pa.string())), Text.constant("x", 0)):
        assert len(empty) == 0
        assert empty.tolist() == empty.used() == []


def test_text_takes_four_bytes_a_row() -> None:
    text = Text.of(["a name that is as long as those of videos are"] * 1000)
    assert text.codes.nbytes == 4000
    assert text.names.nbytes < 100


def test_codes_are_dense_and_in_the_order_of_the_columns() -> None:
    assert dense_codes(np.array([2, 0, 2, 0]), np.array([0, 5, 1, 5])).tolist() == [1, 0, 2, 0]
    far = np.array([0, 10**9, 10**9])  # mostly gaps
    assert dense_codes(far, np.array([3, 3, 0])).tolist() == [0, 2, 1]
    assert dense_codes(np.zeros(0, int), np.zeros(0, int)).tolist() == []


def test_rows_in_order_of_videos_and_frames() -> None:
    table = score_table(
        dataset=["b", "a", "a", "a"], split=["t"] * 4, manipulation=["m"] * 4,
        video=["v", "w", "v", "v"], frame=[0, -1, 9, 3], label=[1, 0, 1, 1],
        logit=[1.0, np.nan, 2.0, 3.0], identity=["p", "", "q", "q"],
    )  # fmt: skip
    assert video_codes(table).tolist() == [2, 1, 0, 0]
    ordered = in_order(table)
    assert ordered.logit[[0, 1, 3]].tolist() == [3.0, 2.0, 1.0]
    assert ordered.identity is not None
    assert ordered.identity.tolist() == ["q", "q", "", "p"]
    assert in_order(ordered) is ordered
