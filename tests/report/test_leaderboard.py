from __future__ import annotations

import csv
import io
import random
import re
import shutil
import urllib.parse
from pathlib import Path

import pytest
from PIL import Image
from support.cards import make_card

from dfbench.report.leaderboard import leaderboard_csv, write_leaderboard
from dfbench.report.published import published_folder, read_published
from dfbench.results.card import Audit, Calibration, Metric, OracleGap, ResultCard, card_name
from dfbench.results.store import StoredCard, write_card

AUCS = {("a", "a"): 0.99, ("a", "b"): 0.71, ("b", "a"): 0.64, ("b", "b"): 0.98}


def stored(root: Path, cards: list[ResultCard]) -> list[StoredCard]:
    found = []
    for card in cards:
        path = root / "runs" / f"of {card.cell.train}" / card_name(card.cell)
        write_card(card, path)
        found.append(StoredCard(path, card))
    return found


def square(**changes: object) -> list[ResultCard]:
    return [
        make_card(auc, train=train, eval=evaluated, **changes)  # type: ignore[arg-type]
        for (train, evaluated), auc in AUCS.items()
    ]


def test_writes_page_csv_and_picture(tmp_path: Path) -> None:
    paths = write_leaderboard(stored(tmp_path, square()), tmp_path / "deep" / "out")
    names = ["README.md", "index.html", "leaderboard.csv", "published.csv", "matrix.png"]
    assert [path.name for path in paths] == names
    assert sorted(paths) == sorted((tmp_path / "deep" / "out").iterdir())  # nothing temporary
    assert paths[0].read_text().startswith("# Cross-dataset leaderboard\n")
    with Image.open(paths[-1]) as image:
        image.verify()


def test_the_page_depends_on_the_cards_alone(tmp_path: Path) -> None:
    cards = stored(tmp_path, square())
    first = [p.read_bytes() for p in write_leaderboard(cards, tmp_path / "out")]
    random.Random(0).shuffle(cards)
    assert [p.read_bytes() for p in write_leaderboard(cards, tmp_path / "out")] == first


def test_links_lead_to_files(tmp_path: Path) -> None:
    page, *_ = write_leaderboard(stored(tmp_path, square()), tmp_path / "some" / "out")
    links = re.findall(r"\]\(([^)]+)\)", page.read_text())
    assert len(links) == 5
    for link in links:
        assert (page.parent / urllib.parse.unquote(link)).is_file(), link


def test_csv_holds_full_precision(tmp_path: Path) -> None:
    text = leaderboard_csv(stored(tmp_path, [make_card(2 / 3), make_card(None, seed=1)]), tmp_path)
    one, two = csv.DictReader(io.StringIO(text))
    assert float(one["video_auc"]) == 2 / 3
    assert float(one["video_auc_low"]) == 2 / 3 - 0.08
    assert (two["video_auc"], two["video_auc_reason"]) == ("", "no real videos")
    assert (one["fake_clips"], one["fake_clips_with_crops"]) == ("15", "14")
    assert (one["role"], one["protocol"], one["seed"]) == ("across", "", "0")


def test_csv_says_what_is_shared(tmp_path: Path) -> None:
    audit = Audit(shared_videos=0, shared_identities=2, near_duplicates=1, clips=5, allowed=True)
    text = leaderboard_csv(stored(tmp_path, [make_card(0.7, audit=audit)]), tmp_path)
    (row,) = csv.DictReader(io.StringIO(text))
    counts = [row[name] for name in ("shared_identities", "near_duplicates", "shared_footage")]
    assert counts == ["2", "1", "0"]
    assert (row["overlapping_clips"], row["leak_allowed"]) == ("5", "True")


def test_csv_reads_back_whatever_the_names(tmp_path: Path) -> None:
    name = 'folder:/a,"b"\n;\tc'
    text = leaderboard_csv(stored(tmp_path, [make_card(0.7, train=name)]), tmp_path)
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert row["train"] == name
    assert (tmp_path / row["card"]).is_file()
    assert {"video_auc", "video_eer", "frame_auc_reason"} <= set(row)
    assert None not in row
    assert None not in row.values()


def test_a_second_leaderboard_replaces_the_first(tmp_path: Path) -> None:
    write_leaderboard(stored(tmp_path, square()), tmp_path / "out")
    page, _, rows, *_ = write_leaderboard(stored(tmp_path, [make_card(0.7)]), tmp_path / "out")
    assert "1 result card;" in page.read_text()
    assert len(rows.read_text().splitlines()) == 2


def test_without_cards_the_pages_say_how_to_get_some(tmp_path: Path) -> None:
    write_leaderboard(stored(tmp_path, square()), tmp_path / "out")
    paths = write_leaderboard([], tmp_path / "out")
    assert sorted(paths) == sorted((tmp_path / "out").iterdir())  # the picture is gone
    page, html, rows, *_ = (path.read_text() for path in paths)
    assert "dfbench run --train" in page
    assert "dfbench run --train" in html
    assert len(rows.splitlines()) == 1


HOSTILE = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("x")')


@pytest.mark.parametrize("name", HOSTILE)
def test_csv_has_no_formula(tmp_path: Path, name: str) -> None:
    metrics = {"video_auc": Metric(value=0.7, n=3, reason=name), name: Metric(value=-1.0)}
    card = make_card(0.7, model=name, train=name, protocol=name, metrics=metrics)
    text = leaderboard_csv([StoredCard(tmp_path / "x.card.json", card)], tmp_path)
    head, row = csv.reader(io.StringIO(text, newline=""))
    named = dict(zip(head, row, strict=True))
    assert not any(cell.startswith(("=", "+", "@", "\t", "\r")) for cell in (*head, *row))
    for column in ("model", "train", "protocol", "video_auc_reason"):
        assert named[column] == f"'{name}".replace("\r", " ")
    assert named[f"'{name}".replace("\r", " ")] == "-1.0"  # a number stays one


def test_csv_names_origin_and_choices(tmp_path: Path) -> None:
    calibration = Calibration(threshold=0.31, temperature=1.5, videos=20)
    oracle = OracleGap(epoch=3, video_auc=0.8, gain=0.1, epochs=6)
    cards = [make_card(0.7, calibration=calibration, oracle=oracle)]
    cards.append(make_card(0.6, model="other", train="", origin="scores", audit=None))
    own, other = csv.DictReader(io.StringIO(leaderboard_csv(stored(tmp_path, cards), tmp_path)))
    assert (own["origin"], own["threshold"], own["temperature"]) == ("run", "0.31", "1.5")
    assert (own["oracle_epoch"], own["oracle_gain"]) == ("3", "0.1")
    assert (other["origin"], other["role"], other["shared_videos"]) == ("scores", "unknown", "")


def test_published_numbers_have_a_file_of_their_own(tmp_path: Path) -> None:
    published = read_published(published_folder())
    paths = write_leaderboard(stored(tmp_path, square()), tmp_path / "out", (), published)
    folder = tmp_path / "again"
    folder.mkdir()
    shutil.copy(paths[3], folder / "published.csv")
    assert read_published(folder) == published
    assert "DeepfakeBench" not in paths[2].read_text()
