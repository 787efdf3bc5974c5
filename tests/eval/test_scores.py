from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dfbench.errors import UserError
from dfbench.eval.scores import SCHEMA, ScoreTable, read_scores, score_table, write_scores

ROWS: dict[str, list[Any]] = {
    "dataset": ["d", "d", "d", "e"],
    "split": ["test"] * 4,
    "manipulation": ["real", "real", "swap", "swap"],
    "video": ["d/real/0", "d/real/0", "d/swap/0", "d/swap/0"],
    "frame": [0, 7, 3, -1],
    "label": [0, 0, 1, 1],
    "logit": [-2.0, 0.0, 30.0, None],
    "p_fake": [0.1192, 0.5, 1.0, None],
}


def _write(path: Path, **changes: Any) -> Path:
    pq.write_table(pa.table({**ROWS, **changes}), path)
    return path


def test_probabilities_are_the_sigmoid_of_logits_without_overflow() -> None:
    logits = [-800.0, -20.0, 0.0, 20.0, 800.0, np.nan]
    table = score_table(
        dataset=["d"] * 6,
        split=["test"] * 6,
        manipulation=["m"] * 6,
        video=list("abcdef"),
        frame=[0] * 5 + [-1],
        label=[1] * 6,
        logit=logits,
    )
    exact = [0.0, np.exp(-20.0) / (1 + np.exp(-20.0)), 0.5, 1 / (1 + np.exp(-20.0)), 1.0]
    np.testing.assert_allclose(table.p_fake[:5], exact, rtol=1e-7)
    assert np.isnan(table.p_fake[5])
    assert table.p_fake.dtype == np.float32


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="different lengths"):
        score_table(
            dataset=["d"], split=["t"], manipulation=["m"], video=["v"], frame=[0, 1],
            label=[1], logit=[0.0],
        )  # fmt: skip


def test_written_scores_read_back(tmp_path: Path) -> None:
    table = read_scores(_write(tmp_path / "a.parquet"))
    path = tmp_path / "x=1" / "scores.parquet"  # no partition column is read from a path
    write_scores(table, path)
    back = read_scores(path)
    for name in SCHEMA.names:
        np.testing.assert_array_equal(getattr(back, name), getattr(table, name))
    assert [p.name for p in path.parent.iterdir()] == ["scores.parquet"]
    written = pq.ParquetFile(path).read()
    assert written.schema.equals(SCHEMA)
    assert written["p_fake"].null_count == 1  # null, not NaN: the same for every reader
    assert written["p_fake"].to_pylist()[3] is None


def test_scores_of_other_writers_are_read(tmp_path: Path) -> None:
    path = _write(
        tmp_path / "a.parquet",
        dataset=pa.array(ROWS["dataset"]).dictionary_encode(),
        label=pa.array(ROWS["label"], pa.uint8()),
        p_fake=pa.array([0.25, 0.5, 1.0, float("nan")], pa.float64()),
        logit=pa.nulls(4),
        extra=list("abcd"),
    )
    table = read_scores(path)
    assert isinstance(table, ScoreTable)
    assert table.dataset.tolist() == ROWS["dataset"]
    assert (table.label.dtype, table.p_fake.dtype) == (np.int32, np.float32)
    np.testing.assert_array_equal(table.p_fake, np.float32([0.25, 0.5, 1.0, np.nan]))
    assert np.isnan(table.logit).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": [0, 0, 2, 1]}, "column 'label', row 3: 2 must be 0"),
        ({"label": [0, 1, 1, 1]}, "row 2: video 'd/real/0' has the label 1 here and 0 in row 1"),
        ({"label": [False, False, True, True]}, "column 'label' holds bool, not integers"),
        ({"label": [0, 0, None, 1]}, "column 'label', row 3: a value is missing"),
        ({"p_fake": [0.1, 0.5, 1.01, None]}, r"column 'p_fake', row 3: 1.01 must lie in \[0, 1\]"),
        ({"p_fake": [0.1, None, 1.0, None]}, "column 'p_fake', row 2: nan may be empty only"),
        ({"p_fake": [0.1, 0.5, 1.0, 0.5]}, "column 'frame', row 4: -1 must be 0 or more"),
        ({"p_fake": ["a", "b", "c", "d"]}, "column 'p_fake' holds string, not floats"),
        ({"frame": [0, 0, 3, -1]}, "row 2: frame 0 of video 'd/real/0' comes twice"),
        ({"frame": [0, -2, 3, -1]}, "column 'frame', row 2: -2 must"),
        ({"frame": [0, 2**40, 3, -1]}, "column 'frame'"),
        ({"logit": [0.0, 1.0, float("inf"), None]}, "column 'logit', row 3: inf must be finite"),
        ({"video": [1, 2, 3, 4]}, "column 'video' holds int64, not text"),
        (
            {"dataset": ["d"] * 4, "video": ["a", "a", "b", "b"]},
            "row 4: video 'b' is marked as undetected but has scored frames",
        ),
    ],
)
def test_wrong_values_are_named(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = _write(tmp_path / "scores.parquet", **changes)
    with pytest.raises(UserError, match=message) as caught:
        read_scores(path)
    assert str(path) in str(caught.value)


def test_missing_column_no_row_and_no_parquet_are_named(tmp_path: Path) -> None:
    path = tmp_path / "scores.parquet"
    pq.write_table(pa.table({k: v for k, v in ROWS.items() if k != "video"}), path)
    with pytest.raises(UserError, match=r"scores.parquet: column 'video' is missing"):
        read_scores(path)
    pq.write_table(SCHEMA.empty_table(), path)
    with pytest.raises(UserError, match="holds no row"):
        read_scores(path)
    path.write_text("dataset,split\n")
    with pytest.raises(UserError, match="cannot read scores"):
        read_scores(path)
    with pytest.raises(UserError, match="no such file"):
        read_scores(tmp_path / "none.parquet")
