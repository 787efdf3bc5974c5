"""Files as people hand them in, read and held against a small dataset."""

from __future__ import annotations

import gzip
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dfbench.data.roster import Listed
from dfbench.errors import UserError
from dfbench.eval import checks
from dfbench.eval.checks import problems
from dfbench.eval.matching import Rules, labelled, match
from dfbench.eval.scores import read_scores, write_scores
from dfbench.eval.submission import SubmissionError, read_submission
from dfbench.eval.table import UNDETECTED, ScoreTable, sigmoid

CLIPS = [
    Listed(
        dataset="toy",
        video=f"toy/{kind}/{name}",
        split="test" if name < "c" else "train",
        label=int(kind != "real"),
        manipulation=kind,
        identity=f"toy/{name}",
        kept=kind != "Swap2",
    )
    for kind in ("real", "Swap", "Swap2")
    for name in ("a", "b", "c")
]
GOOD = "video,p_fake\nreal/a,0.1\nreal/b,0.25\nSwap/a,0.5\nSwap/b,1\n"


def read(
    folder: Path, text: str, *, kind: Any = None, name: str = "s.csv", **rules: Any
) -> ScoreTable:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return match(path, read_submission(path, kind), CLIPS, rules=Rules(**rules))


def faults(folder: Path, text: str, **options: Any) -> list[str]:
    with pytest.raises(SubmissionError) as caught:
        read(folder, text, **options)
    assert "nothing was written" in str(caught.value)
    assert all(str(fault).isprintable() for fault in caught.value.faults)
    return [str(fault) for fault in caught.value.faults]


def test_two_columns_are_enough(tmp_path: Path) -> None:
    table = read(tmp_path, GOOD)
    assert table.video.tolist() == ["toy/real/a", "toy/real/b", "toy/Swap/a", "toy/Swap/b"]
    assert table.label.tolist() == [0, 0, 1, 1]
    assert table.manipulation.tolist() == ["real", "real", "Swap", "Swap"]
    assert table.identity is not None
    assert table.identity.tolist() == ["toy/a", "toy/b", "toy/a", "toy/b"]
    assert (table.split.used(), table.dataset.used()) == (["test"], ["toy"])
    assert table.frame.tolist() == [0, 0, 0, 0]
    assert table.p_fake.tolist() == [np.float32(0.1), 0.25, 0.5, 1]
    assert np.isnan(table.logit).all()


def test_a_table_that_was_matched_is_whole(tmp_path: Path) -> None:
    table = read(
        tmp_path,
        "frame,video,logit\n7,Swap/b.mp4,3\n3,Swap/b.mp4,-2.5\n0,real/b,1\n-1,real/a,\n1,Swap/a,9\n",
    )
    assert problems(table) == []
    assert table.frame.tolist() == [UNDETECTED, 0, 1, 3, 7]
    assert table.logit.tolist()[1:] == [1, 9, -2.5, 3]
    assert np.isnan(table.p_fake[0])
    np.testing.assert_array_equal(table.p_fake[1:], sigmoid(table.logit)[1:])
    write_scores(table, tmp_path / "scores.parquet")
    again = read_scores(tmp_path / "scores.parquet")
    assert again.video.tolist() == table.video.tolist()
    np.testing.assert_array_equal(again.p_fake, table.p_fake)


def test_the_order_of_rows_does_not_matter(tmp_path: Path) -> None:
    head, *rows = GOOD.splitlines()
    files = []
    for number, order in enumerate((rows, rows[::-1])):
        table = read(tmp_path, "\n".join((head, *order)))
        write_scores(table, tmp_path / f"{number}.parquet")
        files.append((tmp_path / f"{number}.parquet").read_bytes())
    assert files[0] == files[1]


def test_parquet(tmp_path: Path) -> None:
    expected = read(tmp_path, GOOD).p_fake
    videos = ["real/a", "real/b", "Swap/a", "Swap/b"]
    columns = {
        "video": pa.array(videos).dictionary_encode(),
        "p_fake": pa.array([0.1, 0.25, 0.5, 1.0], pa.float16()),
        "frame": [0.0, 0.0, 0.0, 0.0],
        "label": [False, False, True, True],
        "note": [None, 1, 2, 3],
    }
    pq.write_table(pa.table(columns), tmp_path / "a=b.parquet")
    pq.write_table(pa.table(columns | {"p_fake": ["0.1", "0.25", " .5", "1"]}), tmp_path / "t.pq")
    columns["video"] = pa.array(videos, pa.large_string())
    columns["manipulation"] = pa.array([None, None, None, "Swap"])
    pq.write_table(pa.table(columns), tmp_path / "large.parquet")
    for name in ("a=b.parquet", "t.pq", "large.parquet"):
        path = tmp_path / name
        table = match(path, read_submission(path), CLIPS)
        np.testing.assert_allclose(table.p_fake, expected, atol=1e-4)


