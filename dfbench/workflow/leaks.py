"""Cells whose test clips were trained on: found, and refused or allowed and written down."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from dfbench.config import DataConfig, RunConfig
from dfbench.data.audit import LEAKS, Example, Overlap, find_overlap
from dfbench.data.clips import clip_table
from dfbench.data.prepared import Prepared
from dfbench.errors import UserError
from dfbench.faces.clip import Split
from dfbench.progress import SILENT, Reporter
from dfbench.results.card import Audit
from dfbench.workflow.places import Places
from dfbench.workflow.preparation import prepare_spec
from dfbench.workflow.record import read_seen
from dfbench.workflow.training import TRAINED_ON, check_settings

SPLIT: Split = "test"  # is evaluated


def check_cells(
    configs: Sequence[RunConfig],
    places: Places,
    *,
    allow_leak: bool = False,
    reporter: Reporter = SILENT,
) -> None:
    """Check all cells of some runs before the first training; prepares their data.

    Raises:
      UserError: settings or data that cannot be used, or, without `allow_leak`, a cell whose test
        clips are in its training data.
    """
    for config in configs:
        check_settings(config, reporter)

    @functools.cache
    def datasets(spec: str, data: DataConfig) -> tuple[Prepared, ...]:
        return prepare_spec(spec, data, places, reporter)

    @functools.cache
    def clips(spec: str, data: DataConfig, splits: tuple[Split, ...]) -> pa.Table:
        return clip_table(datasets(spec, data), splits)

    for config in configs if not allow_leak else ():
        trained = clips(config.train, config.data, TRAINED_ON)
        for spec in dict.fromkeys((config.train, *config.eval)):
            evaluated = clips(spec, config.data, (SPLIT,))
            refuse_leak(find_overlap(trained, evaluated, kinds=LEAKS), config.train, spec)


def audit_run(
    run_dir: Path, train: str, spec: str, datasets: Sequence[Prepared], *, allow_leak: bool = False
) -> Audit:
    """Compare the test split of `spec` with what the training of a run saw, from its folder alone.

    Raises:
      UserError: test clips were trained on, without `allow_leak`; or the run's list of clips is
        missing.
    """
    overlap = find_overlap(read_seen(run_dir), clip_table(datasets, (SPLIT,)))
    if not allow_leak:
        refuse_leak(overlap, train, spec)
    return audit_of(overlap)


def refuse_leak(overlap: Overlap, train: str, spec: str) -> None:
    """Raise UserError where evaluated clips were trained on."""
    if not overlap.leaked:
        return
    raise UserError(
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
