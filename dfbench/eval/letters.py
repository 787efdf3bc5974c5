"""Compact letter display: detectors that share a letter could not be told apart."""

from __future__ import annotations

from collections.abc import Collection
from string import ascii_lowercase


def compact_letters(count: int, separated: Collection[tuple[int, int]]) -> tuple[str, ...]:
    """Return the letters of `count` detectors, numbered from the best to the worst.

    Two of them share a letter exactly where their pair is not in `separated`. By insertion and
    absorption: Piepho, Journal of Computational and Graphical Statistics 13 (2004). The letter `a`
    goes to the set with the best detector; after `z` come `a1`, `b1` and so on.
    """
    sets = [frozenset(range(count))]
    for i, j in sorted(separated):
        split: list[frozenset[int]] = []
        for members in sets:
            split += [members - {i}, members - {j}] if {i, j} <= members else [members]
        unique = sorted(set(split), key=sorted)
        sets = [s for s in unique if not any(s < other for other in unique)]
    sets.sort(key=sorted)
    return tuple(
        "".join(_letter(number) for number, members in enumerate(sets) if detector in members)
        for detector in range(count)
    )


def _letter(number: int) -> str:
    turn, place = divmod(number, len(ascii_lowercase))
    return ascii_lowercase[place] + (str(turn) if turn else "")