def test_excel_leaves_a_mark_and_pandas_an_index(tmp_path: Path) -> None:
    rows = [f"{i},{row}" for i, row in enumerate(GOOD.splitlines()[1:])]
    table = read(tmp_path, "\ufeff" + GOOD)
    assert len(table) == len(read(tmp_path, "\n".join((",video,p_fake", *rows)))) == 4


@pytest.mark.parametrize(
    ("header", "kind", "logits"),
    [
        ("p_fake", None, False),
        ("logit", None, True),
        ("score", "logit", True),
        ("score", "probability", False),
        ("p_fake", "probability", False),
        ("logit", "logit", True),
    ],
)
def test_probabilities_or_logits(tmp_path: Path, header: str, kind: Any, logits: bool) -> None:
    table = read(tmp_path, GOOD.replace("p_fake", header), kind=kind)
    assert np.isnan(table.logit).all() == (not logits)
    assert table.p_fake[2] == (sigmoid(np.float32([0.5]))[0] if logits else 0.5)


@pytest.mark.parametrize(
    ("header", "kind", "said"),
    [
        ("score", None, "'score' may hold probabilities of fake or logits; say --probabilities or"),
        ("p_fake", "logit", "'p_fake' holds probability values by its name; rename it, or leave"),
        ("prob", None, "no column 'p_fake' .*; the file has 'video', 'prob'"),
        ("P_fake", None, "no column 'p_fake' .*; did you mean 'P_fake'"),
    ],
)
def test_what_a_score_is_is_never_guessed(
    tmp_path: Path, header: str, kind: Any, said: str
) -> None:
    (found,) = faults(tmp_path, GOOD.replace("p_fake", header), kind=kind)
    assert re.search(said, found), found


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        "video,frame,label,p_fake\n"
        "real/a,0,0,0.1\n"
        "real/a,0,0,0.2\n"  # 2: again
        "real/a,1,1,0.2\n"  # 3: contradicts
        "real/a,2.5,0,0.2\n"  # 4: half a frame
        "Swap/a,0,1,1.5\n"  # 5: no probability
        "Swap/a,1,1,inf\n"  # 6
        "Swap/a,2,1,nan\n"  # 7
        "Swap/a,-1,1,\n"  # 8: undetected and scored
        "Swap/aa,0,1,0.5\n"  # 9: nowhere
        "Swap/c,0,1,0.5\n"  # 10: train
        "a,0,1,0.5\n"  # 11: real/a or Swap/a
        "Swap/a,3,2,0.5\n"  # 12: label
        "Swap/a,4,1,oops\n"  # 13
        "Swap/a,-2,1,0.5\n",  # 14
    )
    text = "\n".join(found)
    for part in (
        "no number in 1 row: row 13 'oops'",
        "name that no video of the dataset has: row 9 'Swap/aa', did you mean 'toy/Swap/a'?",
        "name that is not clear: row 11 'a' may be 'toy/real/a' or 'toy/Swap/a'",
        "not in the test split, or of another manipulation: row 10 'Swap/c'",
        "no whole number from 0 (or -1 for no face) in 2 rows: row 4 2.5, row 14 -2",
        "1 row with an infinite score: row 6 inf",
        "1 row with a probability outside [0, 1]: row 5 1.5; logits stand in a column called",
        "1 row without a score (empty or NaN): row 7 ('Swap/a')",
        "neither 0 (real) nor 1 (fake) in 1 row: row 12 2",
        "not what the dataset says in 1 row: row 3 1, but 'toy/real/a' is real (0)",
        "1 row with a frame that came before: row 2 'toy/real/a' frame 0",
        "1 row with frame -1 (no face found) of a video that has scores: row 8 'toy/Swap/a'",
        "2 of the 4 videos of the test split have no row (1 real and 1 fake): 'toy/real/b'",
    ):
        assert part in text
    assert len(found) == 13


def test_of_many_rows_the_first_are_named(tmp_path: Path) -> None:
    (found,) = faults(tmp_path, GOOD.replace("0.", "7."))
    assert found.startswith("3 rows with a probability outside [0, 1]: row 1 7.1, row 2 7.25, row")
    rows = "".join(f"real/a,{n},2\n" for n in range(1500))
    (found,) = faults(
        tmp_path, "video,frame,p_fake\n" + rows + "real/b,0,0\nSwap/a,0,0\nSwap/b,0,0\n"
    )
    assert "1,500 rows with a probability" in found
    assert "row 3 2 and 1,497 more; logits" in found


def test_labels_the_other_way_round(tmp_path: Path) -> None:
    text = "video,label,p_fake\nreal/a,1,0.1\nreal/b,1,0.2\nSwap/a,0,0.5\nSwap/b,0,1\n"
    (found,) = faults(tmp_path, text)
    assert "all are the other way round: 1 means fake" in found
    (found,) = faults(tmp_path, text.replace("b,0", "b,1"))
    assert "other way round" not in found


