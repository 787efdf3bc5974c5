"""Cards of several machines: copies, contradictions, and what is not compared."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

from support.cards import fingerprint, make_card

from dfbench.results.card import Datasets, FileHash, OracleGap, ResultCard
from dfbench.results.merge import is_copy, merge, remarks, result_hash
from dfbench.results.store import StoredCard, load_cards, write_card

LATER = "2026-11-22T08:00:00Z"


def scored(auc: float | None, scores: str, **changes: Any) -> ResultCard:
    files = {name: FileHash(sha256=text * 32, bytes=9) for name, text in (("scores", scores),)}
    return make_card(auc, files=files, **changes)


def stored(*cards: ResultCard) -> list[StoredCard]:
    return [StoredCard(Path(f"machine{k}/a.card.json"), card) for k, card in enumerate(cards)]


def test_copies_are_counted_and_nothing_is_said() -> None:
    one = scored(0.7, "aa")
    again = dataclasses.replace(one, times=dataclasses.replace(one.times, created=LATER))
    other = scored(0.8, "bb", seed=1)
    merged = merge(stored(one, again, one, other))
    assert (merged.copies, merged.contradictions) == (2, ())
    assert [s.card for s in merged.cards] == [again, other]
    assert merged.marked() == list(merged.cards)
    assert is_copy(one, again)
    assert result_hash(one) == result_hash(again) != result_hash(other)


def test_a_copy_that_says_more_is_the_one_that_is_shown(tmp_path: Path) -> None:
    scores = FileHash(sha256="aa" * 32, bytes=9)
    full = scored(0.7, "aa", oracle=OracleGap(epoch=1, video_auc=0.7, gain=0.0, epochs=2))
    bare = dataclasses.replace(scored(0.7, "aa", created=LATER), files={"scores": scores})
    for cards in itertools.permutations((full, bare)):
        assert [s.card for s in merge(stored(*cards)).cards] == [full]
    # Scores beside a card outweigh all else: without them nothing can be ranked with intervals.
    (tmp_path / "scores.parquet").touch()
    beside = StoredCard(tmp_path / "a.card.json", bare)
    assert merge([*stored(full), beside]).cards == (beside,)


def test_results_that_disagree_are_named_and_the_newest_is_shown() -> None:
    old, new = scored(0.9, "aa"), scored(0.6123, "bb", created=LATER)
    for order in ((old, new), (new, old)):
        merged = merge(stored(*order))
        assert [s.card for s in merged.cards] == [new]
        assert {s.card.files["scores"].sha256 for s in merged.results} == {"aa" * 32, "bb" * 32}
        (found,) = merged.contradictions
        line = found.line()
        for text in (
            "meso4 trained on synth_swap, seed 0, on synth_blend",
            "video AUC 0.6123",
            "video AUC 0.9000",
            *(str(s.path) for s in stored(*order)),
            "differ in scores, numbers",
        ):
            assert text in line
        (shown,) = merged.marked()
        (warning,) = shown.card.warnings
        assert "0.9000" in warning
        assert "machine" not in warning  # pages have no use for paths
        assert shown.card.metrics == new.metrics


def test_equal_numbers_of_other_scores_and_other_numbers_of_equal_scores() -> None:
    base = scored(0.7, "aa")
    for other in (scored(0.7, "bb"), scored(0.71, "aa"), scored(None, "aa")):
        assert not is_copy(base, other)
        assert len(merge(stored(base, other)).contradictions) == 1
    # What is rounded otherwise by another machine is no other number.
    rounded = scored(0.7 + 1e-15, "aa")
    assert merge(stored(base, rounded)).contradictions == ()


def test_a_contradiction_says_in_what_the_cards_differ() -> None:
    base = scored(0.7, "aa")
    crops = dataclasses.replace(fingerprint("synth_blend"), crops_sha256="11" * 32)
    other = scored(
        0.6,
        "bb",
        datasets=Datasets(train=base.datasets.train, eval=(crops,)),
        environment=dataclasses.replace(
            base.environment, device_kind="gpu\n", packages={"dfbench": "9"}
        ),
    )
    other = dataclasses.replace(
        other, files={**other.files, "checkpoint": FileHash(sha256="1", bytes=1)}
    )
    (found,) = merge(stored(base, other)).contradictions
    line = found.line()
    assert "differ in crops scored, checkpoint, dfbench's version, device, scores, numbers" in line


def test_names_of_cards_and_files_cannot_break_a_line() -> None:
    cards = [scored(auc, text, model="a\x1b[31m\nb") for auc, text in ((0.7, "aa"), (0.6, "bb"))]
    merged = merge([StoredCard(Path("x\ny") / str(k), card) for k, card in enumerate(cards)])
    line = merged.contradictions[0].line()
    assert line.isprintable()


def test_three_results_of_a_cell_are_two_contradictions() -> None:
    cards = [scored(0.5 + k / 10, f"a{k}", created=f"2026-11-2{k}T00:00:00Z") for k in range(1, 4)]
    for order in itertools.permutations(cards):
        merged = merge(stored(*order, order[0]))
        assert (len(merged.contradictions), merged.copies) == (2, 1)
        assert [s.card for s in merged.cards] == [cards[-1]]
    # The newest wins whatever it says: numbers on evaluated data choose nothing.
    assert cards[-1].metrics["video_auc"].value == max(
        c.metrics["video_auc"].value or 0 for c in cards
    )
    first = dataclasses.replace(
        cards[0], times=dataclasses.replace(cards[0].times, created="2027-01-01T00:00:00Z")
    )
    assert [s.card for s in merge(stored(first, *cards[1:])).cards] == [first]


def test_other_settings_seeds_and_degraded_crops_are_other_places() -> None:
    cell = scored(0.7, "cc").cell
    cards = [
        scored(0.7, "aa"),
        scored(0.8, "bb", lr=1e-4),
        scored(0.8, "bb", seed=1),
        dataclasses.replace(scored(0.5, "cc"), cell=dataclasses.replace(cell, degrade="jpeg:50")),
    ]
    merged = merge(stored(*cards))
    assert merged.contradictions == ()
    assert len(merged.cards) == 4


def test_other_clips_under_one_name_are_other_columns_and_said() -> None:
    cards = [
        scored(0.7, "aa"),
        scored(0.8, "bb", model="xception"),
        scored(0.6, "cc", clips="another list"),
    ]
    merged = merge(stored(*cards))
    assert merged.contradictions == ()
    assert len(merged.cards) == 3
    (line,) = remarks(stored(*cards))
    assert line.startswith("synth_blend: cards of 2 different lists of clips")
    assert "(2 cards, the first machine0/a.card.json)" in line
    assert "(1 card, machine2/a.card.json)" in line
    assert "14 clips of version 1.0.0" in line
    assert remarks(stored(*cards[:2])) == []


def test_versions_of_a_protocol_are_kept_apart_and_said() -> None:
    one, two = (scored(0.7, "aa", protocol=f"demo-{n}") for n in (1, 2))
    merged = merge(stored(one, two, one))
    assert {s.card.protocol for s in merged.cards} == {"demo-1", "demo-2"}
    assert (merged.copies, merged.contradictions) == (1, ())
    assert remarks(merged.cards) == [
        "protocol demo: cards of versions 1 and 2, which are ranked apart"
    ]
    assert not is_copy(one, two)
    changed = merge(stored(one, scored(0.6, "bb", protocol="demo-2", created=LATER)))
    assert len(changed.contradictions) == 1  # they are one place of the matrix
    assert len(changed.cards) == 2


def test_a_card_without_score_files_is_held_against_the_numbers() -> None:
    told = dataclasses.replace(scored(0.7, "aa"), files={})
    assert merge(stored(told, scored(0.7, "aa"))).copies == 1
    assert len(merge(stored(told, scored(0.6, "aa"))).contradictions) == 1
    metrics = {name: m for name, m in told.metrics.items() if name != "video_ap"}
    fewer = dataclasses.replace(told, metrics=metrics)
    assert merge(stored(fewer, told)).copies == 1
    counted = {**told.metrics, "video_ap": dataclasses.replace(told.metrics["video_ap"], n=3)}
    assert merge(stored(told, dataclasses.replace(told, metrics=counted))).copies == 0


def test_a_file_named_twice_and_what_a_kill_left_are_no_copies(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "a.card.json"
    write_card(make_card(0.7), path)
    write_card(make_card(0.9), tmp_path / "runs" / ".a.host-1" / "a.card.json")
    (tmp_path / "link").symlink_to(tmp_path / "runs")
    found = load_cards([tmp_path, tmp_path / "runs", tmp_path / "link"])
    assert [s.card.metrics["video_auc"].value for s in found] == [0.7]
