from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from dfbench.config import ScoringConfig
from dfbench.eval.measure import METRIC_NAMES, PART, Measured, measure
from dfbench.eval.table import ScoreTable, score_table
from dfbench.eval.videos import video_scores
from dfbench.results.card import Confusion, Metric

SCORING = ScoringConfig(resamples=40)
UNIT = {"video": "videos with a detected face", "frame": "frames"}


def table_of(
    videos: int = 60,
    frames: int = 5,
    seed: int = 0,
    undetected: tuple[int, ...] = (),
    gain: float = 1.0,
    **columns: Any,
) -> ScoreTable:
    """Return scores of videos: every third is real, fakes are of `a` and `b` in turn."""
    rng = np.random.default_rng(seed)
    rows = []
    for v in range(videos):
        label = int(v % 3 > 0)
        shift = rng.normal() + label
        name = f"d/m/{v}", f"id{v % 20}", "real" if not label else "ab"[v % 2]
        scores = [np.nan] if v in undetected else gain * (rng.normal(size=frames) + shift)
        start = -1 if v in undetected else 0
        rows += [(*name, f, label, z) for f, z in enumerate(scores, start)]
    video, identity, manipulation, frame, label, logit = map(list, zip(*rows, strict=True))
    n = len(rows)
    values = {"dataset": ["d"] * n, "split": ["test"] * n, "manipulation": manipulation,
              "video": video, "frame": frame, "label": label, "logit": logit}  # fmt: skip
    return score_table(**{**values, "identity": identity, **columns})


def measured(table: ScoreTable, val: ScoreTable | None = None, **changes: Any) -> Measured:
    scoring = ScoringConfig(**{"resamples": 40} | changes)
    return measure(table, val, scoring, seed=0)


def test_every_metric_has_a_value_an_interval_and_a_number() -> None:
    found = measured(table_of(450, undetected=(0, 1, 2)), table_of(seed=1))
    assert tuple(found.metrics) == METRIC_NAMES
    for name, metric in found.metrics.items():
        assert metric.value is not None, name
        if name.endswith("prevalence"):
            assert metric.reason.startswith("no interval")
            continue
        assert metric.low is not None, name
        assert metric.high is not None, name
        assert metric.low <= metric.value <= metric.high, name
        assert metric.reason == ""
    counted = {name: metric.n for name, metric in found.metrics.items()}
    assert counted["video_auc"] == counted["video_f1_source_val"] == counted["prevalence"] == 447
    assert counted["video_auc_all"] == counted["video_accuracy_all"] == 450
    assert counted["frame_auc"] == counted["frame_ece_calibrated"] == 447 * 5


def test_values_at_both_levels() -> None:
    table = table_of(undetected=(0, 1, 2))
    found = {name: m.value for name, m in measured(table).metrics.items()}
    seen = table.frame >= 0
    names = np.asarray(table.video)
    kept = np.unique(names[seen])
    p = np.array([table.p_fake[names == v].astype(np.float64).mean() for v in kept])
    y = np.array([table.label[names == v][0] for v in kept])
    frame_y, frame_p = table.label[seen], table.p_fake[seen].astype(np.float64)
    assert found["video_auc"] == found["video_auc_by_identity"]
    assert found["video_auc"] == pytest.approx(sk.roc_auc_score(y, p))
    assert found["video_brier"] == pytest.approx(sk.brier_score_loss(y, p))
    assert found["video_balanced_accuracy"] == pytest.approx(
        sk.balanced_accuracy_score(y, p >= 0.5)
    )
    assert found["prevalence"] == pytest.approx(y.mean())
    assert found["frame_auc"] == pytest.approx(sk.roc_auc_score(frame_y, frame_p))
    assert found["frame_log_loss"] == pytest.approx(sk.log_loss(frame_y, frame_p), rel=1e-6)
    y_all, p_all = np.r_[y, 0, 1, 1], np.r_[p, 0.5, 0.5, 0.5]  # nothing seen: scored 0.5
    assert found["video_auc_all"] == pytest.approx(sk.roc_auc_score(y_all, p_all))
    assert found["video_ap_all"] == pytest.approx(sk.average_precision_score(y_all, p_all))
    assert found["video_accuracy_all"] == pytest.approx(np.mean((p_all >= 0.5) == y_all))


def test_order_of_rows_does_not_matter() -> None:
    table, val = table_of(undetected=(5,)), table_of(seed=1)
    rng = np.random.default_rng(1)
    shuffled = table.take(rng.permutation(len(table)))
    assert measured(shuffled, val.take(rng.permutation(len(val)))) == measured(table, val)
    assert measure(table, val, SCORING, seed=1) != measure(table, val, SCORING, seed=0)


