from __future__ import annotations

from support.cards import make_card

from dfbench.report.text import matrix_text


def test_values_stand_under_their_dataset() -> None:
    cards = [
        make_card(auc, train=t, eval=e)
        for t, e, auc in (("a", "a", 0.99), ("a", "b", 0.71), ("b", "b", 0.98))
    ]
    lines = matrix_text(cards).splitlines()
    head, counts, first, second = lines[:4]
    assert head.split() == ["a", "b"]
    assert counts.count("n=28 of 29") == 2  # one gave no face
    assert first.index("0.710") == second.index("0.980") == head.index("b")
    assert first.index("0.990") == second.index("-") == head.index("a")
    assert "†" in first


def test_wide_matrices_are_folded() -> None:
    cards = [make_card(0.7, eval=f"dataset_number_{k}") for k in range(9)]
    text = matrix_text(cards, width=100)
    assert max(map(len, text.splitlines())) <= 100
    for k in range(9):
        assert f"dataset_number_{k}" in text


def test_nothing_to_show() -> None:
    assert matrix_text([]) == "no results"


def test_control_characters_do_not_reach_the_terminal() -> None:
    text = matrix_text([make_card(0.7, eval="folder:/a\x1b[31m\nb")])
    assert "\x1b" not in text
    assert "folder:/a" in text


def test_seeds_undefined_and_legend() -> None:
    cards = [
        make_card(0.6),
        make_card(0.8, seed=1),
        make_card(None, eval="c"),
        make_card(0.9, train="c", eval="c"),
    ]
    text = matrix_text(cards)
    assert "0.700 (0.600-0.800, 2 seeds)" in text
    assert "undefined" in text
    assert "meso4, synth_swap on c: undefined: no real videos" in text
    assert "(low-high)" in text
    assert "†: within-dataset" in text
    assert "‡" not in text


def test_long_names_keep_their_ends() -> None:
    name = "folder:/mnt/storage/deepfakes/collected_in_the_wild/2026"
    text = matrix_text([make_card(0.7, train=name, eval=name + "b")])
    head = text.split("\n\n")[0]
    assert max(map(len, head.splitlines())) <= 100
    assert "2026b" in head


def test_wide_letters_do_not_shift_columns() -> None:
    cards = [make_card(0.7, train=train, eval=e) for train in ("日本", "ab") for e in ("c", "d")]
    rows = [line for line in matrix_text(cards).splitlines() if line.startswith("meso4")]
    ends = [sum(2 if ord(c) > 0x2E80 else 1 for c in row) for row in rows]
    assert ends[0] == ends[1]