def test_the_wrong_dataset(tmp_path: Path) -> None:
    found = faults(tmp_path, "video,p_fake\nid0_0000,0.1\n")
    assert found[-1].endswith("; is this the right dataset?")


def test_videos_without_a_row(tmp_path: Path) -> None:
    text = "video,p_fake\nreal/a,0.1\nSwap/b,1\n"
    (found,) = faults(tmp_path, text)
    assert found.endswith("and an empty score, or say --missing undetected")
    table = read(tmp_path, text, missing="undetected")
    assert table.video.tolist() == ["toy/real/a", "toy/Swap/b", "toy/real/b", "toy/Swap/a"]
    assert table.frame.tolist() == [0, 0, UNDETECTED, UNDETECTED]
    assert np.isnan(table.p_fake[2:]).all()
    assert problems(table) == []


def test_rows_of_other_splits_and_manipulations(tmp_path: Path) -> None:
    text = GOOD + "real/c,nan\nSwap2/a,0.5\nSwap2/a,0.5\n"
    assert "row 5 'real/c', row 6 'Swap2/a', row 7 'Swap2/a'" in faults(tmp_path, text)[0]
    assert len(read(tmp_path, text, extra="ignore")) == 4
    (found,) = faults(tmp_path, text + "toy/nowhere,0.5\n", extra="ignore")
    assert "name that no video of the dataset has" in found


def test_a_column_may_say_the_manipulation(tmp_path: Path) -> None:
    text = "manipulation,video,p_fake\nreal,a,0.1\nreal,b,0.2\nSwap,a,0.3\nSwap,b,0.4\n"
    assert read(tmp_path, text).manipulation.tolist() == ["real", "real", "Swap", "Swap"]


