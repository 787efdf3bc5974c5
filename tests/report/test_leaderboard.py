from __future__ import annotations

import csv
import io
import itertools
import random
import re
import urllib.parse
from pathlib import Path

import cv2
import pytest
from support.cards import make_card

from dfbench.errors import UserError
from dfbench.report.leaderboard import leaderboard_csv, write_leaderboard
from dfbench.report.markdown import escape
from dfbench.results.card import ResultCard, card_name
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


def table_rows(page: str, title: str) -> list[list[str]]:
    section = page.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]


def test_writes_page_csv_and_picture(tmp_path: Path) -> None:
    cards = [*square(), *square(model="xception", created="2026-11-21T09:00:00Z")]
    paths = write_leaderboard(stored(tmp_path, cards), tmp_path / "out")
    assert [path.name for path in paths] == ["README.md", "leaderboard.csv", "matrix.png"]
    page = paths[0].read_text()
    head, _, *rows = table_rows(page, "Video AUC")
    assert [cell.strip() for cell in head] == ["model", "trained on", "a", "b"]
    assert len(rows) == 4
    by_name = {(row[0].strip(), row[1].strip()): row for row in rows}
    assert "0.990†" in by_name["meso4", "a"][2]
    assert "**0.710**" in by_name["meso4", "a"][3]
    assert "**" not in by_name["meso4", "b"][3]  # within-dataset
    assert all(len(row) == len(head) for row in rows)


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


def test_provenance_and_coverage_are_on_the_page(tmp_path: Path) -> None:
    page, *_ = write_leaderboard(stored(tmp_path, square(protocol="demo-1")), tmp_path / "out")
    text = page.read_text()
    for fact in ("demo-1", "0123456789", "uncommitted changes", "mediapipe\\_full", "8 x cpu"):
        assert fact in text
    assert "fake 14/15 (no face found: 1)" in text
    assert "95% bootstrap interval" in text


def test_csv_holds_full_precision(tmp_path: Path) -> None:
    text = leaderboard_csv(stored(tmp_path, [make_card(2 / 3), make_card(None, seed=1)]), tmp_path)
    one, two = csv.DictReader(io.StringIO(text))
    assert float(one["video_auc"]) == 2 / 3
    assert (two["video_auc"], two["video_auc_reason"]) == ("", "no real videos")
    assert (one["fake_clips"], one["fake_clips_with_crops"]) == ("15", "14")


def test_names_cannot_break_the_page(tmp_path: Path) -> None:
    nasty = "folder:/a|b`*_<script>[x](y)\n# c"
    cards = [make_card(0.7, model="m|*x*", train=nasty, eval=nasty + "2")]
    page, *_ = write_leaderboard(stored(tmp_path, cards), tmp_path / "out")
    text = page.read_text()
    assert "<script>" not in text
    assert not re.search(r"^# c", text, re.MULTILINE)
    for title in ("Video AUC", "All metrics", "Provenance"):
        head, _, *rows = table_rows(text, title)
        assert {len(row) for row in rows} == {len(head)}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("a_b*c", "a\\_b\\*c"),
        ("a|b", "a\\|b"),
        ("<b>&", "&lt;b&gt;&amp;"),
        ("# title", "\\# title"),
        ("1. item", "1\\. item"),
        ("two\nlines", "two lines"),
        ("back\\slash", "back\\\\slash"),
    ],
)
def test_escape(text: str, shown: str) -> None:
    assert escape(text) == shown


@pytest.mark.parametrize(("models", "datasets"), [(1, 1), (2, 12)])
def test_pictures_of_any_shape_have_sane_sizes(tmp_path: Path, models: int, datasets: int) -> None:
    names = [f"a_dataset_with_a_long_name_{k}" for k in range(datasets)]
    cards = [
        make_card(0.5 + 0.04 * k, model=f"model_{m}", train=names[0], eval=name)
        for m, (k, name) in itertools.product(range(models), enumerate(names))
    ]
    *_, picture = write_leaderboard(stored(tmp_path, cards), tmp_path / "out")
    image = cv2.imread(str(picture))
    height, width = image.shape[:2]
    assert 200 < width < 4000
    assert 150 < height < 2000
    border = [image[0], image[-1], image[:, 0], image[:, -1]]
    assert all((edge == 255).all() for edge in border), "something is cut off at the border"


def test_no_cards(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least one result card"):
        write_leaderboard([], tmp_path)
