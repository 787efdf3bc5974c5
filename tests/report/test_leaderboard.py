from __future__ import annotations

import csv
import io
import random
import re
import urllib.parse
from pathlib import Path

import pytest
from PIL import Image
from support.cards import make_card

from dfbench.errors import UserError
from dfbench.report.leaderboard import leaderboard_csv, write_leaderboard
from dfbench.report.markdown import METRICS
from dfbench.results.card import Audit, ResultCard, card_name
from dfbench.results.store import StoredCard, write_card
from dfbench.workflow.pages import leaderboard

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
    assert [path.name for path in paths] == ["README.md", "leaderboard.csv", "matrix.png"]
    assert sorted(paths) == sorted((tmp_path / "deep" / "out").iterdir())  # nothing temporary
    assert paths[0].read_text().startswith("# Cross-dataset leaderboard\n")
    with Image.open(paths[2]) as image:
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
    assert set(METRICS) <= set(row)
    assert None not in row
    assert None not in row.values()


def test_a_second_leaderboard_replaces_the_first(tmp_path: Path) -> None:
    write_leaderboard(stored(tmp_path, square()), tmp_path / "out")
    page, rows, _ = write_leaderboard(stored(tmp_path, [make_card(0.7)]), tmp_path / "out")
    assert "1 result card;" in page.read_text()
    assert len(rows.read_text().splitlines()) == 2


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no result card"):
        leaderboard([tmp_path], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_cards(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least one result card"):
        write_leaderboard([], tmp_path)
