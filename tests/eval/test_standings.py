from __future__ import annotations

import dataclasses
import random
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from support.cards import make_card

from dfbench.errors import UserError
from dfbench.eval.standings import ScoredCard, standings
from dfbench.eval.table import score_table
from dfbench.eval.videos import VideoScores, video_scores
from dfbench.results.card import Audit, Metric
from dfbench.results.standings import Standing, StandingGroup


def scores_of(dataset: str, shift: float, *, seed: int = 0, n: int = 60) -> VideoScores:
    """Scores whose videos are hard for all detectors alike."""
    label = np.arange(n) % 2
    hard = np.random.default_rng(len(dataset)).normal(size=n)
    own = np.random.default_rng([seed, int(100 * shift)]).normal(size=n)
    return video_scores(
        score_table(
            dataset=[dataset] * n,
            split=["test"] * n,
            manipulation=["m"] * n,
            video=[f"v{k:03}" for k in range(n)],
            frame=np.zeros(n),
            label=label,
            logit=shift * label + hard + 0.4 * own,
        )
    )


def cell(model: str, evaluated: str, shift: float, *, seed: int = 0, **changes: Any) -> ScoredCard:
    videos = scores_of(evaluated, shift, seed=seed)
    auc = float(roc_auc_score(videos.label, videos.p_fake))
    card = make_card(auc, model=model, train="t", eval=evaluated, seed=seed, **changes)
    return ScoredCard(card, videos)


def grid(
    shifts: dict[str, float], evaluated: str = "abc", seeds: int = 1, **changes: Any
) -> list[ScoredCard]:
    return [
        cell(model, name, shift, seed=seed, **changes)
        for model, shift in shifts.items()
        for name in evaluated
        for seed in range(seeds)
    ]


def only(scored: list[ScoredCard]) -> StandingGroup:
    (group,) = standings(scored, resamples=200)
    return group


def named(group: StandingGroup) -> dict[str, Standing]:
    return {one.row[0]: one for one in group.standings}


def test_ranks_means_and_letters() -> None:
    group = only(grid({"weak": 0.3, "strong": 3.0, "fair": 1.0}))
    assert [one.row[0] for one in group.standings] == ["strong", "fair", "weak"]
    assert [one.rank for one in group.standings] == [1, 2, 3]
    assert [one.letters for one in group.standings] == ["a", "b", "c"]
    for one in group.standings:
        assert one.low is not None
        assert one.mean is not None
        assert one.high is not None
        assert one.low < one.mean < one.high
    assert (group.tests, group.note, group.train) == (3, "", "t")
    assert [name for name, _ in group.columns] == ["a", "b", "c"]


def test_mean_is_that_of_the_cards() -> None:
    scored = grid({"m": 1.0}, seeds=3)
    (one,) = only(scored).standings
    values = [c.card.metrics["video_auc"].value for c in scored]
    assert one.mean == pytest.approx(np.mean(np.array(values, dtype=float)), abs=1e-12)
    assert one.seeds == 3
    by_seed = np.array(values, dtype=float).reshape(3, 3).mean(axis=0)
    assert one.seed_means == pytest.approx(by_seed)


def test_order_of_the_cards_is_no_matter() -> None:
    scored = grid({"x": 0.5, "y": 0.7, "z": 0.6}, seeds=2)
    first = standings(scored, resamples=100)
    random.Random(1).shuffle(scored)
    assert standings(scored, resamples=100) == first


def test_within_leaky_and_undefined_cells_never_count() -> None:
    leak = Audit(shared_videos=1, shared_identities=0)
    scored = [
        *grid({"m": 1.0, "n": 2.0}, "ab"),
        cell("m", "t", 9.0),  # within
        cell("n", "t", 0.0),
        cell("m", "leaky", 9.0, audit=leak),
        cell("n", "leaky", 0.0, audit=leak),
    ]
    nothing = make_card(None, model="m", train="t", eval="none")
    group = only([*scored, ScoredCard(nothing, scores_of("none", 1.0))])
    assert [name for name, _ in group.columns] == ["a", "b"]
    assert named(group)["n"].rank == 1


