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
    assert counts.count("n=28") == 2
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