def test_a_video_with_more_frames_counts_once() -> None:
    # One fake of 50 bad frames beside two fakes of a single good one.
    table = score_table(
        dataset=["d"] * 54, split=["test"] * 54, manipulation=["m"] * 54,
        video=["a"] * 50 + ["b", "c", "r0", "r1"],
        frame=[*range(50), 0, 0, 0, 0],
        label=[1] * 52 + [0, 0],
        logit=[-3.0] * 50 + [2.0, 2.0, 0.0, 0.0],
    )  # fmt: skip
    found = measured(table).metrics
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
    found = measured(table).metrics["video_auc"]
    assert (found.value, found.n) == (1.0, 4)


def test_without_source_val_what_needs_it_is_null() -> None:
    found = measured(table_of())
    assert found.calibration is None
    assert set(found.confusion) == {"fixed"}
    for name, metric in found.metrics.items():
        if name.endswith(("_source_val", "_calibrated")):
            n = 60 if name.startswith("video") else 300
            assert metric == Metric(value=None, n=n, reason="no scores of a source val split")
        else:
            assert metric.value is not None or name.startswith("video_tpr")


def test_source_val_moves_the_threshold_and_cools_the_logits() -> None:
    # On val everything is shifted by 2, and four times as sure as it should be.
    table = table_of(240, gain=4.0, seed=2)
    val = table_of(240, gain=4.0, seed=3)
    val = score_table(
        **{k: getattr(val, k) for k in ("dataset", "split", "manipulation", "video", "frame")},
        label=val.label, logit=val.logit + 2,
    )  # fmt: skip
    found = measured(table, val)
    assert found.calibration is not None
    assert found.calibration.videos == 240
    threshold, temperature = found.calibration.threshold, found.calibration.temperature
    assert threshold is not None
    assert temperature is not None
    assert threshold > 0.6
    assert temperature > 2
    videos = video_scores(table)
    assert found.metrics["video_recall_fake_source_val"].value == pytest.approx(
        np.mean(videos.p_fake[videos.label == 1] >= threshold)
    )
    cooled = 1 / (1 + np.exp(-table.logit.astype(float) / temperature))
    expected = sk.log_loss(table.label, cooled)
    assert found.metrics["frame_log_loss_calibrated"].value == pytest.approx(expected, rel=1e-6)
    before = found.metrics["frame_log_loss"].value
    assert before is not None
    assert expected < before
    mean = np.array([cooled[np.asarray(table.video) == v].mean() for v in videos.video.tolist()])
    assert found.metrics["video_brier_calibrated"].value == pytest.approx(
        sk.brier_score_loss(videos.label, mean), rel=1e-6
    )


def test_confusion_counts_videos_with_a_face() -> None:
    found = measured(table_of(undetected=(0, 1)), table_of(seed=1)).confusion
    assert set(found) == {"fixed", "source_val"}
    for one in found.values():
        assert one.fake_as_fake + one.fake_as_real == 39
        assert one.real_as_fake + one.real_as_real == 19
    assert found["fixed"].threshold == 0.5
    videos = video_scores(table_of())
    called, fake = videos.p_fake >= 0.5, videos.label == 1
    assert measured(table_of()).confusion["fixed"] == Confusion(
        threshold=0.5,
        fake_as_fake=int((called & fake).sum()),
        fake_as_real=int((~called & fake).sum()),
        real_as_fake=int((called & ~fake).sum()),
        real_as_real=int((~called & ~fake).sum()),
    )


def test_manipulations_are_held_against_all_reals() -> None:
    table = table_of(undetected=(1,))
    found = measured(table)
    assert list(found.breakdown) == ["manipulation/a", "manipulation/b"]
    for name, part in found.breakdown.items():
        own = (table.label == 0) | table.manipulation.equal_to(name[-1])
        alone = measured(table.take(own))
        names = {f"video_{k}" for k in PART} | {"prevalence", "video_auc_all", "frame_auc"}
        assert part == {k: alone.metrics[k] for k in part}
        assert set(part) == names
    assert found.breakdown["manipulation/b"]["video_auc_all"].n == 40
    assert found.breakdown["manipulation/b"]["video_auc"].n == 39


