from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dfbench.errors import UserError
from dfbench.eval.checks import problems
from dfbench.eval.scores import (
    IDENTITY,
    SCHEMA,
    ScoreTable,
    read_scores,
    read_unchecked,
    score_table,
    write_scores,
)
from dfbench.eval.submission import read_submission

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
    before, _, after = _write(path).read_bytes().partition(b"\x05video")
    path.write_bytes(before + b"\x05\xecideo" + after)
    with pytest.raises(UserError, match="cannot read scores: 'utf-8' codec"):
        read_scores(path)
    with pytest.raises(UserError, match="cannot read scores: 'utf-8' codec"):
        read_submission(path)
    with pytest.raises(UserError, match="no such file"):
        read_scores(tmp_path / "none.parquet")


def test_identities_are_written_where_they_are_known(tmp_path: Path) -> None:
    people = ["celebdf/id0", "celebdf/id0", "", ""]
    table = read_scores(_write(tmp_path / "a.parquet", identity=people))
    assert table.identity is not None
    assert table.identity.tolist() == people
    write_scores(table, tmp_path / "b.parquet")
    assert pq.read_schema(tmp_path / "b.parquet").equals(SCHEMA.append(IDENTITY))
    back = read_scores(tmp_path / "b.parquet").identity
    assert back is not None
    assert back.tolist() == people
    assert read_scores(_write(tmp_path / "c.parquet")).identity is None


def test_few_columns_suffice(tmp_path: Path) -> None:
    path = tmp_path / "few.parquet"
    pq.write_table(
        pa.table({"video": ["a", "b", "c"], "label": [0, 1, 1], "logit": [0.0, 2.0, None]}), path
    )
    table = read_scores(path)
    assert table.dataset.tolist() == table.manipulation.tolist() == [""] * 3
    assert table.frame.tolist() == [0, 0, -1]  # a score a video; none: no face detected
    assert table.p_fake[:2] == pytest.approx([0.5, 1 / (1 + np.exp(-2))])
    assert np.isnan(table.p_fake[2])
    pq.write_table(pa.table({"video": ["a", "b"], "label": [0, 1], "p_fake": [0.5, 0.7]}), path)
    assert np.isnan(read_scores(path).logit).all()
    pq.write_table(pa.table({"video": ["a"], "label": [0]}), path)
    with pytest.raises(UserError, match="'p_fake' is missing, and 'logit' too"):
        read_scores(path)
    pq.write_table(pa.table({"video": ["a", "a"], "label": [0, 0], "p_fake": [0.5, 0.7]}), path)
    with pytest.raises(UserError, match="frame 0 of video 'a' comes twice"):
        read_scores(path)


