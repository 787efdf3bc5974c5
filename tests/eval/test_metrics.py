from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from dfbench.eval.metrics import METRIC_NAMES, compute_metrics, video_auc_of
from dfbench.eval.scores import ScoreTable, score_table
from dfbench.eval.videos import video_scores


def _table(
    videos: int = 40, frames: int = 6, seed: int = 0, undetected: tuple[int, ...] = ()
) -> ScoreTable:
    rng = np.random.default_rng(seed)
    rows = []
    for v in range(videos):
        label = int(v % 3 > 0)
        shift = rng.normal() + label
        if v in undetected:
            rows.append((f"d/m/{v}", -1, label, np.nan))
            continue
        rows += [(f"d/m/{v}", f, label, rng.normal() + shift) for f in range(frames)]
    video, frame, label, logit = zip(*rows, strict=True)
    n = len(rows)
    return score_table(
        dataset=["d"] * n, split=["test"] * n, manipulation=["m"] * n, video=video,
        frame=frame, label=label, logit=logit,
    )  # fmt: skip


def _take(table: ScoreTable, rows: np.ndarray) -> ScoreTable:
    return table.take(rows)


def test_point_values() -> None:
    table = _table(undetected=(0, 1, 2))
    found = compute_metrics(table, resamples=50, confidence=0.9)
    assert tuple(found) == METRIC_NAMES
    seen = table.frame >= 0
    names = np.unique(np.asarray(table.video[seen]))
    p = np.array([table.p_fake[table.video.equal_to(v)].astype(np.float64).mean() for v in names])
    y = np.array([table.label[table.video.equal_to(v)][0] for v in names])
    assert found["video_auc"].value == pytest.approx(roc_auc_score(y, p))
    assert found["video_ap"].value == pytest.approx(average_precision_score(y, p))
    assert found["video_accuracy"].value == pytest.approx(np.mean((p >= 0.5) == y))
    y_all, p_all = np.r_[y, 0, 1, 1], np.r_[p, 0.5, 0.5, 0.5]
    assert found["video_auc_all"].value == pytest.approx(roc_auc_score(y_all, p_all))
    frame_y, frame_p = table.label[seen], table.p_fake[seen]
    assert found["frame_auc"].value == pytest.approx(roc_auc_score(frame_y, frame_p))
    assert found["frame_ap"].value == pytest.approx(average_precision_score(frame_y, frame_p))
    assert found["frame_accuracy"].value == pytest.approx(np.mean((frame_p >= 0.5) == frame_y))
    counted = {name: metric.n for name, metric in found.items()}
    assert counted["video_auc"] == counted["video_eer"] == 37
    assert counted["video_auc_all"] == 40
    assert counted["frame_auc"] == counted["frame_accuracy"] == 37 * 6
    for metric in found.values():
        assert metric.low is not None
        assert metric.high is not None
        assert metric.value is not None
        assert metric.low < metric.high
        assert metric.low <= metric.value <= metric.high
        assert metric.reason == ""


def test_order_of_rows_does_not_matter() -> None:
    table = _table(undetected=(5,))
    shuffled = _take(table, np.random.default_rng(1).permutation(len(table)))
    settings = {"resamples": 30, "confidence": 0.95}
    assert compute_metrics(shuffled, **settings) == compute_metrics(table, **settings)
    assert compute_metrics(table, seed=1, **settings) != compute_metrics(table, **settings)


def test_a_video_with_more_frames_counts_once() -> None:
    # One fake of 50 bad frames beside two fakes of a single good one.
    table = score_table(
        dataset=["d"] * 54, split=["test"] * 54, manipulation=["m"] * 54,
        video=["a"] * 50 + ["b", "c", "r0", "r1"],
        frame=[*range(50), 0, 0, 0, 0],
        label=[1] * 52 + [0, 0],
        logit=[-3.0] * 50 + [2.0, 2.0, 0.0, 0.0],
    )  # fmt: skip
    found = compute_metrics(table, resamples=10, confidence=0.95)
    assert found["video_auc"].value == pytest.approx(2 / 3)
    assert found["frame_auc"].value == pytest.approx(2 / 52)


