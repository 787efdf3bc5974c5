"""A report's page in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from report.test_page_look import CONTRAST
from support.browser import Page
from support.evals import make_scores, write_evaluation

from dfbench.workflow.report import report

HOSTILE = "<script>window.hit = 1</script><img src=x onerror='window.hit = 1'>$x^2$"


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("run")
    table = make_scores(dataset=HOSTILE, fakes={HOSTILE: 20, "other": 20}, undetected=1)
    write_evaluation(
        run / "evals" / "x", table, val=make_scores(seed=2), model=HOSTILE, eval=HOSTILE,
        warnings=(HOSTILE,),
    )  # fmt: skip
    return report(run, data_dir=Path("/nonexistent"))[0]


@pytest.mark.parametrize("dark", [False, True])
def test_the_page_breaks_no_rule_and_is_read_in_light_and_dark(
    page: Page, html: Path, dark: bool
) -> None:
    page.look(dark=dark)
    page.open(html)
    assert page.problems == []
    assert page.requests == []
    assert page.js("window.hit === undefined")
    page.js("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.js(CONTRAST) == []
    # Text of figures stands on the paper.
    assert page.js("document.querySelectorAll('svg text').length") > 100
    page.js(
        "document.querySelectorAll('svg text').forEach(t => {"
        "const p = document.createElement('p'); p.textContent = t.textContent;"
        "p.style.color = getComputedStyle(t).fill; document.body.append(p) })"
    )
    assert page.js(CONTRAST) == []


def test_figures_are_drawn_once_they_are_in_the_page(page: Page, html: Path) -> None:
    page.open(html)
    # What refers to an id of its own figure is drawn: markers and what is cut to the axes.
    assert page.js(
        "[...document.querySelectorAll('svg use')].every(u =>"
        "u.closest('svg').querySelector(u.getAttribute('href')))"
    )
    assert page.js(
        "[...document.querySelectorAll('svg')].every(s => {"
        "const r = s.getBoundingClientRect(); return r.width > 200 && r.height > 80 })"
    )


def test_on_a_phone_nothing_is_wider_than_the_page(page: Page, html: Path) -> None:
    page.look(width=390, height=844)
    page.open(html)
    assert page.js("document.documentElement.scrollWidth") == 390
    assert page.js(
        "[...document.querySelectorAll('figure, .warnings')].every(e =>"
        "e.getBoundingClientRect().right <= 390)"
    )
    smallest = page.js(
        "Math.min(...[...document.querySelectorAll('svg text')].map(t => {"
        "const m = t.getScreenCTM();"
        "return parseFloat(getComputedStyle(t).fontSize) * Math.hypot(m.a, m.b) }))"
    )
    assert smallest > 8  # px
