"""Degradations of face crops, as they are written: `jpeg:50`, `blur:1.5`, `resize:0.5`, `noise:5`.

What each does to the pixels is in `dfbench.data.degrade`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from dfbench.errors import UserError, nearest

_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{0,9})?|\.[0-9]{1,9}")


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of degradation, and what its strength may be."""

    word: str  # what the number is
    label: str  # of an axis, with the unit
    least: float
    most: float
    whole: bool = False
    falling: bool = False  # the lower the number, the worse the picture

    @property
    def range(self) -> str:
        """Say which numbers there are."""
        whole = "a whole number " if self.whole else ""
        return f"{whole}from {self.least:g} to {self.most:g}"


KINDS = {
    "jpeg": Kind(word="QUALITY", label="JPEG quality", least=1, most=100, whole=True, falling=True),
    "blur": Kind(word="SIGMA", label="blur, sigma in px", least=0.1, most=50),
    "resize": Kind(word="FACTOR", label="resize, factor", least=0.02, most=1, falling=True),
    "noise": Kind(word="SIGMA", label="noise, sigma of 255", least=0.1, most=255),
}


@dataclass(frozen=True)
class Degradation:
    """One of `KINDS`, and how strong."""

    kind: str
    strength: float

    @property
    def text(self) -> str:
        """Return it as it is written, always alike: `jpeg:50`."""
        return f"{self.kind}:{self.strength:g}"

    @property
    def order(self) -> tuple[int, float]:
        """Sort by kind, and what is stronger behind."""
        kind = KINDS[self.kind]
        sign = -1 if kind.falling else 1
        return list(KINDS).index(self.kind), sign * self.strength


def parse_degradations(texts: Iterable[str], origin: str) -> tuple[Degradation, ...]:
    """Read lists such as `jpeg:90+50+30,blur:1.5`, each degradation once, in their order.

    Raises:
      UserError: what is no degradation, or out of its range; the message begins with `origin`.
    """
    found = []
    for text in texts:
        for entry in text.split(","):
            name, _, numbers = entry.strip().partition(":")
            kind = KINDS.get(name)
            if kind is None:
                hint = nearest(name, KINDS)
                raise UserError(f"{origin}: '{entry.strip()}' is no degradation; {_known()}{hint}")
            found += [
                Degradation(name, _strength(number.strip(), name, kind, origin))
                for number in numbers.split("+")
            ]
    return tuple(dict.fromkeys(found))


def _strength(text: str, name: str, kind: Kind, origin: str) -> float:
    # As it is written again: six digits.
    value = float(f"{float(text):g}") if _NUMBER.fullmatch(text) else None
    if (
        value is None
        or not kind.least <= value <= kind.most
        or (kind.whole and not value.is_integer())
    ):
        raise UserError(f"{origin}: {name}:{text}: {kind.word} is {kind.range}")
    return value


def _known() -> str:
    each = (f"{name}:{kind.word} ({kind.range})" for name, kind in KINDS.items())
    return f"there are {', '.join(each)}"
