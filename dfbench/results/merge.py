"""Cards of many machines as one set: copies are counted, results that disagree are named.

A *place* is what the leaderboard has one number for: row, column and seed (`comparable`). Two cards
of a place with equal numbers and equal scores are copies. If either differs they contradict each
other: the newest is shown, since nothing that was measured on the evaluated data may choose.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec

from dfbench.errors import one_line
from dfbench.results.card import Cell, DatasetFingerprint, Metric, ResultCard
from dfbench.results.comparable import column_key, row_key

if TYPE_CHECKING:
    from dfbench.results.store import StoredCard

_SHOWN = "video_auc"


@dataclass(frozen=True, kw_only=True)
class Contradiction:
    """Two results of one place."""

    shown: StoredCard
    other: StoredCard

    def line(self) -> str:
        """Say both numbers, where they come from and in what the cards differ."""
        one, two = self.shown, self.other
        what = _differences(one.card, two.card)
        return one_line(
            f"contradiction: {_cell_text(one.card.cell)}: {_shown(one.card)} in {one.path} (the "
            f"newest, shown) and {_shown(two.card)} in {two.path}; they differ in "
            f"{', '.join(what)}; `dfbench verify` checks each against its scores, and without one "
            "of them there is no contradiction"
        )

    def note(self) -> str:
        """Say it for the reader of a page, who has no use for paths."""
        other = self.other.card
        return (
            f"another result of this cell, of the same settings and clips, has {_shown(other)} "
            f"({other.times.created}); the newest is shown"
        )


@dataclass(frozen=True, kw_only=True)
class Merged:
    """What many cards come to."""

    results: tuple[StoredCard, ...]  # each result once, contradictions and all
    cards: tuple[StoredCard, ...]  # of these the ones to show: one a place and protocol
    copies: int  # cards that say what another one says
    contradictions: tuple[Contradiction, ...]

    def marked(self) -> list[StoredCard]:
        """Return the cards to show; those that another one contradicts carry it as a warning."""
        notes: dict[int, list[str]] = defaultdict(list)
        for found in self.contradictions:
            notes[id(found.shown)].append(found.note())
        return [_with_warnings(one, notes[id(one)]) for one in self.cards]


def merge(stored: Iterable[StoredCard]) -> Merged:
    """Bring cards together; neither their order nor where they lie matters."""
    places: dict[tuple[object, ...], list[list[StoredCard]]] = defaultdict(list)
    count = 0
    for one in sorted(stored, key=_newness):
        count += 1
        place = places[_place(one.card)]
        same = next((group for group in place if _same_result(group[0].card, one.card)), None)
        if same is None:
            place.append([one])
        else:
            same.append(one)
    results, cards, contradictions = [], [], []
    for place in places.values():
        # What is ranked is ranked within its protocol, so a copy of each protocol is kept.
        chosen = [_by_protocol(group) for group in place]
        every = sorted((one for group in chosen for one in group.values()), key=_newness)
        results += every
        cards += list({one.card.protocol: one for one in every}.values())  # the newest of each
        contradictions += [
            Contradiction(shown=every[-1], other=max(group.values(), key=_newness))
            for group in chosen
            if not any(one is every[-1] for one in group.values())
        ]
    return Merged(
        results=tuple(results),
        cards=tuple(cards),
        copies=count - len(results),
        contradictions=tuple(contradictions),
    )


def is_copy(one: ResultCard, two: ResultCard) -> bool:
    """Return whether two cards are the same result of the same place and protocol."""
    same = one.protocol == two.protocol and _place(one) == _place(two)
    return same and _same_result(one, two)


def result_hash(card: ResultCard) -> str:
    """Return a short hash by which a result is told from others of its place, as a file name."""
    values = {name: metric.value for name, metric in sorted(card.metrics.items())}
    files = {key: card.files[key].sha256 for key in ("scores",) if key in card.files}
    what = msgspec.json.encode([*_place(card), card.protocol, files, values])
    return hashlib.sha256(what).hexdigest()[:12]


def completeness(stored: StoredCard) -> tuple[bool, int, bool]:
    """Return how much a card says and has beside it, to be compared with its copies."""
    return not stored.missing, len(stored.card.metrics), stored.card.oracle is not None


def remarks(stored: Sequence[StoredCard]) -> list[str]:
    """Return lines on what is shown, but not compared with one another.

    They are of datasets of which cards saw different clips, and of protocols in several versions.
    """
    found = []
    versions: dict[str, set[str]] = defaultdict(set)
    data: dict[tuple[str, str], dict[tuple[str, str], list[tuple[StoredCard, int]]]]
    data = defaultdict(lambda: defaultdict(list))
    for one in stored:
        if one.card.protocol:
            name, _, version = one.card.protocol.rpartition("-")
            versions[name].add(version)
        for d in {d.clips_sha256: d for d in _datasets(one.card)}.values():
            data[d.name, d.variant][d.version, d.clips_sha256].append((one, _clips(d)))
    for (name, _), kinds in sorted(data.items()):
        if len(kinds) > 1:
            parts = [_kind(version, cards) for (version, _), cards in sorted(kinds.items())]
            found.append(
                f"{name}: cards of {len(kinds)} different lists of clips, which are rows and "
                f"columns of their own: {'; '.join(parts)}"
            )
    for name, several in sorted(versions.items()):
        if name and len(several) > 1:
            text = " and ".join(sorted(several))
            found.append(f"protocol {name}: cards of versions {text}, which are ranked apart")
    return [one_line(line) for line in found]


def _by_protocol(copies: Sequence[StoredCard]) -> dict[str, StoredCard]:
    """Return the fullest of the copies of each protocol; of equally full ones the newest."""
    found: dict[str, StoredCard] = {}
    for one in copies:  # the newest comes last
        old = found.get(one.card.protocol or "")
        if old is None or completeness(one) >= completeness(old):
            found[one.card.protocol or ""] = one
    return found


def _place(card: ResultCard) -> tuple[object, ...]:
    return (*row_key(card), *column_key(card), card.cell.seed)


def _same_result(one: ResultCard, two: ResultCard) -> bool:
    """Return whether two cards of a place have equal scores and, where both have them, numbers."""
    scores = [card.files["scores"].sha256 for card in (one, two) if "scores" in card.files]
    return len(set(scores)) <= 1 and not _other_numbers(one, two)


def _newness(stored: StoredCard) -> tuple[str, str, str]:
    """Order by time; of equal times by content, so that no path decides."""
    card = stored.card
    digest = hashlib.sha256(msgspec.json.encode(card)).hexdigest()
    return card.times.created, card.config_hash, digest


def _other_numbers(one: ResultCard, two: ResultCard) -> list[str]:
    """Return the metrics of both that are not equal."""
    return [
        name
        for name in one.metrics.keys() & two.metrics.keys()
        if not _equal(one.metrics[name], two.metrics[name])
    ]


def _equal(one: Metric, two: Metric) -> bool:
    if one.value is None or two.value is None:
        return one.value is two.value
    return one.n == two.n and math.isclose(one.value, two.value, rel_tol=1e-9, abs_tol=1e-12)


# --- words ----------------------------------------------------------------------------------------


def _cell_text(cell: Cell) -> str:
    trained = f"trained on {cell.train}" if cell.train else "of unknown training"
    return f"{cell.model} {trained}, seed {cell.seed}, on {cell.scored}"


def _shown(card: ResultCard) -> str:
    value = card.metrics[_SHOWN].value if _SHOWN in card.metrics else None
    return f"video AUC {'undefined' if value is None else f'{value:.4f}'}"


def _differences(one: ResultCard, two: ResultCard) -> list[str]:
    """Return in what two results of one place differ, the causes first."""

    def crops(card: ResultCard, side: str) -> list[str]:
        return [d.crops_sha256 for d in getattr(card.datasets, side)]

    def file(key: str) -> Callable[[ResultCard], str | None]:
        return lambda card: card.files[key].sha256 if key in card.files else None

    aspects: dict[str, Callable[[ResultCard], Any]] = {
        "crops trained on": lambda card: crops(card, "train"),
        "crops scored": lambda card: crops(card, "eval"),
        "checkpoint": file("checkpoint"),
        "dfbench's version": lambda card: card.environment.packages.get("dfbench"),
        "device": lambda card: card.environment.device_kind,
        "scores": file("scores"),
    }
    found = [name for name, of in aspects.items() if of(one) != of(two)]
    return [*found, *(["numbers"] if _other_numbers(one, two) else [])]


def _datasets(card: ResultCard) -> Iterable[DatasetFingerprint]:
    return (*card.datasets.train, *card.datasets.eval)


def _clips(data: DatasetFingerprint) -> int:
    return sum(counts.clips for counts in data.counts.values())


def _kind(version: str, cards: Sequence[tuple[StoredCard, int]]) -> str:
    first, clips = cards[0]
    count = f"{len(cards)} cards, the first" if len(cards) > 1 else "1 card,"
    return f"{clips:,} clips of version {version} ({count} {first.path})"


def _with_warnings(stored: StoredCard, notes: Sequence[str]) -> StoredCard:
    if not notes:
        return stored
    card = replace(stored.card, warnings=(*stored.card.warnings, *map(one_line, notes)))
    return replace(stored, card=card)