def test_one_leaky_seed_takes_its_dataset_out() -> None:
    scored = grid({"m": 1.0}, "ab", seeds=2)
    leak = Audit(shared_videos=0, shared_identities=3)
    scored[0] = ScoredCard(dataclasses.replace(scored[0].card, audit=leak), scored[0].videos)
    assert [name for name, _ in only(scored).columns] == ["b"]


def test_a_detector_that_lacks_a_dataset_is_not_ranked() -> None:
    group = only([*grid({"m": 1.0, "n": 2.0}), *grid({"poor": 9.0}, "ab")])
    poor = named(group)["poor"]
    assert poor.rank is None
    assert [name for name, _ in poor.missing] == ["c"]
    assert group.standings[-1] == poor
    assert {one.rank for one in group.standings[:2]} == {1, 2}


def test_a_dataset_that_few_detectors_have_is_left_out() -> None:
    group = only([*grid({"m": 1.0, "n": 2.0}, "ab"), cell("m", "odd", 9.0)])
    assert [name for name, _ in group.columns] == ["a", "b"]
    assert [name for name, _ in group.left_out] == ["odd"]
    assert named(group)["n"].rank == 1


def test_nothing_in_common_is_no_ranking() -> None:
    group = only([*grid({"m": 1.0}, "a"), *grid({"n": 1.0}, "b")])
    assert [one.rank for one in group.standings] == [None, None]
    assert "most of them" in group.note


def test_groups_by_training_set_data_and_protocol() -> None:
    scored = grid({"m": 1.0})
    other = [
        ScoredCard(dataclasses.replace(one.card, protocol="full_matrix-1"), one.videos)
        for one in scored
    ]
    handed_in = [
        ScoredCard(dataclasses.replace(one.card, origin="scores", audit=None), one.videos)
        for one in scored
    ]
    groups = standings([*scored, *other, *handed_in], resamples=50)
    assert sorted((g.protocol, g.handed_in) for g in groups) == [
        ("", False),
        ("", True),
        ("full_matrix-1", False),
    ]
    assert all(one.rank == 1 for g in groups for one in g.standings)


def test_the_newest_of_copies_counts() -> None:
    old = cell("m", "a", 0.0, created="2026-01-01T00:00:00Z")
    new = cell("m", "a", 3.0, created="2026-02-01T00:00:00Z")
    (one,) = only([new, old]).standings
    assert one.mean == pytest.approx(new.card.metrics["video_auc"].value)


def test_without_score_files_ranks_are_by_value() -> None:
    scored = [ScoredCard(one.card, None) for one in grid({"m": 1.0, "n": 2.0})]
    group = only(scored)
    assert [(one.row[0], one.rank) for one in group.standings] == [("n", 1), ("m", 2)]
    assert {(one.low, one.rank_low, one.letters) for one in group.standings} == {(None, None, "")}
    assert group.note == "6 result cards have no score file beside them: ranked by value alone"


def test_equal_values_share_a_rank() -> None:
    cards = [make_card(0.7, model=m, train="t") for m in "ab"]
    cards.append(make_card(0.6, model="c", train="t"))
    group = only([ScoredCard(card, None) for card in cards])
    assert [one.rank for one in group.standings] == [1, 1, 3]


def test_labels_that_differ_between_files_are_an_error() -> None:
    one, two = grid({"m": 1.0, "n": 2.0}, "a")
    assert two.videos is not None
    flipped = dataclasses.replace(two.videos, label=1 - two.videos.label)
    with pytest.raises(UserError, match="'a/v000' is fake in one score file and real"):
        only([one, ScoredCard(two.card, flipped)])


def test_an_undefined_seed_leaves_the_others() -> None:
    scored = grid({"m": 1.0}, "a", seeds=2)
    metrics = {"video_auc": Metric(value=None, reason="no real videos")}
    scored[1] = ScoredCard(dataclasses.replace(scored[1].card, metrics=metrics), None)
    (one,) = only(scored).standings
    assert (one.seeds, one.rank) == (1, 1)
