"""The metrics that pages show: what they are called, and which way is better."""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import Literal


@dataclass(frozen=True)
class Measure:
    """How a metric is shown."""

    label: str
    about: str  # one sentence
    # Of a guess; "fakes": the share of fakes, "majority": of the more frequent class.
    chance: float | Literal["fakes", "majority"] = 0.5
    higher_is_better: bool = True

    def shade(self, value: float, fakes: float | None) -> float:
        """Return where a value lies: 0 is chance, 1 the best there is, -1 as bad as that is good.

        Args:
          value: Of the metric.
          fakes: Share of fakes among what was scored.
        """
        share = 0.5 if fakes is None else fakes
        named = {"fakes": share, "majority": max(share, 1 - share)}
        chance = named[self.chance] if isinstance(self.chance, str) else self.chance
        best = 1.0 if self.higher_is_better else 0.0
        if best == chance:
            return 0.0
        return max(-1.0, min(1.0, (value - chance) / (best - chance)))


# Of the switch on the page, in this order; leaderboard.csv has every metric of the cards.
MEASURES = {
    "video_auc": Measure(
        "video AUC",
        "Area under the ROC curve over videos with a detected face, each with one score; 0.5 is "
        "chance, 1 is perfect.",
    ),
    "video_auc_all": Measure(
        "video AUC, all videos",
        "As video AUC, with every video: one without any detected face is scored 0.5.",
    ),
    "frame_auc": Measure(
        "frame AUC",
        "Area under the ROC curve over frames; its interval resamples videos, since the frames of "
        "one are alike.",
    ),
    "video_auc_by_identity": Measure(
        "video AUC, interval over people",
        "The same value as video AUC; its interval resamples people instead of videos.",
    ),
    "video_partial_auc": Measure(
        "video AUC up to FPR 10%",
        "Area under the ROC curve at false-positive rates up to 10%, standardised: 0.5 is chance, "
        "1 is perfect.",
    ),
    "video_ap": Measure(
        "video AP",
        "Average precision over videos; chance is the share of fakes among them.",
        chance="fakes",
    ),
    "video_eer": Measure(
        "video EER",
        "Equal error rate over videos: where as many reals are called fake as fakes real; 0 is "
        "perfect, 0.5 is chance.",
        higher_is_better=False,
    ),
    "video_tpr_at_fpr_1pct": Measure(
        "video TPR at FPR 1%",
        "Share of fake videos that are found where at most 1% of the real ones are called fake; "
        "undefined with fewer than 100 real videos.",
        chance=0.01,
    ),
    "video_tpr_at_fpr_5pct": Measure(
        "video TPR at FPR 5%",
        "Share of fake videos that are found where at most 5% of the real ones are called fake; "
        "undefined with fewer than 20 real videos.",
        chance=0.05,
    ),
    "video_balanced_accuracy": Measure(
        "video balanced accuracy",
        "Mean of the shares of real and of fake videos called rightly at the threshold 0.5.",
    ),
    "video_balanced_accuracy_source_val": Measure(
        "video balanced accuracy, threshold of source val",
        "Mean of the shares of real and of fake videos called rightly at the threshold that was "
        "chosen on the training dataset's val split.",
    ),
    "video_accuracy": Measure(
        "video accuracy",
        "Share of videos called rightly at the threshold 0.5; chance is the share of the more "
        "frequent class.",
        chance="majority",
    ),
    "video_log_loss": Measure(
        "video log loss",
        "Mean negative log of the probability given to each video's class; 0 is perfect, 0.693 is "
        "what always saying 0.5 gives.",
        chance=log(2),
        higher_is_better=False,
    ),
    "video_brier": Measure(
        "video Brier score",
        "Mean squared error of P(fake) over videos; 0 is perfect, 0.25 is what always saying 0.5 "
        "gives.",
        chance=0.25,
        higher_is_better=False,
    ),
    "video_ece": Measure(
        "video calibration error",
        "Expected calibration error over videos, in 15 bins of about equal mass; 0 is perfect.",
        higher_is_better=False,
    ),
    "video_ece_calibrated": Measure(
        "video calibration error, temperature of source val",
        "As the calibration error, after dividing logits by the temperature fitted on the training "
        "dataset's val split; 0 is perfect.",
        higher_is_better=False,
    ),
}