def test_a_logit_of_the_wrong_class_shows(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.parquet", logit=[2.0, 0.0, -30.0, None])
    with pytest.raises(
        UserError, match=r"row 1: 0.1192 is not the sigmoid of its logit 2; .*1 more"
    ):
        read_scores(path)


def test_all_problems_of_a_table_are_listed(tmp_path: Path) -> None:
    path = _write(
        tmp_path / "a.parquet",
        p_fake=[1.5, -0.5, None, None],
        logit=[None, None, None, float("-inf")],
    )
    found = problems(read_unchecked(path))
    assert [(p.column, p.row, p.rows) for p in found] == [
        ("p_fake", 1, 2), ("p_fake", 3, 1), ("logit", 4, 1),
    ]  # fmt: skip
    assert str(found[0]) == "column 'p_fake', row 1: 1.5 must lie in [0, 1] (and 1 more rows)"
    assert problems(read_unchecked(_write(tmp_path / "b.parquet"))) == []


CSV = "video,frame,label,p_fake\n"


def _csv(folder: Path, text: str, name: str = "scores.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_csv(tmp_path: Path) -> None:
    rows = 'd/a,0,1,0.25\n"d/b, 2",3,0,1\n007,-1,0,\n'
    table = read_scores(_csv(tmp_path, CSV + rows))
    assert table.video.tolist() == ["d/a", "d/b, 2", "007"]  # text, whatever it looks like
    assert table.frame.tolist() == [0, 3, -1]
    assert table.label.tolist() == [1, 0, 0]
    np.testing.assert_array_equal(table.p_fake, np.float32([0.25, 1.0, np.nan]))
    bom = read_scores(_csv(tmp_path, "\ufeff" + CSV + rows, "BOM.CSV"))
    assert bom.video.tolist() == table.video.tolist()
    other = "extra,logit,label,video,dataset,identity\n1,2.5,1,a,x,p\n?,-1,0,a,y,\n"
    table = read_scores(_csv(tmp_path, other))
    assert table.dataset.tolist() == ["x", "y"]
    assert table.identity is not None
    assert table.identity.tolist() == ["p", ""]
    assert table.logit.tolist() == [2.5, -1.0]


def test_csv_and_parquet_say_the_same(tmp_path: Path) -> None:
    table = read_scores(_write(tmp_path / "a.parquet"))
    lines = [",".join(SCHEMA.names)]
    for row in range(4):
        cells = [getattr(table, name)[row] for name in SCHEMA.names]
        lines.append(",".join("" if c != c else str(c) for c in cells))
    back = read_scores(_csv(tmp_path, "\n".join(lines)))
    for name in SCHEMA.names:
        np.testing.assert_array_equal(getattr(back, name), getattr(table, name))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CSV + "a,0,1,0.5\nb,0,0,abc\n", "column 'p_fake', row 2: 'abc' is not a number"),
        (CSV + "a,0,1,0.5\nb,0,x,0\nc,y,0,0\n", "column 'label', row 2: 'x' is not an integer"),
        (CSV + "a,0,1.0,0.5\n", "column 'label', row 1: '1.0' is not an integer"),
        (CSV + "a,0,,0.5\n", "column 'label', row 1: a value is missing"),
        (CSV + "a,0,1,0.5\nb,0,0,NaN\n", "column 'p_fake', row 2: nan may be empty only"),
        (CSV + "a,0,1,1e400\n", "column 'p_fake', row 1: inf must lie in"),
        (CSV + "a,0,1,0.5\nb,0,0\n", "row 2: 3 values where the header has 4"),
        (CSV + "a,0,1,0.5,9\n", "row 1: 5 values where the header has 4"),
        (CSV + "a,0,1,0.5\na,0,1,0.6\n", "row 2: frame 0 of video 'a' comes twice"),
        (CSV + "a,0,1,\x1b[31m\n", r"'\\x1b\[31m' is not a number"),
        (CSV, "holds no row"),
        ("", "Empty CSV"),
        ("video;label;p_fake\na;1;0.5\n", "column 'video' is missing"),
        ("video,label,label,p_fake\na,1,1,0.5\n", "column 'label' comes twice"),
        ("video,label,label,p_fake\na,x,1,0.5\n", "column 'label', row 1: 'x' is not an integer"),
    ],
)
def test_what_is_wrong_with_a_csv_file_is_named(text: str, message: str, tmp_path: Path) -> None:
    path = _csv(tmp_path, text)
    with pytest.raises(UserError, match=message) as caught:
        read_scores(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_wrong_value_far_down_a_csv_file_is_found(tmp_path: Path) -> None:
    rows = [f"video{i:06d},0,{i % 2},0.5\n" for i in range(120_000)]  # more than a block
    rows[110_000] = "v,0,1,wrong\n"
    with pytest.raises(UserError, match="row 110001: 'wrong' is not a number"):
        read_scores(_csv(tmp_path, CSV + "".join(rows)))


def test_no_csv_file_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_scores(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(CSV.encode() + b"\xff\xfe,0,1,0.5\n")
    with pytest.raises(UserError, match=r"binary\.csv: line 2 is not UTF-8"):
        read_scores(tmp_path / "binary.csv")
