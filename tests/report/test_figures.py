from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from scipy.stats import norm
from sklearn.metrics import roc_curve
from support.evals import make_scores

from dfbench.config import ScoringConfig
from dfbench.eval.measure import measure
from dfbench.eval.metrics import ECE_BINS
from dfbench.eval.samples import Scores
from dfbench.eval.videos import video_scores
from dfbench.report.figures.decisions import (
    confusion_figure,
    reliability,
    reliability_figure,
    wilson,
)
from dfbench.report.figures.faces import Face, faces_figure
from dfbench.report.figures.intervals import SHOWN, Bar, bars_figure, interval, lowest
from dfbench.report.figures.ranking import (
    GRID,
    det_figure,
    operating_point,
    roc,
    roc_figure,
    vertical,
)
from dfbench.report.figures.scores import (
    Track,
    histogram,
    histogram_figure,
    timeline_figure,
)
from dfbench.report.figures.style import encode
from dfbench.report.figures.svg import COLOURS, inline_svg
from dfbench.report.figures.wrong import (
    timeline_rows,
    typical_videos,
    wrong_frames,
    wrong_videos,
)
from dfbench.report.matrix import plain
from dfbench.results.card import Confusion, Metric

HOSTILE = '<script>alert(1)</script> $x^2$ --> id="f" #1b1f24 url(#a) \x1b[31m 顔 \u202e'