def test_datasets_of_a_union_are_parts_and_bring_their_own_reals() -> None:
    base = table_of()
    names = np.where(np.arange(len(base)) < 150, "ffpp/c23", "ffpp/c40")  # 30 videos each
    table = table_of(dataset=names)
    found = measured(table).breakdown
    assert list(found) == [
        "manipulation/a",
        "manipulation/b",
        "dataset/ffpp/c23",
        "dataset/ffpp/c40",
    ]
    assert found["dataset/ffpp/c23"]["video_auc"].n == 30
    alone = measured(table.take(names == "ffpp/c40"))
    assert found["dataset/ffpp/c40"]["video_ap"] == alone.metrics["video_ap"]
    # A manipulation of one dataset alone is compared with that dataset's reals.
    fakes = np.where(base.label == 0, "real", np.where(np.arange(len(base)) < 150, "x", "y"))
    part = measured(table_of(dataset=names, manipulation=fakes)).breakdown["manipulation/x"]
    assert part["video_auc"] == found["dataset/ffpp/c23"]["video_auc"]


def test_fakes_of_unknown_manipulation_and_too_many_are_no_part() -> None:
    assert measured(table_of(manipulation=[""] * 300)).breakdown == {}
    many = table_of(180, 1, manipulation=[f"m{i}" for i in range(180)])
    assert measured(many).breakdown == {}


def test_intervals_over_people() -> None:
    def interval(**columns: Any) -> tuple[Metric, Metric]:
        found = measured(table_of(300, **columns), resamples=400).metrics
        return found["video_auc"], found["video_auc_by_identity"]

    n = 300 * 5
    nobody = interval(identity=None)[1]
    assert nobody == Metric(value=None, n=300, reason="who is seen is not known")
    assert interval(identity=[""] * n)[1] == nobody
    by_video, alone = interval(identity=[f"p{i // 5}" for i in range(n)])  # one video each
    assert by_video.value == alone.value

    def width(metric: Metric) -> float:
        assert metric.low is not None
        assert metric.high is not None
        return metric.high - metric.low

    assert width(alone) == pytest.approx(width(by_video), rel=0.25)
    one = interval(identity=["p"] * n)[1]
    assert (one.low, one.reason) == (None, "no interval: only 1 real and 1 fake person")
    # A person for each half, and videos of nobody known, which count as people.
    assert interval(identity=["p"] * 500 + [""] * 1000)[1].low is not None


@pytest.mark.parametrize("rule", ["mean", "mean_logit", "max", "median", "top_k"])
def test_aggregation_is_a_setting(rule: Any) -> None:
    table, val = table_of(gain=3.0), table_of(gain=3.0, seed=1)
    found = measured(table, val, aggregate=rule, top_k=2)
    videos = video_scores(table, rule, 2)
    assert found.metrics["video_auc"].value == pytest.approx(
        sk.roc_auc_score(videos.label, videos.p_fake)
    )
    after = found.metrics["video_log_loss_calibrated"].value
    before = found.metrics["video_log_loss"].value
    assert after is not None
    assert before is not None
    assert after != before


def test_one_class_one_video_and_nothing_seen_give_null_with_reasons() -> None:
    table = table_of()
    fakes = measured(table.take(table.label == 1)).metrics
    assert fakes["video_auc"].reason == "no real videos with a detected face"
    assert fakes["video_auc_all"] == fakes["video_auc"]
    assert fakes["frame_eer"].reason == "no real frames"
    assert fakes["video_accuracy"].value is not None
    single = measured(table.take(table.video.equal_to("d/m/1"))).metrics
    assert single["video_auc"].value is None
    assert single["frame_accuracy"].value is not None
    assert single["frame_accuracy"].reason == "no interval: only 1 fake video"
    blind = measured(table_of(6, undetected=tuple(range(6)))).metrics
    assert blind["video_auc_all"].value == 0.5  # a measured 0.5: every video was scored 0.5
    assert blind["video_auc_all"].n == 6
    for level, unit in UNIT.items():
        metric = blind[f"{level}_auc"]
        assert metric == Metric(value=None, n=0, reason=f"no real and no fake {unit}")
    for metric in measured(table.take(np.arange(0))).metrics.values():
        assert (metric.value, metric.low, metric.n) == (None, None, 0)
        assert metric.reason


def test_constant_scores_are_chance_without_an_interval() -> None:
    n = 300
    found = measured(table_of(logit=np.zeros(n)), table_of(logit=np.zeros(n))).metrics
    for name in ("video_auc", "frame_auc", "video_partial_auc", "video_eer"):
        assert found[name].value == 0.5
        assert (found[name].low, found[name].reason) == (
            None,
            "no interval: the same in every resample",
        )
    assert found["video_ap"].value == found["prevalence"].value
    assert found["video_log_loss"].value == pytest.approx(np.log(2))


def test_two_labels_of_a_video_are_a_fault() -> None:
    table = table_of()
    table.label[0] = 1 - table.label[0]
    with pytest.raises(ValueError, match="two labels"):
        measured(table)
