from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dfbench.config import RunConfig, ScoringConfig, config_hash, from_dict, training_hash
from dfbench.errors import UserError
from dfbench.eval.table import ScoreTable, Text, score_table
from dfbench.eval.videos import aggregate_frames, frame_logits, video_scores

LOGITS = {"a": [-1.0, 3.0, 0.5, 2.0], "b": [0.0], "c": [np.nan], "d": [1.0, -2.0]}


def _table() -> ScoreTable:
    rows = [(v, f, z) for v, logits in LOGITS.items() for f, z in enumerate(logits)]
    video, frame, logit = map(list, zip(*rows, strict=True))
    n = len(rows)
    frame = [-1 if np.isnan(z) else f for f, z in zip(frame, logit, strict=True)]
    return score_table(
        dataset=["x"] * n, split=["test"] * n, manipulation=[f"m{v}" for v in video], video=video,
        frame=frame, label=[int(v in "ab") for v in video], logit=logit,
        identity=[f"of {v}" for v in video],
    )  # fmt: skip


def _sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-np.asarray(z)))


@pytest.mark.parametrize(
    ("rule", "top_k", "expected"),
    [
        ("mean", 5, lambda z: _sigmoid(z).mean()),
        ("mean_logit", 5, lambda z: _sigmoid(np.mean(z))),
        ("max", 5, lambda z: _sigmoid(np.max(z))),
        ("median", 5, lambda z: np.median(_sigmoid(z))),
        ("top_k", 1, lambda z: _sigmoid(np.max(z))),
        ("top_k", 3, lambda z: np.sort(_sigmoid(z))[-3:].mean()),
        ("top_k", 99, lambda z: _sigmoid(z).mean()),
    ],
)
def test_rules(rule: Any, top_k: int, expected: Any) -> None:
    table = _table()
    for rows in (np.arange(len(table)), np.random.default_rng(0).permutation(len(table))):
        found = video_scores(table.take(rows), rule, top_k)
        assert found.video.tolist() == ["a", "b", "c", "d"]
        assert found.label.tolist() == [1, 1, 0, 0]
        assert found.manipulation.tolist() == ["ma", "mb", "mc", "md"]
        assert found.identity is not None
        assert found.identity.tolist() == ["of a", "of b", "of c", "of d"]
        assert found.frames.tolist() == [4, 1, 0, 2]
        assert np.isnan(found.p_fake[2])
        for place, video in ((0, "a"), (1, "b"), (3, "d")):
            assert found.p_fake[place] == pytest.approx(expected(LOGITS[video]), rel=1e-6)


def test_each_row_knows_its_video() -> None:
    found = video_scores(_table())
    assert found.code.tolist() == [0, 0, 0, 0, 1, 2, 3, 3]
    assert len(found) == 4


def test_the_order_of_rows_decides_no_rounding() -> None:
    rng = np.random.default_rng(0)
    code, values = np.repeat(np.arange(50), 40), rng.uniform(size=2000).astype(np.float32)
    once, _ = aggregate_frames(code, values, 50)
    order = rng.permutation(2000)
    again, _ = aggregate_frames(code[order], values[order], 50)
    np.testing.assert_array_equal(again, once)


def test_no_rows() -> None:
    found = video_scores(_table().take(np.arange(0)))
    assert len(found) == len(found.p_fake) == 0
    assert isinstance(found.video, Text)


def test_logits_of_probabilities_are_their_odds_and_finite() -> None:
    table = _table()
    handed = ScoreTable(
        **{k: getattr(table, k) for k in ("dataset", "split", "manipulation", "video")},
        frame=table.frame, label=table.label, logit=np.full(8, np.nan, np.float32),
        p_fake=np.array([0, 1, 0.5, 0.25, 0.9, np.nan, 1e-6, 1 - 2**-24], np.float32),
    )  # fmt: skip
    odds = frame_logits(handed)
    assert odds[:5] == pytest.approx([-16, 16, 0, -np.log(3), np.log(9)], abs=1e-6)
    assert np.isnan(odds[5])
    assert odds[6] == pytest.approx(-13.8155, abs=1e-4)
    assert odds[7] == 16
    np.testing.assert_array_equal(frame_logits(table), table.logit)


def test_the_rule_is_a_setting() -> None:
    assert from_dict({"scoring": {"aggregate": "top_k"}}, "t").scoring.top_k == 5
    with pytest.raises(UserError, match=r"scoring\.aggregate"):
        from_dict({"scoring": {"aggregate": "sum"}}, "t")
    with pytest.raises(UserError, match=r"scoring\.top_k = 0 must be above 0"):
        from_dict({"scoring": {"top_k": 0}}, "t")
    median = RunConfig(scoring=ScoringConfig(aggregate="median"))
    assert config_hash(median) != config_hash(RunConfig())
    assert training_hash(median) == training_hash(RunConfig())
