from __future__ import annotations

from pathlib import Path

from support.cards import make_card

from dfbench.eval.standings import ScoredCard, standings
from dfbench.report.leaderboard import write_leaderboard
from dfbench.report.ranking import with_results
from dfbench.results.card import ResultCard
from dfbench.results.store import StoredCard


def groups_of(*cards: ResultCard) -> tuple[list[str], str]:
    shown, said = with_results(standings([ScoredCard(card, None) for card in cards]))
    return [group.train for group in shown], said


def test_training_sets_without_a_cross_dataset_result_are_one_sentence() -> None:
    within = [make_card(0.9, model=m, train=t, eval=t) for m in ("x", "y") for t in ("b", "c")]
    alone = make_card(0.9, model="x", train="d", eval="d")
    shown, said = groups_of(make_card(0.7, model="x", train="a", eval="b"), *within, alone)
    assert shown == ["a"]
    assert said == (
        "Nothing to rank, without a cross-dataset result: Trained on b (2 detectors); Trained on c "
        "(2 detectors); Trained on d."
    )


def test_where_all_have_results_nothing_is_said() -> None:
    shown, said = groups_of(*(make_card(0.7, model="x", train=t, eval="z") for t in ("a", "b")))
    assert shown == ["a", "b"]
    assert said == ""


def test_both_pages_say_it_and_have_no_table_of_it(tmp_path: Path) -> None:
    card = make_card(0.9, model="x", train="<b>", eval="<b>")
    write_leaderboard(
        [StoredCard(tmp_path / "x.card.json", card)],
        tmp_path,
        standings=standings([ScoredCard(card, None)]),
    )
    markdown, html = ((tmp_path / n).read_text() for n in ("README.md", "index.html"))
    for text in (markdown, html):
        assert "without a cross-dataset result: Trained on &lt;b&gt;." in text
        assert "not ranked" not in text.partition("How to read")[0].replace("is not ranked", "")
