from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfbench.eval.letters import compact_letters


@pytest.mark.parametrize(
    ("count", "separated", "letters"),
    [
        (1, [], ["a"]),
        (3, [], ["a", "a", "a"]),
        (2, [(0, 1)], ["a", "b"]),
        (3, [(0, 2)], ["a", "ab", "b"]),  # the middle one is told from neither
        (3, [(0, 1), (0, 2), (1, 2)], ["a", "b", "c"]),
        (4, [(0, 3), (1, 3)], ["a", "a", "ab", "b"]),
        (4, [(0, 1), (2, 3)], ["ab", "cd", "ac", "bd"]),
    ],
)
def test_letters(count: int, separated: list[tuple[int, int]], letters: list[str]) -> None:
    assert compact_letters(count, separated) == tuple(letters)


@given(st.integers(1, 8).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.sampled_from(
    [*itertools.combinations(range(n), 2)] or [(0, 0)]
)))))  # fmt: skip
def test_two_share_a_letter_exactly_where_they_are_not_separated(
    drawn: tuple[int, set[tuple[int, int]]],
) -> None:
    count, separated = drawn
    letters = compact_letters(count, separated - {(0, 0)})
    assert all(letters)
    for pair in itertools.combinations(range(count), 2):
        shared = set(letters[pair[0]]) & set(letters[pair[1]])
        assert bool(shared) != (pair in separated)


def test_many_letters_stay_apart() -> None:
    letters = compact_letters(30, list(itertools.combinations(range(30), 2)))
    assert letters[25:28] == ("z", "a1", "b1")
    assert len(set(letters)) == 30
