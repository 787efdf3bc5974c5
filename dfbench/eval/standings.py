"""Result cards and their scores to standings: who may be compared with whom, and who ranks where.

Compared are detectors of one protocol and one training set, over the datasets that most of them
were scored on; one that lacks a dataset is listed without a rank. What is no generalisation never
counts: within-dataset cells, cells whose data overlap, and undefined ones; nor do degraded crops.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from dfbench.errors import UserError
from dfbench.eval.ranking import RESAMPLES, Panel, Ranking, rank, ranks_of
from dfbench.eval.videos import VideoScores
from dfbench.results.card import ResultCard
from dfbench.results.comparable import (
    ColumnKey,
    RowKey,
    column_key,
    newest,
    overlaps,
    row_key,
    training_data_key,
)
from dfbench.results.standings import Standing, StandingGroup

METRIC = "video_auc"


@dataclass(frozen=True, eq=False)
class ScoredCard:
    """A card and the scores of its videos."""

    card: ResultCard
    videos: VideoScores | None  # None: no score file beside the card


Places = Mapping[ColumnKey, Sequence[ScoredCard]]  # of a row: the seeds of each dataset


def standings(
    scored: Iterable[ScoredCard], *, resamples: int = RESAMPLES, confidence: float = 0.95
) -> tuple[StandingGroup, ...]:
    """Rank the detectors of each protocol and training set; the order of `scored` is no matter.

    Raises:
      UserError: two score files of one dataset give a video different labels.
    """
    groups: dict[tuple[str, str, str], list[ScoredCard]] = defaultdict(list)
    for one in scored:
        card = one.card
        if card.cell.degrade:
            continue
        groups[card.protocol or "", card.cell.train, training_data_key(card)].append(one)
    return tuple(
        _group(protocol, train, members, resamples, confidence)
        for (protocol, train, _), members in sorted(
            groups.items(), key=lambda item: (not item[0][1], item[0])
        )
    )


def _group(
    protocol: str, train: str, members: Sequence[ScoredCard], resamples: int, confidence: float
) -> StandingGroup:
    usable = _by_row(members)
    columns = _common(usable)
    seen = {c for places in usable.values() for c in places}
    group = StandingGroup(
        protocol=protocol,
        train=train,
        handed_in=members[0].card.origin != "run",
        columns=tuple(sorted(columns)),
        left_out=tuple(sorted(seen - columns)),
        standings=tuple(
            Standing(row=key, missing=tuple(sorted(columns - set(places))))
            for key, places in usable.items()
            if not columns or not columns <= set(places)
        ),
        confidence=confidence,
        resamples=resamples,
    )
    if not columns:
        why = "no dataset that most of them were scored on" if seen else "no cross-dataset result"
        return replace(group, note=why)
    ranked = {key: places for key, places in usable.items() if columns <= set(places)}
    found = _by_value(ranked, group.columns)
    lacking = sum(
        one.videos is None for places in ranked.values() for c in columns for one in places[c]
    )
    if lacking:
        has, it = ("cards have", "them") if lacking > 1 else ("card has", "it")
        note = f"{lacking} result {has} no score file beside {it}: ranked by value alone"
        group = replace(group, note=note)
    else:
        panels = [_panel(c, list(ranked.values())) for c in group.columns]
        seeds = [_seed(c) for c in group.columns]
        ranking = rank(panels, resamples=resamples, confidence=confidence, seeds=seeds)
        found = [_with(one, ranking, i) for i, one in enumerate(found)]
        group = replace(group, tests=sum(not np.isnan(p) for p in ranking.p_values.values()))
        if len(found) == 1:
            group = replace(group, note="nothing to compare it with")
        elif not ranking.letters:
            note = "too few videos that all of them scored for a paired test"
            group = replace(group, note=note)
    found.sort(key=lambda one: (one.rank or 0, one.row))
    return replace(group, standings=(*found, *group.standings))


def _by_row(members: Sequence[ScoredCard]) -> dict[RowKey, dict[ColumnKey, list[ScoredCard]]]:
    """Return the seeds that count, by detector and dataset; in a fixed order."""
    kept = {id(card) for card in newest(one.card for one in members)}
    rows: dict[RowKey, dict[ColumnKey, list[ScoredCard]]] = defaultdict(lambda: defaultdict(list))
    for one in sorted(members, key=lambda one: one.card.cell.seed):
        if id(one.card) in kept:
            rows[row_key(one.card)][column_key(one.card)].append(one)
    return {
        key: {c: defined for c, seeds in rows[key].items() if (defined := _usable(seeds))}
        for key in sorted(rows)
    }


def _usable(seeds: Sequence[ScoredCard]) -> list[ScoredCard]:
    """Return the seeds of a place that count; none of them, if one is no generalisation."""
    if any(one.card.role == "within" or overlaps(one.card.audit) for one in seeds):
        return []
    return [one for one in seeds if _value(one.card) is not None]


def _value(card: ResultCard) -> float | None:
    metric = card.metrics.get(METRIC)
    return None if metric is None else metric.value


def _common(usable: Mapping[RowKey, Places]) -> set[ColumnKey]:
    """Return the datasets that more than half of those detectors have that have any."""
    having = [set(places) for places in usable.values() if places]
    every = set().union(*having)
    return {c for c in every if 2 * sum(c in own for own in having) > len(having)}


def _by_value(ranked: Mapping[RowKey, Places], columns: Sequence[ColumnKey]) -> list[Standing]:
    """Return means and ranks from the cards alone."""
    found = []
    for key, places in ranked.items():
        values = [
            {one.card.cell.seed: _value(one.card) or 0.0 for one in places[c]} for c in columns
        ]
        complete = sorted(set.intersection(*(set(seeds) for seeds in values)))
        means = tuple(fmean(seeds[seed] for seeds in values) for seed in complete)
        found.append(
            Standing(
                row=key,
                mean=fmean(fmean(seeds.values()) for seeds in values),
                seeds=max(len(seeds) for seeds in values),
                seed_means=means if len(means) > 1 else (),
            )
        )
    ranks = ranks_of(np.array([[one.mean for one in found]]))[0]
    return [replace(one, rank=int(place)) for one, place in zip(found, ranks, strict=True)]


def _with(one: Standing, ranking: Ranking, i: int) -> Standing:
    if np.isnan(ranking.low[i]):
        return one
    return replace(
        one,
        low=float(ranking.low[i]),
        high=float(ranking.high[i]),
        rank_low=int(ranking.rank_low[i]),
        rank_high=int(ranking.rank_high[i]),
        letters=ranking.letters[i] if ranking.letters else "",
    )


def _panel(column: ColumnKey, rows: Sequence[Places]) -> Panel:
    """Bring the scores of a dataset's videos into one order."""
    labels: dict[tuple[str, str], int] = {}
    runs: list[tuple[int, dict[tuple[str, str], float]]] = []
    for detector, places in enumerate(rows):
        for one in places[column]:
            assert one.videos is not None
            v = one.videos
            names = list(zip(v.dataset.tolist(), v.video.tolist(), strict=True))
            for name, label in zip(names, v.label.tolist(), strict=True):
                if labels.setdefault(name, label) != label:
                    raise UserError(
                        f"{column[0]}: video '{'/'.join(name)}' is fake in one score file and real "
                        f"in that of {one.card.cell.model}; score one of them again"
                    )
            runs.append((detector, dict(zip(names, v.p_fake.tolist(), strict=True))))
    order = sorted(labels)
    return Panel(
        label=np.array([labels[name] for name in order]),
        scores=np.array([[of.get(name, np.nan) for name in order] for _, of in runs]),
        detector=np.array([detector for detector, _ in runs]),
    )


def _seed(column: ColumnKey) -> int:
    """Return the seed of a dataset's draws: its own, whatever else is ranked."""
    return int.from_bytes(hashlib.sha256("/".join(column).encode()).digest()[:8], "big")
