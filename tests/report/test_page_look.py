"""The leaderboard's page in a real browser: how it looks, and how it is read aloud."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
from support.board import few, grid, write
from support.browser import Page
from support.cards import make_card

from dfbench.report.published import published_folder, read_published


def test_theme_is_chosen_kept_and_stronger_than_the_system(page: Page, tmp_path: Path) -> None:
    path = write(tmp_path, few())
    page.open(path)
    colour = "getComputedStyle(document.body).backgroundColor"
    light = page.js(colour)
    page.pointer("#theme", click=True)
    assert page.js("document.getElementById('theme').textContent") == "Theme: light"
    page.pointer("#theme", click=True)
    assert page.js(colour) != light
    page.open(path)
    assert page.js(colour) != light
    page.pointer("#theme", click=True)
    assert page.js("document.getElementById('theme').textContent") == "Theme: system"
    assert page.js(colour) == light


CONTRAST = """(() => {  // of every text with what it stands on (WCAG 2.2)
  const pen = Object.assign(document.createElement('canvas'), {width: 1, height: 1})
    .getContext('2d', {willReadFrequently: true});
  const rgb = (colour) => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data];
  };
  const light = (colour) => {
    const [r, g, b] = colour.map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const below = (e) => {
    for (; e; e = e.parentElement) {
      const style = getComputedStyle(e);
      const stripes = style.backgroundImage.match(/(rgb|oklab|color)\\([^)]*\\)/g);
      if (stripes) return stripes.map(rgb);
      const colour = rgb(style.backgroundColor);
      if (colour[3] > 250) return [colour];
    }
    return [[255, 255, 255]];
  };
  const bad = [];
  for (const e of document.querySelectorAll('body *')) {
    if (!e.offsetParent || e.closest('.hidden, option, svg')) continue;
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    const ink = light(rgb(getComputedStyle(e).color));
    for (const paper of below(e).map(light)) {
      const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
      if (ratio < 4.5) bad.push([e.tagName, e.className, e.textContent.slice(0, 30), ratio]);
    }
  }
  return bad;
})()"""


@pytest.mark.parametrize("dark", [False, True])
def test_text_has_contrast_everywhere(page: Page, tmp_path: Path, dark: bool) -> None:
    page.look(dark=dark)
    ramp = [make_card(k / 20, model=f"m{k}", train="a", eval="b") for k in range(21)]
    page.open(write(tmp_path, [*few(), *ramp], read_published(published_folder())))
    page.js("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.js(CONTRAST) == []


def test_on_a_phone_the_matrix_scrolls_in_its_box(page: Page, tmp_path: Path) -> None:
    page.look(width=390, height=844)
    page.open(write(tmp_path, grid(4, 2, 8)))
    box: dict[str, Any] = page.js(
        "(() => { const b = document.querySelector('.board');"
        "b.scrollLeft = 300; b.scrollTop = 200;"
        "const left = b.getBoundingClientRect().left;"
        "const first = b.querySelector('tbody th').getBoundingClientRect().left;"
        "const head = b.querySelector('thead th:nth-child(3)').getBoundingClientRect().top;"
        "return {wide: b.scrollWidth > b.clientWidth, moved: b.scrollLeft, first: first - left,"
        "head: head - b.getBoundingClientRect().top,"
        "body: document.documentElement.scrollWidth} })()"
    )
    assert box["wide"]
    assert box["moved"] == 300
    assert abs(box["first"]) < 2  # the names stay
    assert abs(box["head"]) < 3  # and the heads
    assert box["body"] == 390


def test_structure_for_screen_readers(page: Page, tmp_path: Path) -> None:
    page.open(write(tmp_path, few(), read_published(published_folder())))
    assert page.js("document.documentElement.lang") == "en"
    assert page.js(
        "[...document.querySelectorAll('table')].every(t =>"
        "t.querySelector('th[scope=col]') && t.querySelector('th[scope=row]'))"
    )
    assert page.js("document.getElementById('status').getAttribute('aria-live')") == "polite"
    assert page.js(
        "[...document.querySelectorAll('select, input')].every(e => e.labels.length === 1)"
    )
    assert page.js("[...document.querySelectorAll('button')].every(e => e.textContent.trim())")
    assert page.js(
        "[...document.querySelectorAll('.scroll')].every(e =>"
        "e.tabIndex === 0 && e.role === 'region'"
        "&& (e.ariaLabel || e.getAttribute('aria-labelledby')))"
    )
    levels = page.js("[...document.querySelectorAll('h1, h2, h3')].map(h => Number(h.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_the_script_makes_no_markup_from_text() -> None:
    import dfbench.report.page as package

    script = (Path(package.__path__[0]) / "script.js").read_text(encoding="utf-8")
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|Function\(", script
    )
