"""Pages of the leaderboard for tests, and what is seen of them in a browser."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

from support.browser import Page
from support.cards import make_card

from dfbench.eval.standings import ScoredCard, standings
from dfbench.report.page.build import leaderboard_html
from dfbench.report.published import PublishedResult
from dfbench.results.card import Audit, Metric, ResultCard

LEAK = Audit(shared_videos=2, shared_identities=0, clips=2)


def write(
    tmp_path: Path, cards: Sequence[ResultCard], published: Sequence[PublishedResult] = ()
) -> Path:
    groups = standings([ScoredCard(card, None) for card in cards])
    path = tmp_path / "index.html"
    path.write_text(leaderboard_html(cards, groups, published), encoding="utf-8")
    return path


def grid(models: int, trains: int, evals: int) -> list[ResultCard]:
    places = itertools.product(range(models), range(trains), range(evals))
    return [
        make_card(0.4 + 0.05 * ((3 * m + t + 2 * e) % 12), model=f"model_{m}", train=f"set_{t}",
                  eval=f"set_{e}")
        for m, t, e in places
    ]  # fmt: skip


def few() -> list[ResultCard]:
    """Two detectors of two training sets; one cell leaks, one is undefined, one is missing."""
    cards = [
        make_card(0.61, model="meso4", train="a", eval="b"),
        make_card(0.72, model="xception", train="a", eval="b"),
        make_card(0.97, model="meso4", train="a", eval="a"),
        make_card(0.99, model="leaky", train="a", eval="b", audit=LEAK),
        make_card(None, model="empty", train="a", eval="b"),
        make_card(0.83, model="meso4", train="b", eval="a"),
        make_card(0.55, model="foreign", train="", eval="b", origin="scores", audit=None),
    ]
    reason = "11 real videos are fewer than the 20 that a false-positive rate of 5% needs"
    for k, card in enumerate(cards):
        rate = Metric(value=0.2 + k / 100, low=0.1, high=0.4, n=28)
        tpr = Metric(value=None, n=28, reason=reason)
        metrics = {**card.metrics, "video_eer": rate, "video_tpr_at_fpr_5pct": tpr}
        cards[k] = dataclasses.replace(card, metrics=metrics)
    return cards


def rows(page: Page) -> list[list[str]]:
    """Return what is seen of the shown rows, cell by cell."""
    found: list[list[str]] = page.js(
        """[...document.querySelectorAll('#board tbody tr')].filter(r => !r.hidden).map(r =>
        [...r.cells].map(c => { const d = c.cloneNode(true);
          d.querySelectorAll('.hidden').forEach(h => h.remove());
          return d.textContent }))"""
    )
    return found


def names(page: Page) -> list[str]:
    return [row[0] for row in rows(page)]


def choose(page: Page, element: str, value: str) -> None:
    """Set a control as a user does."""
    page.js(
        f"(e => {{ e.value = {json.dumps(value)};"
        "e.dispatchEvent(new Event('input', {bubbles: true})) })"
        f"(document.getElementById('{element}'))"
    )


def status(page: Page) -> str:
    return str(page.js("document.getElementById('status').textContent"))


def head(name: str) -> str:
    return f'#board thead button[data-sort="{name}"]'


def quiet(page: Page) -> None:
    assert page.problems == []
    assert page.requests == []
