from __future__ import annotations

import dataclasses
import itertools
import math

import pytest
from support.cards import make_card

from dfbench.report.matrix import (
    Entry,
    Matrix,
    legend,
    matrix,
    mean_across,
    n_text,
    same_n,
    short,
    spread_text,
    undefined,
)


def at(table: Matrix, train: str, evaluated: str, model: str = "meso4") -> Entry:
    rows = [(row.model, row.train) for row in table.rows]
    columns = [column.eval for column in table.columns]
    return table.entries[rows.index((model, train)), columns.index(evaluated)]


def test_two_by_two() -> None:
    cards = [
        make_card(auc, train=train, eval=evaluated)
        for (train, evaluated), auc in zip(
            itertools.product(("a", "b"), repeat=2), (0.99, 0.7, 0.6, 0.98), strict=True
        )
    ]
    table = matrix(cards)
    assert at(table, "a", "b").value == 0.7
    assert at(table, "b", "a").value == 0.6
    assert {(r.train, c.eval) for r in table.rows for c in table.columns} == {
        ("a", "a"),
        ("a", "b"),
        ("b", "a"),
        ("b", "b"),
    }
    assert [e.within for e in table.entries.values()] == [True, False, False, True]
    for order in itertools.permutations(cards):
        assert matrix(order) == table


def test_best_is_among_cross_dataset_entries_only() -> None:
    cards = [
        make_card(0.99, train="b", eval="b"),
        make_card(0.7, train="a", eval="b"),
        make_card(0.8, train="c", eval="b"),
        make_card(0.9, train="a", eval="c"),
    ]
    table = matrix(cards)
    assert at(table, "c", "b").best
    assert not at(table, "b", "b").best
    assert not at(table, "a", "b").best
    assert not at(table, "a", "c").best  # nothing to compare with


def test_equal_to_three_digits_is_equally_best() -> None:
    cards = [make_card(auc, train=t, eval="b") for t, auc in (("a", 0.70012), ("c", 0.70049))]
    table = matrix(cards)
    assert at(table, "a", "b").best
    assert at(table, "c", "b").best


def test_seeds_give_mean_and_range() -> None:
    cards = [make_card(auc, seed=seed) for seed, auc in enumerate((0.6, 0.7, 0.83))]
    (entry,) = matrix(cards).entries.values()
    assert entry.value == pytest.approx(0.71)
    assert (entry.low, entry.high, entry.seeds) == (0.6, 0.83, 3)
    assert spread_text(entry) == "(0.600-0.830, 3 seeds)"


def test_a_seed_without_a_value_is_said() -> None:
    (entry,) = matrix([make_card(0.6), make_card(None, seed=1)]).entries.values()
    assert (entry.value, entry.seeds, entry.defined) == (0.6, 2, 1)
    assert "1 of 2 seeds" in spread_text(entry)


def test_undefined_is_neither_zero_nor_half() -> None:
    table = matrix([make_card(None)])
    (entry,) = table.entries.values()
    assert entry.value is None
    assert not entry.best
    assert "no real videos" in undefined(table)[0]


def test_other_settings_are_another_row() -> None:
    table = matrix([make_card(0.6), make_card(0.7, lr=0.5)])
    assert len(table.rows) == 2
    assert {row.note for row in table.rows} == {"optim.lr = 0.001", "optim.lr = 0.5"}
    assert all(row.tag for row in table.rows)


def test_other_data_under_one_name_are_another_column() -> None:
    table = matrix([make_card(0.6), make_card(0.7, clips="other files")])
    assert len(table.columns) == 2
    assert len({column.tag for column in table.columns}) == 2


def test_overlap_is_marked_and_explained() -> None:
    table = matrix([make_card(0.9, shared=2)])
    (entry,) = table.entries.values()
    assert entry.overlap
    assert any(line.startswith("‡") for line in legend(table))
    assert not any(line.startswith("‡") for line in legend(matrix([make_card(0.9)])))


def test_shared_data_neither_win_nor_take_the_win() -> None:
    cards = [make_card(0.95, model="leak", shared=1), make_card(0.7), make_card(0.6, model="other")]
    table = matrix(cards)
    assert at(table, "synth_swap", "synth_blend").best
    assert not at(table, "synth_swap", "synth_blend", "leak").best
    assert not any(entry.best for entry in matrix(cards[:2]).entries.values())


def test_of_one_place_and_seed_the_newest_counts() -> None:
    old = make_card(0.9, created="2026-01-01T00:00:00Z")
    new = make_card(0.7, created="2026-03-01T00:00:00Z")
    for cards in ([old, new], [new, old]):
        (entry,) = matrix(cards).entries.values()
        assert (entry.value, entry.seeds) == (0.7, 1)


def test_mean_across_datasets() -> None:
    cards = [
        make_card(0.99, train="a", eval="a"),
        make_card(0.6, train="a", eval="b"),
        make_card(0.7, train="a", eval="c"),
        make_card(0.95, train="a", eval="d", shared=1),
        make_card(None, train="a", eval="e"),
        make_card(0.9, train="b", eval="b"),
    ]
    table = matrix(cards)
    mean, count = mean_across(table, 0)
    assert (mean, count) == (pytest.approx(0.65), 2)
    mean, count = mean_across(table, 1)
    assert math.isnan(mean)
    assert count == 0


def test_counts_of_a_column() -> None:
    table = matrix([make_card(0.7), make_card(0.8, train="b", n=20), make_card(0.6, eval="c")])
    names = [column.eval for column in table.columns]
    assert same_n(table, names.index("synth_blend")) is None
    assert same_n(table, names.index("c")) == 28
    assert n_text((20, 28)) == "n=20-28"


def test_evaluated_training_sets_come_first_so_that_the_diagonal_is_one() -> None:
    cards = [make_card(0.7, train=t, eval=e) for t in ("m", "x") for e in ("a", "m", "n", "x")]
    assert [column.eval for column in matrix(cards).columns] == ["m", "x", "a", "n"]


def test_every_confidence_is_said() -> None:
    card = make_card(0.7)
    other = dataclasses.replace(
        make_card(0.8, seed=1), config={**card.config, "scoring": {"confidence": 0.9}}
    )
    assert matrix([card, other]).confidence == (0.9, 0.95)
    assert len(matrix([card, other]).rows) == 1  # scoring is no setting of the training
    assert "90% or 95%" in " ".join(legend(matrix([make_card(0.5, model="m"), card, other])))


@pytest.mark.parametrize("size", [9, 10, 32])
def test_long_names_lose_their_middle(size: int) -> None:
    name = "folder:/mnt/storage/deepfakes/2026"
    cut = short(name, size)
    assert len(cut) <= size
    assert cut.startswith("fol")
    assert cut.endswith("026")
    assert short("celebdf", size) == "celebdf"


def test_scores_of_other_crops_of_the_same_clips_share_a_column() -> None:
    """A detector that was scored elsewhere has crops of its own, or none at all."""
    ours, theirs = make_card(0.7), make_card(0.8, model="theirs")
    (data,) = theirs.datasets.eval
    uncropped = dataclasses.replace(data, recipe={}, crops_sha256="")
    datasets = dataclasses.replace(theirs.datasets, eval=(uncropped,))
    table = matrix([ours, dataclasses.replace(theirs, datasets=datasets)])
    assert len(table.columns) == 1
    assert len(table.rows) == 2
