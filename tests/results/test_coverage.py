from __future__ import annotations

from dataclasses import replace

from support.cards import fingerprint

from dfbench.results.card import Counts, DatasetFingerprint
from dfbench.results.coverage import coverage_warnings


def data(real: int, fake: int, wanted: int = 1000) -> DatasetFingerprint:
    def counts(frames: int) -> Counts:
        return Counts(clips=10, clips_with_crops=10, frames_wanted=wanted, frames=frames)

    return replace(
        fingerprint("celebdf"),
        counts={
            "test/real/real": counts(real),
            "test/fake/a": counts(fake),
            "train/real/real": counts(1000),
        },
    )


def test_a_gap_between_the_classes_is_said() -> None:
    assert coverage_warnings([data(990, 969)], ("test",)) == (
        "celebdf, test: 99.0 % of the frames of real clips gave a face crop and 96.9 % of the fake",
    )
    assert coverage_warnings([data(990, 971)], ("test",)) == ()
    assert len(coverage_warnings([data(900, 990), data(1000, 10)], ("test",))) == 2


def test_one_class_alone_has_no_gap() -> None:
    assert coverage_warnings([data(0, 0, wanted=0)], ("train", "val", "test")) == ()
