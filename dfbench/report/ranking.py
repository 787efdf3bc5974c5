"""Standings in words, the same on every page."""

from __future__ import annotations

from collections.abc import Sequence

from dfbench.report.matrix import plain
from dfbench.results.standings import Standing, StandingGroup


def group_title(group: StandingGroup) -> str:
    """Return what the detectors of a group have in common."""
    train = f"Trained on {group.train}" if group.train else "Training data not known"
    parts = [f"{train} (as handed in)" if group.train and group.handed_in else train]
    if group.protocol:
        parts.append(f"protocol {group.protocol}")
    return plain(", ".join(parts))


def with_results(groups: Sequence[StandingGroup]) -> tuple[list[StandingGroup], str]:
    """Return the groups that have cross-dataset results, and a sentence on the others, if any.

    A table for each of those would say the same as many times as there are training sets.
    """
    shown = [group for group in groups if group.columns or group.left_out]
    others = [
        f"{group_title(group)} ({len(group.standings)} detectors)"
        if len(group.standings) > 1
        else group_title(group)
        for group in groups
        if not (group.columns or group.left_out)
    ]
    said = f"Nothing to rank, without a cross-dataset result: {'; '.join(others)}."
    return shown, said if others else ""


def rank_text(one: Standing) -> str:
    """Return the interval of a rank: `[1, 3]`."""
    return "" if one.rank_low is None else f"[{one.rank_low}, {one.rank_high}]"


def interval(one: Standing) -> str:
    """Return the interval of a mean."""
    if one.low is None or one.high is None:
        return "[no interval]"
    return f"[{one.low:.3f}, {one.high:.3f}]"


def seeds_words(one: Standing) -> str:
    """Return how many seeds a mean is made of, and how far they lie apart."""
    if not one.seed_means:
        return str(one.seeds)
    return f"{one.seeds} ({min(one.seed_means):.3f}-{max(one.seed_means):.3f})"


def explain(groups: Sequence[StandingGroup]) -> list[str]:
    """Return the sentences that a reader of the rankings needs."""
    level = " or ".join(f"{100 * c:g} %" for c in sorted({g.confidence for g in groups}))
    many = any(one.seed_means for g in groups for one in g.standings)
    with_draws = any(one.low is not None for g in groups for one in g.standings)
    lines = [
        "Detectors of one training set, by their mean video AUC over the datasets that most of "
        "them were scored on. Within-dataset cells, leaky ones (‡) and undefined ones never count; "
        "a detector that lacks one of the datasets is not ranked.",
    ]
    if many:
        lines.append(
            "Of several seeds the AUCs are averaged, not the scores; in brackets the lowest and "
            "highest mean of a seed."
        )
    if with_draws:
        draws = " or ".join(f"{n:,}" for n in sorted({g.resamples for g in groups}))
        lines.append(
            f"In brackets beside rank and mean: what {level} of {draws} draws of the videos give, "
            "each the same for all detectors."
        )
    if any(g.tests for g in groups):
        alpha = " or ".join(f"{1 - c:.2g}" for c in sorted({g.confidence for g in groups}))
        lines.append(
            "Detectors that share a letter are tied: paired DeLong tests of their means, "
            f"Holm-corrected over all pairs of the group, do not tell them apart (p < {alpha})."
        )
    if any(g.handed_in for g in groups):
        lines.append(
            "Detectors whose scores were handed in are ranked among themselves: what they were "
            "trained on is not known here, so overlap with the evaluated data is not checked."
        )
    return lines
