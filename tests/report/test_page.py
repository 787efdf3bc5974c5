"""The leaderboard's page in a real browser: what it shows and does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.board import choose, few, grid, head, names, quiet, rows, status, write
from support.browser import Page
from support.cards import make_card

from dfbench.report.published import PublishedResult, published_folder, read_published
from dfbench.results.card import Audit, Metric


@pytest.mark.parametrize(("size", "cells"), [((0, 0, 0), 0), ((1, 1, 1), 1), ((10, 5, 6), 300)])
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280])
def test_renders(
    page: Page, tmp_path: Path, size: tuple[int, int, int], cells: int, dark: bool, width: int
) -> None:
    page.look(width=width, dark=dark)
    page.open(write(tmp_path, grid(*size), read_published(published_folder())))
    quiet(page)
    assert (
        page.js("document.querySelectorAll('#board td:not(.mean):not(.empty) button').length")
        == cells
    )
    assert ("dfbench run --train" in page.js("document.body.innerText")) == (cells == 0)
    assert page.js("document.documentElement.scrollWidth <= innerWidth")
    brightness = page.js(
        "(c => (c[0] + c[1] + c[2]) / 3)"
        "(getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number))"
    )
    assert (brightness < 60) == dark
    if cells:
        assert status(page).startswith(
            f"{size[0] * size[1]} of {size[0] * size[1]} rows; video AUC"
        )


def test_holds_no_address_and_loads_nothing(page: Page, tmp_path: Path) -> None:
    path = write(tmp_path, few(), read_published(published_folder()))
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"https?:|//[a-z0-9]+\.|url\(|@import|\ssrc=|<link|<iframe", text, re.I)
    assert set(re.findall(r'href="([^"]+)"', text)) == {
        *("#results", "leaderboard.csv", "published.csv", "README.md")
    }
    page.open(path)
    quiet(page)
    # The policy holds even for what would be injected.
    page.js("document.body.append(Object.assign(document.createElement('script'),"
            "{textContent: 'window.hacked = 1'}))")  # fmt: skip
    page.js("document.body.append(Object.assign(document.createElement('img'),"
            "{src: 'data:image/gif;base64,R0lGODlhAQABAAAAACw='}))")  # fmt: skip
    assert page.js("window.hacked") is None
    assert len(page.problems) == 2
    assert all("Content Security Policy" in problem for problem in page.problems)


def test_without_scripts_the_tables_show_the_same(page: Page, tmp_path: Path) -> None:
    path = write(tmp_path, few(), read_published(published_folder()))
    page.open(path)
    with_scripts = rows(page)
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    page.open(path)
    assert page.js("document.getElementById('controls').hidden")
    assert rows(page) == with_scripts
    assert page.js("document.querySelectorAll('#published tbody tr').length") > 100


def test_cells_show_value_interval_marks_and_reason(page: Page, tmp_path: Path) -> None:
    page.open(write(tmp_path, few()))
    found = {row[0]: row[1:] for row in rows(page)}
    assert found["meso4a"] == ["0.6101 dataset", "0.970†[0.890, 1.000]", "0.610[0.530, 0.690]"]
    assert found["leakya"] == ["-", "-", "0.990‡[0.910, 1.000]"]
    assert found["emptya"] == ["-", "-", "undefinedno real videos"]
    assert found["foreignscores handed innot known"][2] == "0.550§[0.470, 0.630]"
    classes = page.js(
        "Object.fromEntries([...document.querySelectorAll('#board td')]"
        ".map(c => [c.innerText.split('\\n')[0], c.className]))"
    )
    assert classes["0.970†"].split() == ["u9", "within"]
    assert classes["0.990‡"] == "leak"
    assert classes["0.720"].split() == ["u4", "best"]
    # Said, too, and not only by colour.
    hidden = page.js(
        "[...document.querySelectorAll('#board .leak .hidden')].map(e => e.textContent)"
    )
    assert hidden == ["; ‡ leak, no measure of generalisation: 2 videos; 2 test clips"]


@pytest.mark.parametrize("way", ["click", "Enter", " "])
def test_sorts(page: Page, tmp_path: Path, way: str) -> None:
    page.open(write(tmp_path, few()))

    def press(name: str) -> str:
        if way == "click":
            page.pointer(head(name), click=True)
        else:
            page.js(f"document.querySelector('{head(name)}').focus()")
            page.press(way)
        sort = f"document.querySelector('{head(name)}').closest('th').getAttribute('aria-sort')"
        return str(page.js(sort))

    column = page.js(
        "[...document.querySelectorAll('#board thead th')]"
        ".findIndex(h => h.innerText.startsWith('b')) - 2"
    )
    assert press(str(column)) == "descending"
    honest, others = (
        ["xceptiona", "meso4a", "foreignscores handed innot known"],
        ["leakya", "emptya", "meso4b"],
    )
    assert names(page) == honest + others  # what leaks and what is missing never comes first
    assert "sorted by b, best first" in status(page)
    assert press(str(column)) == "ascending"
    assert names(page) == honest[::-1] + others
    assert press("model") == "ascending"
    assert names(page)[:2] == ["emptya", "foreignscores handed innot known"]
    assert page.js("document.querySelectorAll('#board [aria-sort]').length") == 1
    assert press("mean") == "descending"
    assert names(page)[0] == "meso4b"
    quiet(page)


def test_low_is_best_where_it_is(page: Page, tmp_path: Path) -> None:
    page.open(write(tmp_path, few()))
    choose(page, "metric", "video_eer")
    page.pointer(head("mean"), click=True)
    assert "video EER, sorted by mean across, best first" in status(page)
    means = [row[1][:5] for row in rows(page) if row[1] != "-"]
    assert means == sorted(means)
    assert "0 is perfect" in page.js("document.getElementById('about').textContent")


def test_switches_metric_and_shows_why_one_is_undefined(page: Page, tmp_path: Path) -> None:
    page.open(write(tmp_path, few()))
    options = page.js("[...document.getElementById('metric').options].map(o => o.value)")
    assert options[:3] == ["video_auc", "video_auc_all", "frame_auc"]
    choose(page, "metric", "video_tpr_at_fpr_5pct")
    shown = [cell for row in rows(page) for cell in row[2:] if cell != "-"]
    assert len(shown) == 7
    assert all(cell.startswith("undefined") and "11 real videos" in cell for cell in shown)
    choose(page, "metric", "video_auc")
    assert any("0.970†" in cell for row in rows(page) for cell in row)
    quiet(page)


def test_filters(page: Page, tmp_path: Path) -> None:
    page.open(write(tmp_path, few()))
    choose(page, "train", "b")
    assert names(page) == ["meso4b"]
    assert status(page).startswith("1 of 6 rows")
    assert page.js("[...document.querySelectorAll('.group')].filter(g => !g.hidden).length") == 1
    choose(page, "find", "xcep")
    assert names(page) == []
    assert status(page).startswith("No row fits the filters")
    choose(page, "train", "")
    assert names(page) == ["xceptiona"]
    page.pointer("#clear", click=True)
    assert len(names(page)) == 6
    assert page.js("document.getElementById('find').value") == ""


def test_details_show_on_hover_on_focus_and_by_touch(page: Page, tmp_path: Path) -> None:
    page.open(write(tmp_path, few()))

    def tip() -> str:
        return str(page.js("(t => t.hidden ? '' : t.innerText)(document.getElementById('tip'))"))

    assert tip() == ""
    page.pointer("#board td.leak button")
    assert "leaky, trained on a" in tip()
    assert "95% bootstrap interval 0.910 to 1.000" in tip()
    assert "‡ leak, no measure of generalisation: 2 videos; 2 test clips" in tip()
    page.press("Escape")
    assert tip() == ""
    page.js("document.querySelector('#board td.within button').focus()")
    assert "† within-dataset" in tip()
    assert page.js("document.activeElement.getAttribute('aria-describedby')") == "tip"
    page.pointer("h1")  # what the focus shows stays when the pointer leaves the table
    assert "† within-dataset" in tip()
    page.pointer("#board td.none button", click=True)
    assert "undefined: no real videos" in tip()
    inside = page.js(
        "(r => r.left >= 0 && r.right <= innerWidth && r.top >= 0)"
        "(document.getElementById('tip').getBoundingClientRect())"
    )
    assert inside


def test_one_tab_stop_and_arrows_move_within(page: Page, tmp_path: Path) -> None:
    page.open(write(tmp_path, few()))
    assert page.js("document.querySelectorAll('#board td button[tabindex=\"0\"]').length") == 1
    page.js("document.querySelector('#board td button[tabindex=\"0\"]').focus()")
    here = "(c => [c.parentElement.rowIndex, c.cellIndex])(document.activeElement.closest('td'))"
    seen = [page.js(here)]
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp", "ArrowLeft"):
        page.press(key)
        seen.append(page.js(here))
    # Rows: xception, meso4, .. of training set a; columns: mean, a, b. Empty ones are passed over.
    assert seen == [[1, 1], [1, 3], [1, 3], [2, 3], [2, 2], [2, 2], [2, 1]]
    assert page.js("document.querySelectorAll('#board td button[tabindex=\"0\"]').length") == 1
    ring = page.js("getComputedStyle(document.activeElement).outlineStyle")
    assert ring == "solid"  # the focus is seen


HOSTILE = [
    "<script>window.hacked=1</script>",
    '"><img src=x onerror="window.hacked=1">',
    "</script><script>window.hacked=1</script>",
    "'-window.hacked-'",
    "${window.hacked=1} $title $$",
    "<!--",
    "a\u2028b\u202ec\x1b[31m",
    "&lt;b&gt;",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_text(page: Page, tmp_path: Path, name: str) -> None:
    audit = Audit(shared_videos=1, shared_identities=0, note=name)
    metric = Metric(value=None, reason=name)
    cards = [
        make_card(0.7, model=name, train=name, eval=name, protocol=name),
        make_card(0.6, model=name, train=name, eval="x", audit=audit, protocol=name),
        make_card(0.6, model=name, train=name, eval="y", metrics={"video_auc": metric}),
        make_card(0.6, model="m", train=name, eval="x", lr=0.5),
        make_card(0.6, model="m", train=name, eval="x"),
    ]
    published = PublishedResult(
        source=name, year=None, detector=name, train=name, eval=name, metric="auc",
        level="frame", value=0.5, protocol=name, note=name, checked=False,
    )  # fmt: skip
    page.open(write(tmp_path, cards, [published]))
    choose(page, "find", name[:3])
    choose(
        page,
        "published-source",
        page.js("document.getElementById('published-source').options[1].value"),
    )
    page.pointer(head("model"), click=True)
    choose(page, "find", "")
    page.pointer("#board td button")
    assert page.js("window.hacked") is None
    quiet(page)
    shown = "".join(c if c.isprintable() else " " for c in name)
    assert any(row[0].startswith(shown) for row in rows(page))
    assert page.js("document.querySelectorAll('img, script').length") == 2  # the page's own
    assert page.js("document.getElementById('tip').innerText").startswith(shown[:2])


def test_published_numbers_are_apart_and_filter(page: Page, tmp_path: Path) -> None:
    page.open(write(tmp_path, few(), read_published(published_folder())))
    assert page.js("document.querySelector('#published details').open") is False
    page.pointer("#published summary", click=True)
    assert page.js("document.querySelector('#published details').open")
    shown = (
        "[...document.querySelectorAll('#published .source')].filter(s => !s.hidden)"
        ".map(s => s.dataset.source)"
    )
    assert len(page.js(shown)) == 6  # of 9 sources, those with an AUC
    choose(page, "published-metric", "accuracy")
    assert any("Govi" in name for name in page.js(shown))
    choose(page, "published-source", next(name for name in page.js(shown) if "Govi" in name))
    assert len(page.js(shown)) == 1
    choose(page, "published-find", "midway")
    rows_of = (
        "[...document.querySelectorAll('#published tbody tr')].filter(r => r.offsetParent)"
        ".map(r => r.cells[0].innerText)"
    )
    found = page.js(rows_of)
    assert len(found) == 4  # of its nine settings
    assert all("Midway" in name for name in found)
    text = page.js("document.getElementById('published').innerText")
    assert "Mismatch: frames counted, not videos" in text
    # None of them stands among our results.
    assert not any("SPSL" in name for name in names(page))