def binormal(n: int, apart: float = 1.5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = np.repeat([0, 1], n)
    return label, norm.cdf(rng.normal(apart * label, 1))


# --- ROC ------------------------------------------------------------------------------------------


def test_band_contains_the_curve() -> None:
    label, score = binormal(150)
    found = roc(label, score, resamples=400)
    here = vertical(found.alarm, found.hit)
    assert (found.low <= here).all()
    assert (here <= found.high).all()
    assert found.counts == (150, 150)


@pytest.mark.parametrize("n", [200, 800])
def test_band_is_as_wide_as_theory_says(n: int) -> None:
    apart, at = 1.5, np.arange(0.1, 0.91, 0.1)
    found = [roc(*binormal(n, apart, seed), resamples=400, seed=seed) for seed in range(4)]
    places = [np.argmin(abs(GRID - rate)) for rate in at]
    width = np.mean([one.high[places] - one.low[places] for one in found], axis=0)
    # Variance of the true-positive rate at a false-positive rate (Hsieh and Turnbull 1996): of the
    # fakes above the threshold, and of the threshold that the reals give.
    threshold = norm.isf(at)
    hit = norm.sf(threshold - apart)
    slope = norm.pdf(threshold - apart) / norm.pdf(threshold)
    deviation = np.sqrt((hit * (1 - hit) + slope**2 * at * (1 - at)) / n)
    np.testing.assert_allclose(width, 2 * norm.ppf(0.975) * deviation, rtol=0.2)


def test_band_widens_with_confidence() -> None:
    label, score = binormal(60)
    wide, narrow = (roc(label, score, confidence=c, resamples=200) for c in (0.99, 0.5))
    assert (wide.low <= narrow.low).all()
    assert (wide.high >= narrow.high).all()
    assert (wide.high - wide.low).sum() > 2 * (narrow.high - narrow.low).sum()


def test_a_vertical_piece_counts_by_its_upper_end() -> None:
    label = np.array([0] * 10 + [1] * 10)
    score = np.r_[np.linspace(0.05, 0.95, 10), np.linspace(0, 0.9, 10)]
    alarm, hit, _ = roc_curve(label, score, drop_intermediate=False)
    for rate, value in zip(GRID, vertical(alarm, hit), strict=True):
        if np.isclose(rate * 10, round(rate * 10)):  # where the curve climbs
            assert value == hit[np.isclose(alarm, rate)].max()


def test_constant_scores_are_the_diagonal() -> None:
    found = roc(np.repeat([0, 1], 20), np.full(40, 0.5), resamples=50)
    np.testing.assert_allclose(found.low, GRID, atol=1e-8)
    np.testing.assert_allclose(found.high, GRID, atol=1e-8)
    low, high = det_figure(found).axes[0].get_xlim()
    assert low == -high  # nothing of a detector that knows nothing is cut off
    good = roc(np.repeat([0, 1], 20), np.repeat([0.1, 0.9], 20), resamples=5)
    assert det_figure(good).axes[0].get_xlim()[1] < high


def test_perfect_scores_have_a_det_curve() -> None:
    found = roc(np.repeat([0, 1], 20), np.repeat([0.1, 0.9], 20), resamples=50)
    assert b"<svg" in encode(det_figure(found), "svg")


def test_operating_points_lie_on_the_curve() -> None:
    label, score = binormal(80)
    found = roc(label, score, resamples=10)
    point = operating_point("fixed", label, score, 0.5)
    assert point.hit == np.mean(score[label == 1] >= 0.5)
    assert point.hit == pytest.approx(
        vertical(found.alarm, found.hit)[np.argmin(abs(GRID - point.alarm))], abs=0.02
    )


# --- reliability ----------------------------------------------------------------------------------


def test_bins_have_equal_mass() -> None:
    label, score = binormal(100)
    found = reliability(label, score)
    assert len(found.n) == ECE_BINS
    assert found.n.sum() == 200
    assert set(found.n) <= {200 // ECE_BINS, 200 // ECE_BINS + 1}
    assert (np.diff(found.predicted) > 0).all()


def test_bins_hold_what_they_say() -> None:
    label = np.array([0, 0, 1, 0, 1, 1])
    score = np.array([0.1, 0.1, 0.3, 0.4, 0.8, 0.9])
    found = reliability(label, score)  # fewer examples than bins
    np.testing.assert_allclose(found.predicted, [0.1, 0.3, 0.4, 0.8, 0.9])
    np.testing.assert_allclose(found.observed, [0, 1, 0, 1, 1])
    np.testing.assert_array_equal(found.n, [2, 1, 1, 1, 1])


def test_the_diagram_is_that_of_the_calibration_error() -> None:
    table, val = make_scores(reals=60, fakes={"swap": 47}), make_scores(seed=5)
    scoring = ScoringConfig(resamples=0)
    measured = measure(table, val, scoring, seed=0)
    assert measured.calibration
    assert measured.calibration.temperature
    scores = Scores.of(table, scoring)
    cooled, _ = scores.calibrated(measured.calibration.temperature)
    for name, sample in (("video_ece", scores.video_sample()), ("video_ece_calibrated", cooled)):
        bins = reliability(sample.label, sample.score)
        error = np.abs(bins.observed - bins.predicted) @ bins.n / bins.n.sum()
        assert error == pytest.approx(measured.metrics[name].value)


def test_equal_probabilities_share_a_bin() -> None:
    label = np.tile([0, 1], 50)
    order = np.random.default_rng(0).permutation(100)
    score = np.where(np.arange(100) < 60, 0.5, np.arange(100) / 100)
    found, again = reliability(label, score), reliability(label[order], score[order])
    assert max(found.n) >= 60
    np.testing.assert_array_equal(found.n, again.n)
    np.testing.assert_allclose(found.observed, again.observed)


def test_intervals_are_wilsons() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
    low, high = wilson(np.array([81.0, 15, 0, 1]), np.array([263, 148, 20, 29]), 0.95)
    np.testing.assert_allclose(low, [0.2553, 0.0624, 0.0000, 0.0061], atol=5e-5)
    np.testing.assert_allclose(high, [0.3662, 0.1605, 0.1611, 0.1718], atol=5e-5)


# --- scores ---------------------------------------------------------------------------------------


def test_each_class_adds_up_by_itself() -> None:
    shares = histogram(np.array([0] * 3 + [1] * 100), np.linspace(0, 1, 103))
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert np.isnan(histogram(np.ones(3, int), np.linspace(0, 1, 3))[0]).all()


def test_histogram_shows_thresholds_and_both_classes_on_one_scale() -> None:
    label, score = binormal(40)
    figure = histogram_figure(label, score, "videos", {"fixed": 0.5, "val": 0.7})
    real, fake = figure.axes
    assert real.get_ylim() == fake.get_ylim()
    assert [line.get_xdata()[0] for line in fake.lines] == [0.5, 0.7]
    assert real.get_title(loc="left") == "real: 40 videos"


def test_the_most_wrong_come_first_and_one_a_video() -> None:
    table = make_scores(reals=30, fakes={"swap": 30}, undetected=2)
    videos = video_scores(table)
    for label in (0, 1):
        rows = wrong_frames(table, videos, label)
        scores = table.p_fake[rows]
        assert len(rows) == len({videos.code[row] for row in rows}) == 12
        assert (np.diff(scores) >= 0).all() if label else (np.diff(scores) <= 0).all()
        assert (table.label[rows] == label).all()
        worst = wrong_videos(videos, label)
        mine = videos.p_fake[(videos.label == label) & (videos.frames > 0)]
        assert videos.p_fake[worst[0]] == (mine.min() if label else mine.max())
        near = videos.p_fake[typical_videos(videos, label)]
        assert (
            np.abs(near - np.median(mine)).max()
            <= np.partition(np.abs(mine - np.median(mine)), 1)[1]
        )
    assert (videos.frames[videos.code[timeline_rows(videos)]] == 4).all()


def test_the_order_of_rows_does_not_choose_faces() -> None:
    table = make_scores()
    order = np.random.default_rng(1).permutation(len(table))
    other = table.take(order)
    first = wrong_frames(table, video_scores(table), 1)
    second = wrong_frames(other, video_scores(other), 1)
    assert first == [int(order[row]) for row in second]


def test_timelines_draw_what_they_are_given() -> None:
    track = Track(
        "a $x^2$ {b", 1, "swap", np.array([0.0, 1.0, 2.0]), np.array([0.1, 0.9, 0.4]), 0.47
    )
    single = Track("one", 0, "real", np.array([7.0]), np.array([0.2]), 0.2)
    figure = timeline_figure([track, single], "s")
    lines = {tuple(map(float, line.get_ydata())) for line in figure.axes[0].lines}
    assert lines == {(0.5, 0.5), (0.47, 0.47), (0.1, 0.9, 0.4)}
    assert figure.axes[1].get_xlabel() == "time in the video, s"
    assert ">a $x^2$ {b<" in encode(figure, "svg").decode()


# --- intervals ------------------------------------------------------------------------------------


def test_bars_are_the_metrics() -> None:
    metrics = {
        "swap": Metric(value=0.91, low=0.85, high=0.96, n=40),
        "blend": Metric(value=0.62, low=0.5, high=0.7, n=40),
        "none": Metric(value=None, reason="no fake videos"),
        "alone": Metric(value=0.7, n=2, reason="no interval: only 1 fake video"),
    }
    shown = lowest([Bar(name, metric) for name, metric in metrics.items()])
    assert [bar.name for bar in shown] == ["blend", "alone", "swap"]
    axes = bars_figure(shown, "video AUC").axes[0]
    dots = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"]
    assert dots == [0.62, 0.7, 0.91]
    drawn = [c.get_segments()[0] for c in axes.collections if isinstance(c, LineCollection)]
    assert [tuple(segment[:, 0]) for segment in drawn] == [(0.5, 0.7), (0.85, 0.96)]
    assert [segment[0, 1] for segment in drawn] == [0, 2]
    assert axes.get_yticklabels()[0].get_text() == "blend\n0.620 [0.500, 0.700]"
    assert axes.get_xlim()[0] <= 0.4


def test_no_interval_is_cut_off() -> None:
    bar = Bar("bad", Metric(value=0.2, low=0.05, high=0.4, n=20))
    low, high = bars_figure([bar], "video AUC").axes[0].get_xlim()
    assert low < 0.05
    assert high == 1


def test_of_many_parts_the_hardest_are_drawn() -> None:
    rng = np.random.default_rng(0)
    values = rng.uniform(0.4, 1, 300)
    bars = [Bar(f"m{k}", Metric(value=float(v), n=9)) for k, v in enumerate(values)]
    shown = lowest(bars)
    np.testing.assert_array_equal([bar.metric.value for bar in shown], np.sort(values)[:SHOWN])


def test_intervals_in_words() -> None:
    assert interval(Metric(value=0.5, low=0.25, high=0.75)) == "0.500 [0.250, 0.750]"
    assert interval(Metric(value=0.5)) == "0.500"
    assert interval(Metric(value=None, reason="none")) == "undefined"


# --- files ----------------------------------------------------------------------------------------


def confusion() -> Confusion:
    return Confusion(threshold=0.5, fake_as_fake=8, fake_as_real=2, real_as_fake=0, real_as_real=0)


def test_a_confusion_matrix_shows_counts_and_shares_of_its_rows() -> None:
    axes = confusion_figure({"fixed": confusion()}).axes[0]
    said = [text.get_text() for text in axes.texts]
    assert said == ["0", "no video", "0", "no video", "2", "20.0 %", "8", "80.0 %"]


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_equal_figures_give_equal_bytes(kind: str) -> None:
    label, score = binormal(30)
    curve = roc(label, score, resamples=20)
    crop = np.random.default_rng(0).integers(0, 255, (16, 16, 3)).astype(np.uint8)

    def files() -> list[bytes]:
        figures = [
            roc_figure(curve, "AUC", [operating_point("fixed", label, score, 0.5)]),
            det_figure(curve),
            confusion_figure({"fixed": confusion()}),
            reliability_figure([("as scored", reliability(label, score))] * 2),
            faces_figure([("fakes", [Face(crop, 1, 0.2, HOSTILE)] * 8), ("none", [])]),
        ]
        return [encode(figure, kind) for figure in figures]  # type: ignore[arg-type]

    first = files()
    assert first == files()
    assert not any(re.search(rb"<dc:date>|tIME|Matplotlib", data) for data in first)


def test_an_svg_becomes_part_of_a_page() -> None:
    label, score = binormal(30)
    figure = roc_figure(roc(label, score, resamples=5), plain(HOSTILE))
    inlined = inline_svg(encode(figure, "svg"), "f7", "a curve, AUC < 1")
    root = ElementTree.fromstring(inlined)
    ids = [e.attrib["id"] for e in root.iter() if "id" in e.attrib]
    assert len(ids) == len(set(ids))
    assert all(name.startswith("f7-") for name in ids)
    values = " ".join(value for e in root.iter() for value in e.attrib.values())
    used = re.findall(r"(?:\burl\(|(?:^| ))#([\w.-]+)", values)
    assert used
    assert set(used) <= set(ids)
    assert "http" not in inlined
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == "a curve, AUC < 1"
    assert plain(HOSTILE) in [e.text for e in root.iter("text")]
    assert "<script" not in inlined
    styles = " ".join(e.attrib.get("style", "") for e in root.iter())
    assert not any(colour in styles for colour in COLOURS)
    assert "var(--curve)" in styles
