"""The metrics that pages show: what they are called, and which way is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Measure:
    """How a metric is shown."""

    label: str
    about: str  # one sentence
    chance: float | Literal["fakes"] = 0.5  # of a guess; "fakes": the share of fakes
    higher_is_better: bool = True

    def shade(self, value: float, fakes: float | None) -> float:
        """Return where a value lies: 0 is chance, 1 the best there is, -1 as bad as that is good.

        Args:
          value: Of the metric.
          fakes: Share of fakes among what was scored.
        """
        if self.chance == "fakes":
            chance = 0.5 if fakes is None else fakes
        else:
            chance = self.chance
        best = 1.0 if self.higher_is_better else 0.0
        if best == chance:
            return 0.0
        return max(-1.0, min(1.0, (value - chance) / (best - chance)))


# Of the switch on the page and the tables, in this order.
MEASURES = {
    "video_auc": Measure(
        "video AUC",
        "Area under the ROC curve over videos, each scored by the mean of its frames; 0.5 is "
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
    "video_ap": Measure(
        "video AP",
        "Average precision over videos; chance is the share of fakes among them.",
        chance="fakes",
    ),
    "frame_ap": Measure(
        "frame AP",
        "Average precision over frames; chance is the share of fakes among them.",
        chance="fakes",
    ),
    "video_eer": Measure(
        "video EER",
        "Equal error rate over videos: where as many reals are called fake as fakes real; 0 is "
        "perfect, 0.5 is chance.",
        higher_is_better=False,
    ),
    "video_accuracy": Measure(
        "video accuracy", "Share of videos called rightly at the threshold 0.5.", chance="fakes"
    ),
    "frame_accuracy": Measure(
        "frame accuracy", "Share of frames called rightly at the threshold 0.5.", chance="fakes"
    ),
}
