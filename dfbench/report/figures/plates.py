"""The figures of one evaluated dataset, with what their readers need to know."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from dfbench.eval.metrics import Sample
from dfbench.paths import slug
from dfbench.report.figures.decisions import (
    Reliability,
    confusion_figure,
    reliability,
    reliability_figure,
)
from dfbench.report.figures.evaluation import Evaluation, Plate
from dfbench.report.figures.intervals import SHOWN, Bar, bars_figure, interval, lowest
from dfbench.report.figures.ranking import (
    RESAMPLES,
    Operating,
    Roc,
    det_figure,
    operating_point,
    roc,
    roc_figure,
)
from dfbench.report.figures.scores import (
    CLASSES,
    histogram_figure,
)

BROKEN_DOWN = "video_auc"  # the metric of the parts
THRESHOLDS = {"fixed": "fixed threshold", "source_val": "source-val threshold"}


def dataset_plates(one: Evaluation) -> list[Plate]:
    """Return the figures of all videos of an evaluated dataset, in the order of the page."""
    return [
        *_curves(one),
        _histogram(one, "videos"),
        _confusion(one),
        _reliability(one),
        _histogram(one, "frames"),
    ]


def _percent(one: Evaluation) -> str:
    return f"{100 * one.scoring.confidence:g} %"


def _missing(one: Evaluation) -> str:
    """Return which class has no video with a detected face, as a reason; empty: both have some."""
    counts = np.bincount(one.videos.label[one.videos.frames > 0], minlength=2)
    absent = [name for name, n in zip(CLASSES, counts, strict=True) if not n]
    return f"no {' and no '.join(absent)} videos with a detected face" if absent else ""


def _thresholds(one: Evaluation) -> dict[str, float]:
    found = one.card.confusion
    return {name: found[key].threshold for key, name in THRESHOLDS.items() if key in found}


# --- ROC and DET ----------------------------------------------------------------------------------


def _curves(one: Evaluation) -> list[Plate]:
    titles = ("roc", "ROC curve"), ("det", "DET curve")
    if reason := _missing(one):
        return [Plate(name=name, title=title, reason=reason) for name, title in titles]
    seen = one.videos.frames > 0
    label, score = one.videos.label[seen], one.videos.p_fake[seen]
    curve = roc(label, score, confidence=one.scoring.confidence, seed=one.card.cell.seed)
    marks = [
        operating_point(f"{name} {threshold:.3g}", label, score, threshold)
        for name, threshold in _thresholds(one).items()
    ]
    return [_roc(one, curve, marks), _det(one, curve, marks)]


def _roc(one: Evaluation, curve: Roc, marks: Sequence[Operating]) -> Plate:
    auc = one.card.metrics.get("video_auc")
    said = f"AUC {interval(auc)}" if auc else "videos"
    reals, fakes = curve.counts
    return Plate(name="roc", title="ROC curve").showing(
        figure=roc_figure(curve, said, marks),
        alt=f"ROC curve over {reals} real and {fakes} fake videos: {said}; "
        + "; ".join(f"{m.name}: {_rates(m)}" for m in marks),
        caption=f"Videos with a detected face: {reals:,} real, {fakes:,} fake. Band: {_band(one)} "
        "The diagonal is a guess. Marks show where the thresholds of the confusion matrices lie.",
    )


def _det(one: Evaluation, curve: Roc, marks: Sequence[Operating]) -> Plate:
    eer = one.card.metrics.get("video_eer")
    said = f"equal error rate {interval(eer)}" if eer else "equal error rate unknown"
    return Plate(name="det", title="DET curve").showing(
        figure=det_figure(curve, marks),
        alt=f"Detection error tradeoff: {said}; " + "; ".join(_rates(m) for m in marks),
        caption="The same curve by its two errors, on axes of normal deviates, where small errors "
        f"can be told apart: {said} (dotted line). Down and left is better. Nothing is shown below "
        "half a video: that few cannot tell such a rate.",
    )


def _band(one: Evaluation) -> str:
    return (
        f"{_percent(one)} of {RESAMPLES:,} bootstrap resamples of the videos of each class, at "
        "each false-positive rate by itself (vertical averaging); a whole curve lies in it less "
        "often."
    )


def _rates(mark: Operating) -> str:
    return f"{100 * mark.alarm:.1f} % of reals and {100 * mark.hit:.1f} % of fakes are called fake"


# --- scores and decisions -------------------------------------------------------------------------


def _histogram(one: Evaluation, unit: str) -> Plate:
    if unit == "videos":
        label, score = one.videos.label, one.videos.p_fake
    else:
        label, score = one.table.label, one.table.p_fake
    seen = ~np.isnan(score)
    label, score = label[seen], score[seen]
    plate = Plate(name=f"scores_{unit}", title=f"Scores of {unit}")
    if not len(label):
        return plate.without("no video with a detected face")
    middle = [
        f"median of {CLASSES[k]} {unit} {np.median(score[label == k]):.3f}"
        for k in (0, 1)
        if (label == k).any()
    ]
    how = "Each class adds up to 100 % by itself, so that the larger one does not hide the other. "
    see = (
        "The less the two overlap, the better; lines are thresholds."
        if unit == "videos"
        else "Frames of one video are alike: these are fewer independent scores than they seem."
    )
    return plate.showing(
        figure=histogram_figure(label, score, unit, _thresholds(one)),
        alt=f"Histogram of P(fake) by class: {', '.join(middle)}",
        caption=f"P(fake) of {len(label):,} {unit}: {', '.join(middle)}. {how}{see}",
    )


def _confusion(one: Evaluation) -> Plate:
    plate = Plate(name="confusion", title="Confusion matrices")
    found = {
        name: one.card.confusion[k] for k, name in THRESHOLDS.items() if k in one.card.confusion
    }
    if not found:
        return plate.without("the card has none; a card of today's version does: score again")
    first = next(iter(found.values()))
    n = first.real_as_real + first.real_as_fake + first.fake_as_real + first.fake_as_fake
    without = "" if "source_val" in one.card.confusion else f" {_no_val(one)}"
    return plate.showing(
        figure=confusion_figure(found),
        alt="; ".join(
            f"{name} {c.threshold:.3g}: {c.real_as_real} reals called real, {c.real_as_fake} "
            f"called fake, {c.fake_as_real} fakes called real, {c.fake_as_fake} called fake"
            for name, c in found.items()
        ),
        caption=f"{n:,} videos with a detected face; each row adds up to 100 %. The threshold of "
        "source val was chosen on the training dataset, never on this one: what it gives here is "
        f"what a user would get.{without}",
    )


def _no_val(one: Evaluation) -> str:
    calibration = one.card.calibration
    reason = calibration.reason if calibration else "no scores of a source val split"
    return f"There is no threshold of source val: {reason}." if reason else ""


def _reliability(one: Evaluation) -> Plate:
    plate = Plate(name="reliability", title="Reliability")
    if reason := _missing(one):
        return plate.without(reason)
    calibration = one.card.calibration
    temperature = calibration.temperature if calibration else None
    panels = [_panel(one, "as scored", "video_ece", one.scores.video_sample())]
    if temperature is not None:
        name, (cooled, _) = f"temperature {temperature:.3g}", one.scores.calibrated(temperature)
        panels.append(_panel(one, name, "video_ece_calibrated", cooled))
        after = "Right: logits divided by the temperature that source val asked for."
    else:
        reason = calibration.reason if calibration else "no scores of a source val split"
        after = f"No temperature: {reason}."
    size = panels[0][1].n
    return plate.showing(
        figure=reliability_figure(panels),
        alt="Share of fakes against mean P(fake): "
        + "; ".join(
            f"{title.splitlines()[0]}: {b.observed[0]:.2f} in the lowest bin, "
            f"{b.observed[-1]:.2f} in the highest"
            for title, b in panels
        ),
        caption=f"{_sizes(size)}. On the diagonal a "
        "probability means what it says; below it the detector is too sure of fakes. Lines: "
        f"{_percent(one)} Wilson intervals. {after} Where a dataset has another share of fakes "
        "than the training data, even good probabilities leave the diagonal.",
    )


def _sizes(n: Int[np.ndarray, " bins"]) -> str:
    bins = "1 bin" if len(n) == 1 else f"{len(n)} bins"
    return (
        f"{bins} of {min(n)} videos"
        if min(n) == max(n)
        else f"{bins} of {min(n)} to {max(n)} videos"
    )


def _panel(one: Evaluation, title: str, name: str, sample: Sample) -> tuple[str, Reliability]:
    error = one.card.metrics.get(name)
    said = f"{title}\nECE {interval(error)}" if error else title
    bins = reliability(sample.label, sample.score, confidence=one.scoring.confidence)
    return said, bins


# --- manipulations --------------------------------------------------------------------------------


def part_plates(one: Evaluation) -> list[Plate]:
    """Return a figure for each kind of part that the card's breakdown has."""
    kinds: dict[str, list[Bar]] = {}
    for key, metrics in one.card.breakdown.items():
        kind, _, part = key.partition("/")
        if BROKEN_DOWN in metrics:
            kinds.setdefault(kind, []).append(Bar(part or kind, metrics[BROKEN_DOWN]))
    kinds = {kind: bars for kind, bars in kinds.items() if len(bars) > 1}
    if not kinds:
        reason = "there is one kind of fakes, or the card has no parts"
        return [Plate(name="by_manipulation", title="By manipulation", reason=reason)]
    return [_bars(one, kind, bars) for kind, bars in kinds.items()]


def _bars(one: Evaluation, kind: str, bars: Sequence[Bar]) -> Plate:
    shown = lowest(bars)
    plate = Plate(name=f"by_{slug(kind)}", title=f"By {kind}")
    if not shown:
        return plate.without("; ".join(sorted({bar.metric.reason for bar in bars})))
    undefined = sum(bar.metric.value is None for bar in bars)
    all_shown = len(shown) + undefined == len(bars)
    rest = "" if all_shown else f" The {SHOWN} lowest of {len(bars)}: the table has all."
    return plate.showing(
        figure=bars_figure(shown, "video AUC"),
        alt=f"Video AUC by {kind}: "
        + "; ".join(f"{bar.name} {interval(bar.metric)}" for bar in shown),
        caption=f"Video AUC of the fakes of each {kind} against all reals, the hardest first, with "
        f"{_percent(one)} bootstrap intervals over videos; dashed: chance."
        + rest
        + (f" Undefined: {undefined}; the table says why." if undefined else ""),
    )
