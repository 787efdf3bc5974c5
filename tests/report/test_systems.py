"""Systems of published projects, with what was found here beside their numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from support.cards import make_card

from dfbench.protocols import read_protocol, shipped
from dfbench.report.markdown import leaderboard_markdown
from dfbench.report.page.build import leaderboard_html
from dfbench.report.published import PublishedResult, published_folder, read_published
from dfbench.report.systems import NOT_RUN, system_rows
from dfbench.results.card import Metric, ResultCard
from dfbench.results.store import StoredCard


def published(system: str, metric: str = "auc", value: float = 0.64) -> PublishedResult:
    return PublishedResult(
        source="lab", year=2021, detector="net", train="their uadfv", eval="their celebdf",
        metric=metric, level="frame", value=value, protocol="frames", note="", checked=True,
        system=system,
    )  # fmt: skip


def card(system: str, protocol: str | None, value: float, seed: int = 0) -> ResultCard:
    lr = len(protocol or "") * 1e-3  # other protocols have other settings
    made = make_card(value, train="uadfv", eval="celebdf", seed=seed, lr=lr)
    low, high = value - 0.1, value + 0.1
    metrics = {**made.metrics, "frame_auc": Metric(value=value, low=low, high=high, n=20)}
    config = {**made.config, "system": system}
    return replace(made, protocol=protocol, config=config, metrics=metrics)


def test_numbers_of_a_system_are_side_by_side() -> None:
    numbers = [published("lab/svm"), published("lab/mlp", value=0.7), published("other/svm")]
    found = [card("svm", "lab-1", 0.55), card("svm", "lab-2 (rehearsal)", 0.5)]
    rows = system_rows(found, numbers)
    assert [(row.protocol, row.system) for row in rows] == [("lab", "svm"), ("lab", "mlp")]
    assert rows[0].published == ("AUC 0.640, their uadfv → their celebdf (frames)",)
    assert len(rows[0].here) == 2
    assert "AUC 0.550" in rows[0].here[0]
    assert "0.450" in rows[0].here[0]
    assert rows[0].here[1].endswith("uadfv → celebdf (frames, rehearsal)")
    assert rows[1].here == (NOT_RUN,)


def test_seeds_are_taken_together_and_other_cards_left_out() -> None:
    numbers = [published("lab/svm"), published("lab/svm", metric="map")]
    found = [card("svm", "lab-1", 0.5), card("svm", "lab-1", 0.7, seed=1), card("svm", None, 0.9)]
    (row,) = system_rows(found, numbers)
    assert row.here[0] == "AUC 0.600 (0.500-0.700, 2 seeds), uadfv → celebdf (frames)"
    assert row.here[1].startswith("mAP undefined")
    assert system_rows([card("", "lab-1", 0.5)], numbers) == []


def test_pages_have_the_section_and_escape_what_is_in_it(tmp_path: Path) -> None:
    numbers = [published("lab/<b>x")]
    cards = [card("<b>x", "lab-1", 0.5)]
    page = leaderboard_html(cards, (), numbers)
    assert 'id="systems"' in page
    assert "<b>x" not in page
    text = leaderboard_markdown([StoredCard(tmp_path / "a.card.json", cards[0])], tmp_path, None,
                                (), numbers)  # fmt: skip
    assert "## Systems of published projects" in text
    assert "AUC 0\\.640" in text or "AUC 0.640" in text
    assert "<b>x" not in text


def test_every_system_that_is_named_is_in_a_shipped_protocol() -> None:
    there = {
        (name, run.system) for name, path in shipped().items() for run in read_protocol(path).runs
    }
    named = {place for one in read_published(published_folder()) for place in one.systems}
    assert named <= there
    assert len(named) > 25
