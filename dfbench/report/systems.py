"""Systems of published projects: their authors' numbers, and beside them those made here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from dfbench.report.figures.intervals import interval
from dfbench.report.matrix import plain
from dfbench.report.published import METRICS, PublishedResult
from dfbench.results.card import Metric, ResultCard
from dfbench.results.comparable import newest

SECTION = "Systems of published projects"
LEAD = (
    "What the authors of a system published, and what its protocol gives here. Splits, crops and "
    "data differ: docs/protocols.md says how. A rehearsal ran in small on the embedded datasets, "
    "and its numbers say nothing."
)
HEAD = ("system", "published", "here")
NOT_RUN = "not run"
LEVELS = {"frame": "frames", "video": "videos", "unknown": "frames"}  # counted here for each


@dataclass(frozen=True, kw_only=True)
class SystemRow:
    """A system, what was published of it, and what was found here; a line a number."""

    protocol: str  # without its version
    system: str
    published: tuple[str, ...]
    here: tuple[str, ...]


def system_rows(
    cards: Iterable[ResultCard], published: Sequence[PublishedResult]
) -> list[SystemRow]:
    """Return the systems of the protocols that cards are of, in the order of the published numbers.

    Protocols without a published number have no row.
    """
    own: dict[tuple[str, str], list[ResultCard]] = {}
    of_systems = [c for c in cards if c.protocol and c.config.get("system") and not c.cell.degrade]
    for card in newest(of_systems):
        place = _base(card.protocol or ""), str(card.config["system"])
        own.setdefault(place, []).append(card)
    run = {protocol for protocol, _ in own}
    rows: dict[tuple[str, str], list[PublishedResult]] = {}
    for one in published:
        for place in one.systems:
            rows.setdefault(place, []).append(one)
    return [
        SystemRow(
            protocol=protocol,
            system=system,
            published=tuple(_said(one) for one in found),
            here=tuple(_here(own.get((protocol, system), []), found)) or (NOT_RUN,),
        )
        for (protocol, system), found in rows.items()
        if protocol in run
    ]


def _base(label: str) -> str:
    """Return a protocol's name: of `tiny-1 (changed)` it is `tiny`."""
    return label.partition(" ")[0].rpartition("-")[0]


def _said(one: PublishedResult) -> str:
    level = {"frame": "frames", "video": "videos"}.get(one.level, "frames or videos")
    return plain(f"{METRICS[one.metric]} {one.value:.3f}, {one.train} → {one.eval} ({level})")


def _here(cards: Sequence[ResultCard], published: Sequence[PublishedResult]) -> list[str]:
    """Say the metrics that were published, cell by cell."""
    cells: dict[tuple[str, str, str], list[ResultCard]] = {}
    for card in cards:
        key = (card.cell.train, card.cell.eval, card.protocol or "")
        cells.setdefault(key, []).append(card)
    wanted = dict.fromkeys((one.metric, LEVELS[one.level]) for one in published)
    lines = []
    for metric, counted in wanted:
        name = f"{counted[:-1]}_{metric}"
        for (train, evaluated, label), seeds in sorted(cells.items()):
            words = [counted, *(["rehearsal"] if label.endswith("(rehearsal)") else [])]
            value = _value([card.metrics.get(name) for card in seeds])
            lines.append(
                plain(f"{METRICS[metric]} {value}, {train} → {evaluated} ({', '.join(words)})")
            )
    return lines


def _value(metrics: Sequence[Metric | None]) -> str:
    values = [m.value for m in metrics if m is not None and m.value is not None]
    if not values:
        reasons = [m.reason for m in metrics if m is not None and m.reason]
        return f"undefined ({reasons[0]})" if reasons else "undefined"
    if len(values) > 1:
        return f"{fmean(values):.3f} ({min(values):.3f}-{max(values):.3f}, {len(values)} seeds)"
    only = next(m for m in metrics if m is not None and m.value is not None)
    return interval(only)
