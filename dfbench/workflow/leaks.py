"""Cells whose test clips were trained on: found, and refused or allowed and written down."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dfbench.data.audit import Example, Overlap, find_overlap
from dfbench.data.clips import clip_table
from dfbench.data.prepared import Prepared
from dfbench.errors import UserError
from dfbench.faces.clip import Split
from dfbench.results.card import Audit
from dfbench.workflow.record import read_seen

SPLIT: Split = "test"  # is evaluated


class LeakError(UserError):
    """Test clips were trained on."""


def audit_run(
    run_dir: Path, train: str, spec: str, datasets: Sequence[Prepared], *, allow_leak: bool = False
) -> Audit:
    """Compare the test split of `spec` with what the training of a run saw, from its folder alone.

    Raises:
      LeakError: test clips were trained on, without `allow_leak`.
      UserError: the run's list of clips is missing.
    """
    overlap = find_overlap(read_seen(run_dir), clip_table(datasets, (SPLIT,)))
    if not allow_leak:
        refuse_leak(overlap, train, spec)
    return audit_of(overlap)


def refuse_leak(overlap: Overlap, train: str, spec: str) -> None:
    """Raise LeakError where evaluated clips were trained on."""
    if not overlap.leaked:
        return
    raise LeakError(
        f"{spec}: {overlap.leaked} of its {overlap.eval_clips} test clips are in the training data "
        f"({train}), for example {_said(overlap.leaks()[0])}; such a score says nothing. Take them "
        "out of one of the two, or have them scored with --allow-leak, which the card will say"
    )


def audit_of(overlap: Overlap) -> Audit:
    """Return the summary for the card."""
    examples = [example for finding in overlap.findings for example in finding.examples]
    return Audit(
        shared_videos=overlap.of("videos").shared,
        shared_identities=overlap.of("identities").shared,
        shared_footage=overlap.of("footage").shared,
        shared_originals=overlap.of("originals").shared,
        exact_duplicates=overlap.of("exact").shared,
        near_duplicates=overlap.of("near").shared,
        clips=overlap.concerned,
        note=f"for example {_said(examples[0])}" if examples else "",
        allowed=overlap.leaked > 0,
    )


def _said(example: Example) -> str:
    if example.shared == example.eval.video == example.train.video:
        return example.shared
    return f"{example.eval.video} and, in training, {example.train.video} ({example.shared})"
