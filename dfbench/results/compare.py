"""Two trees of plain values, and every place where they differ."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ABSENT = "nothing"  # a value that one side does not have
LONGEST = 120  # letters of a value that is shown


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A field of a card that is not what it should be."""

    field: str  # its path: metrics.video_auc.value
    card: Any  # what the card says
    found: Any  # what it should say
    by: str  # who says so: "the scores give"
    says: str = "the card says"

    def __str__(self) -> str:
        return f"{self.field}: {self.says} {_shown(self.card)}, {self.by} {_shown(self.found)}"


def _shown(value: Any) -> str:
    if value is ABSENT:
        return str(value)
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def differences(
    card: Any, found: Any, field: str, by: str, *, tolerance: float = 0.0
) -> Iterator[Difference]:
    """Yield the places where two trees differ.

    Args:
      card: plain values of a card.
      found: what they should be.
      field: path of both.
      by: who says what is found, as words before it: "the scores give".
      tolerance: numbers with a fraction are equal that differ by no more, absolutely or relatively.
    """
    if isinstance(card, Mapping) and isinstance(found, Mapping):
        for name in dict.fromkeys((*card, *found)):
            one, other = card.get(name, ABSENT), found.get(name, ABSENT)
            yield from differences(one, other, f"{field}.{name}", by, tolerance=tolerance)
    elif _is_list(card) and _is_list(found) and len(card) == len(found):
        for i, (one, other) in enumerate(zip(card, found, strict=True)):
            yield from differences(one, other, f"{field}[{i}]", by, tolerance=tolerance)
    elif not _equal(card, found, tolerance):
        yield Difference(field=field, card=card, found=found, by=by)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _equal(one: Any, other: Any, tolerance: float) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return one == other or math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance)
    return type(one) is type(other) and one == other