def test_videos_of_one_name_in_two_datasets_stay_apart() -> None:
    table = score_table(
        dataset=["a", "b", "a", "b"], split=["test"] * 4, manipulation=["m"] * 4,
        video=["v0", "v0", "v1", "v1"], frame=[0, 0, 0, 0], label=[1, 0, 1, 0],
        logit=[3.0, -3.0, 2.0, -2.0],
    )  # fmt: skip
    videos = video_scores(table)
    assert videos.dataset.tolist() == ["a", "a", "b", "b"]
    assert videos.video.tolist() == ["v0", "v1", "v0", "v1"]
    assert videos.label.tolist() == [1, 1, 0, 0]
    found = compute_metrics(table, resamples=10, confidence=0.95)["video_auc"]
    assert (found.value, found.n) == (1.0, 4)


def test_a_missing_class_gives_null_with_a_reason() -> None:
    table = _table()
    fakes = compute_metrics(_take(table, table.label == 1), resamples=20, confidence=0.95)
    for name in ("video_auc", "video_auc_all", "frame_auc", "video_ap", "frame_ap", "video_eer"):
        assert fakes[name].value is None
        assert fakes[name].low is None
        assert "no real" in fakes[name].reason
        assert fakes[name].n > 0
    assert fakes["video_accuracy"].value is not None
    assert fakes["video_accuracy"].low is not None


def test_nothing_detected_gives_null_but_is_counted_where_all_videos_are() -> None:
    table = _table(videos=6, undetected=tuple(range(6)))
    found = compute_metrics(table, resamples=20, confidence=0.95)
    assert found["video_auc_all"].value == 0.5  # a measured 0.5: every video was scored 0.5
    assert found["video_auc_all"].n == 6
    for name in set(METRIC_NAMES) - {"video_auc_all"}:
        assert found[name].value is None
        assert found[name].n == 0
        assert found[name].reason.startswith("no real and no fake")


def test_one_video_of_a_class_gives_no_interval() -> None:
    table = _table()
    single = _take(table, (table.label == 1) | table.video.equal_to("d/m/0"))
    found = compute_metrics(single, resamples=20, confidence=0.95)
    for metric in found.values():
        assert metric.value is not None
        assert (metric.low, metric.high) == (None, None)
        assert metric.reason == "no interval: only 1 real video"
    none = compute_metrics(table, resamples=0, confidence=0.95)["video_auc"]
    assert none.value is not None
    assert none.low is None


def test_two_labels_of_a_video_are_a_fault() -> None:
    table = _table()
    wrong = dataclasses.replace(table, label=table.label.copy())
    wrong.label[0] = 1 - wrong.label[0]
    with pytest.raises(ValueError, match="two labels"):
        compute_metrics(wrong, resamples=1, confidence=0.95)


def test_video_auc_of_frames() -> None:
    table = _table(undetected=(3,))
    whole = compute_metrics(table, resamples=0, confidence=0.95)["video_auc"].value
    assert video_auc_of(table.label, table.p_fake, table.video) == whole
    reals = table.label == 0
    assert video_auc_of(table.label[reals], table.p_fake[reals], table.video[reals]) is None
    assert video_auc_of(np.zeros(0, int), np.zeros(0, np.float32), np.zeros(0, str)) is None


@pytest.mark.parametrize(
    ("logits", "auc", "eer"),
    [
        ([0.0] * 6, 0.5, 0.5),  # says nothing
        ([-1.0] * 3 + [1.0] * 3, 1.0, 0.0),
        ([1.0] * 3 + [-1.0] * 3, 0.0, 1.0),
    ],
)
def test_extremes_stay_in_range(logits: list[float], auc: float, eer: float) -> None:
    table = score_table(
        dataset=["d"] * 6, split=["test"] * 6, manipulation=["m"] * 6, video=list("abcdef"),
        frame=[0] * 6, label=[0, 0, 0, 1, 1, 1], logit=logits,
    )  # fmt: skip
    found = compute_metrics(table, resamples=40, confidence=0.95)
    assert (found["video_auc"].value, found["video_auc"].low, found["video_auc"].high) == (auc,) * 3
    assert found["video_eer"].value == found["video_eer"].low == found["video_eer"].high == eer
    for metric in found.values():
        assert metric.low is not None
        assert metric.high is not None
        assert 0 <= metric.low <= metric.high <= 1


def test_no_rows_give_null_everywhere() -> None:
    empty = _take(_table(), np.arange(0))
    for metric in compute_metrics(empty, resamples=10, confidence=0.95).values():
        assert (metric.value, metric.low, metric.n) == (None, None, 0)
        assert metric.reason.startswith("no real and no fake")