def test_a_logit_beside_its_probability(tmp_path: Path) -> None:
    text = "video,p_fake,logit\nreal/a,0.5,0\nreal/b,0.5,0\nSwap/a,0.5,0\nSwap/b,0.8807971,2\n"
    assert read(tmp_path, text).logit.tolist() == [0, 0, 0, 2]
    (found,) = faults(tmp_path, text.replace("2\n", "-2\n"))
    assert "'p_fake' is not the sigmoid of its 'logit': row 4 0.880797, -2" in found


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Empty CSV file"),
        (b"video,p_fake\n", "holds no row"),
        (b"\x00\x01\x02", "'p_fake'|cannot read"),
        (b"video,p_fake\n\xff\xfe,1\n", "line 2 is not UTF-8"),
        (b"video;p_fake\na;0,5\n", "separate them by commas"),
        (b"video,p_fake,p_fake\na,1,1\n", "'p_fake' comes 2 times"),
        (b"name,p_fake\na,1\n", "column 'video' is missing; the file has 'name', 'p_fake'"),
        (b"a,b\n", "column 'video' is missing"),
        (b"video,p_fake\na,1,2\nb,1\nc,1,2,3\n", "the 2 of the header: row 1 3, row 3 4"),
    ],
)
def test_what_is_no_table(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "s.csv"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_submission(path)
    said = [str(caught.value), *map(str, getattr(caught.value, "faults", ()))]
    assert any(re.search(message, line) for line in said), said
    assert str(path) in said[0]


def test_what_is_no_parquet(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"x\.parquet: cannot read scores: no such file"):
        read_submission(tmp_path / "x.parquet")
    (tmp_path / "s.csv.gz").write_bytes(gzip.compress(GOOD.encode()))  # may unpack to anything
    with pytest.raises(UserError, match=r"s\.csv\.gz: cannot read scores: .*must be CSV"):
        read_submission(tmp_path / "s.csv.gz")
    (tmp_path / "s.pkl").write_bytes(b"\x80\x04N.")  # a pickle is never opened as one
    with pytest.raises(UserError, match=r"s\.pkl: cannot read scores: .*must be CSV"):
        read_submission(tmp_path / "s.pkl")
    pq.write_table(pa.table({"video": [1, 2], "p_fake": [[0.5], [0.5]]}), tmp_path / "t.parquet")
    with pytest.raises(SubmissionError) as caught:
        read_submission(tmp_path / "t.parquet")
    assert [str(f) for f in caught.value.faults] == [
        "column 'video' holds int64, not text",
        "column 'p_fake' holds list<element: double>, not numbers",
    ]


def test_hostile_text_is_shown_on_one_line_and_cut(tmp_path: Path) -> None:
    long = "x" * 5000
    (first, *_) = faults(tmp_path, f'video,p_fake\n"a\nb\x1b[31m",0.5\n{long},0.5\n')
    assert "\\x1b[31m" in first
    assert len(first) < 500


def test_a_file_that_says_it_holds_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = 100_000
    columns = {"video": pa.array(["a"] * rows).dictionary_encode(), "p_fake": np.zeros(rows)}
    pq.write_table(pa.table(columns), tmp_path / "s.parquet")  # a few hundred bytes
    monkeypatch.setattr(checks, "MOST_ROWS", rows - 1)
    with pytest.raises(UserError, match="100,000 rows"):
        read_submission(tmp_path / "s.parquet")
    monkeypatch.setattr(checks, "MOST_BYTES", 10)
    (tmp_path / "s.csv").write_text(GOOD)
    with pytest.raises(UserError, match="bytes; at most"):
        read_submission(tmp_path / "s.csv")


def test_a_parquet_file_that_would_end_the_process(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    pq.write_table(pa.table({"video": ["a"], "label": [1], "p_fake": [0.5]}), path)
    # It says that the column holds no nulls, and yet counts them.
    head, _, tail = path.read_bytes().partition(b"%\x02\x18\x06p_fake")
    path.write_bytes(head + b"%\x00\x18\x06p_fake" + tail)
    for read in (read_submission, read_scores):
        with pytest.raises(UserError, match="cannot read scores: Definition level"):
            read(path)


def test_a_parquet_file_whose_rows_name_a_value_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    rows = {"video": ["a"] * 10, "frame": [*range(10)], "label": [1] * 10, "p_fake": [0.5] * 10}
    pq.write_table(pa.table(rows), path, compression="none", use_dictionary=["video"])
    # In a byte each, ten times the first value; it becomes the second one.
    head, found, tail = path.read_bytes().partition(b"\x01\x14\x00")
    assert found
    path.write_bytes(head + b"\x01\x14\x01" + tail)
    for read in (read_submission, read_scores):
        with pytest.raises(UserError, match=r"cannot read scores: .*out of bounds"):
            read(path)


def test_whole_numbers_that_no_float_holds(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    pq.write_table(pa.table({"video": ["a"], "label": [2**54 + 1], "p_fake": [0.5]}), path)
    with pytest.raises(SubmissionError) as caught:
        labelled(path, read_submission(path), dataset="mine", split="val")
    assert "label" in str(caught.value.faults[0])


def test_scores_with_labels_of_a_dataset_that_is_not_here(tmp_path: Path) -> None:
    path = tmp_path / "val.csv"
    path.write_text("video,frame,label,logit\nx,0,0,-1\nx,1,0,-2\ny,0,1,1\n")
    table = labelled(path, read_submission(path), dataset="mine", split="val")
    assert (table.dataset.used(), table.split.used()) == (["mine"], ["val"])
    assert table.manipulation.tolist() == ["real", "real", "fake"]
    assert problems(table) == []
    path.write_text("video,frame,label,logit\nx,0,0,-1\nx,1,1,-2\ny,0,1,1\ny,0,1,1\n")
    with pytest.raises(SubmissionError) as caught:
        labelled(path, read_submission(path), dataset="mine", split="val")
    assert len(caught.value.faults) == 2
    path.write_text(GOOD)
    with pytest.raises(SubmissionError) as caught:
        labelled(path, read_submission(path), dataset="mine", split="val")
    assert "column 'label' is missing" in str(caught.value.faults[0])


def test_a_million_rows_are_read_at_once(tmp_path: Path) -> None:
    rows = 1_000_000
    frame = np.arange(rows, dtype=np.int32) // 4
    names = np.array(["real/a", "real/b", "Swap/a", "Swap/b"])
    columns = {"video": names[np.arange(rows) % 4], "frame": frame, "p_fake": frame / rows}
    path = tmp_path / "s.parquet"
    pq.write_table(pa.table(columns), path)
    start = time.perf_counter()
    table = match(path, read_submission(path), CLIPS)
    assert time.perf_counter() - start < 20  # about half a second, alone on two cores
    assert len(table) == rows
    assert (np.diff(table.frame) >= 0).sum() == rows - 4


def test_a_long_name_on_many_rows_takes_no_memory(tmp_path: Path) -> None:
    rows = 500_000  # of 100,000 letters each: 50 GB, were they unpacked
    for nulls in (False, True):
        codes = pa.array([0] * (rows - 1) + [None if nulls else 0], pa.int32())
        video = pa.DictionaryArray.from_arrays(codes, pa.array(["x" * 100_000]))
        path = tmp_path / "s.parquet"
        pq.write_table(pa.table({"video": video, "p_fake": np.zeros(rows)}), path)
        assert path.stat().st_size < 100_000
        handed = read_submission(path)
        assert len(handed.video.names) == 1 + nulls
        with pytest.raises(SubmissionError) as caught:
            match(path, handed, CLIPS)
        assert all(len(str(fault)) < 1000 for fault in caught.value.faults)
