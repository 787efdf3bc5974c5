from __future__ import annotations

from pathlib import Path

import pytest

from dfbench.errors import UserError
from dfbench.report.published import (
    COLUMNS,
    published_folder,
    published_tables,
    read_published,
    value_notes,
)

ROW = {
    "source": "Someone 2020",
    "year": "2020",
    "detector": "net",
    "train": "a",
    "eval": "b",
    "metric": "auc",
    "level": "frame",
    "value": "0.5",
    "protocol": "as it was",
    "note": "",
    "checked": "yes",
    "system": "",
}


def folder_of(tmp_path: Path, *rows: dict[str, str], head: str = ",".join(COLUMNS)) -> Path:
    lines = [head, *(",".join(({**ROW, **row})[name] for name in COLUMNS) for row in rows)]
    (tmp_path / "x.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_shipped_numbers_are_valid_and_say_how_they_were_made() -> None:
    found = read_published(published_folder())
    by_source = {one.source: one for one in found}
    assert len(by_source) == 9
    assert all(one.protocol and one.level for one in found)
    assert {one.metric for one in found} == {"auc", "accuracy", "log_loss", "map"}
    # Nobody's checkpoint was chosen on test data without a word.
    (bench,) = [one for name, one in by_source.items() if "DeepfakeBench" in name]
    assert "3 best results on each test set" in bench.protocol
    assert bench.level == "frame"
    values = {(one.detector, one.eval): one.value for one in found if "DeepfakeBench" in one.source}
    assert values["SPSL", "celebdf"] - values["Xception", "celebdf"] == pytest.approx(0.0285)
    unsure = [one for one in found if not one.checked]
    assert all(one.note for one in unsure)
    assert {one.source.split()[0] for one in unsure} == {"Li", "Otto"}


def test_numbers_are_those_of_the_reference(shared_dir: Path) -> None:
    import csv

    found = {
        (o.detector, o.train, o.eval, o.metric): o.value for o in read_published(published_folder())
    }
    with (shared_dir / "reference" / "otto2020_cross_dataset.csv").open() as file:
        rows = list(csv.DictReader(file))
    trains = {"CelebDF": "celebdf", "DF-TIMIT-HQ": "dftimit/hq", "DF-TIMIT-LQ": "dftimit/lq"}
    for row in rows:
        train = trains.get(row["trained_on"], row["trained_on"].lower())
        detector = row["detector"].removesuffix(f"_{row['trained_on']}")
        place = detector, train, row["test_set"].replace("dftimit_", "dftimit/")
        assert found[*place, "auc"] == pytest.approx(float(row["auc"]) / 100)
        assert found[*place, "accuracy"] == pytest.approx(float(row["acc"]) / 100)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"value": "93.5"}, r"x.csv: row 2, column 'value': '93.5' must be a fraction from 0 to 1"),
        ({"value": "nan"}, "column 'value': 'nan' must be a fraction"),
        ({"value": "0,5"}, "13 values for 12 columns"),
        ({"value": "high"}, "column 'value': 'high' is not a number"),
        ({"metric": "acuracy"}, "did you mean 'accuracy'"),
        ({"level": "image"}, "column 'level': 'image' is none of video, frame, unknown"),
        ({"year": "20"}, "column 'year': '20' is no year"),
        ({"system": "mine"}, "column 'system': 'mine' is no protocol/system"),
        ({"checked": "maybe"}, "column 'checked': 'maybe' is none of yes, no"),
        ({"source": " "}, "column 'source': '' must not be empty"),
        ({"metric": "log_loss", "value": "inf"}, "column 'value'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_published(folder_of(tmp_path, change))


def test_row_number_is_that_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="row 4, column 'value'"):
        read_published(folder_of(tmp_path, {}, {"eval": "c"}, {"value": "2"}))


def test_other_columns_and_other_bytes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="row 1: the columns must be source,year"):
        read_published(folder_of(tmp_path, {}, head="source,value"))
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="cannot read as CSV in UTF-8"):
        read_published(tmp_path)


def test_log_loss_may_be_large_and_a_year_unknown(tmp_path: Path) -> None:
    (one,) = read_published(
        folder_of(tmp_path, {"metric": "log_loss", "value": "18.4", "year": ""})
    )
    assert (one.value, one.year) == (18.4, None)


def test_no_folder_holds_no_number(tmp_path: Path) -> None:
    assert read_published(tmp_path / "nowhere") == ()


def test_tables_keep_two_numbers_of_one_place(tmp_path: Path) -> None:
    rows = [{"value": "0.5"}, {"value": "0.6", "note": "again"}, {"eval": "a", "value": "0.9"}]
    (table,) = published_tables(read_published(folder_of(tmp_path, *rows)))
    assert table.columns == ("b", "a")
    assert sorted(one.value for one in table.values.values()) == [0.5, 0.6, 0.9]
    assert table.values[0, 1].within
    assert value_notes(table) == ["again: net on b"]
    assert table.warning == "frames counted, not videos; as it was"


def test_what_could_not_be_checked_is_said(tmp_path: Path) -> None:
    rows = [{"checked": "no"}, {"eval": "c", "note": "x"}]
    (table,) = published_tables(read_published(folder_of(tmp_path, *rows)))
    assert value_notes(table) == ["?: could not be checked: net on b", "x: net on c"]
