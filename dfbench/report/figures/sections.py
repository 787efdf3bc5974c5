"""Evaluations to sections of the page, and to the files of their figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dfbench.report.curves import curves_figure
from dfbench.report.figures.evaluation import Evaluation, Plate
from dfbench.report.figures.intervals import Bar, bars_figure, interval
from dfbench.report.figures.page import Gallery, Picture, Section, Thumbnail
from dfbench.report.figures.plates import dataset_plates
from dfbench.report.figures.singles import FACES, face_groups, face_name, single_plates
from dfbench.report.figures.style import Format, encode
from dfbench.report.figures.tables import (
    breakdown_table,
    coverage_table,
    facts_table,
    metrics_table,
    overview_table,
    role_words,
    warnings,
)

Files = dict[str, bytes]  # by name, relative to the page


def dataset_section(one: Evaluation, format: Format) -> tuple[Section, Files]:
    """Return the section of an evaluated dataset."""
    plates = [*dataset_plates(one), *single_plates(one)]
    pictures, files = _drawn(plates, format, f"{one.name}/")
    galleries = tuple(
        Gallery(title, tuple(_thumbnail(one, row) for row in rows))
        for title, rows in face_groups(one)
    )
    if galleries:  # the sheet is a file; on the page its faces wrap
        pictures = [p for p in pictures if not p.file.endswith(f"/{FACES}.png")]
    parts = breakdown_table(one.card)
    confidence = one.scoring.confidence
    tables = [metrics_table(one.card, confidence), coverage_table(one.card)]
    section = Section(
        title=one.card.cell.eval,
        lead=role_words(one.card),
        warnings=tuple(warnings(one.card)),
        tables=(*tables, *([parts] if parts else [])),
        pictures=tuple(pictures),
        galleries=galleries,
        gallery=plates[-1].caption,
    )
    return section, files


def _thumbnail(one: Evaluation, row: int) -> Thumbnail:
    crop = one.crops[row]
    head = f"P(fake) {one.table.p_fake[row]:.3f}"
    return Thumbnail(crop.encoded, crop.kind, head, face_name(one, row))


def overview_section(
    evaluations: Sequence[Evaluation],
    history: Sequence[Mapping[str, Any]] | None,
    settings: str,
    format: Format,
) -> tuple[Section, Files]:
    """Return what all evaluated datasets have in common.

    Args:
      evaluations: Of one detector; at least one.
      history: Of its training; None: it was trained elsewhere.
      settings: Of its training, as text.
      format: Of the figures.
    """
    cards = [one.card for one in evaluations]
    pictures, files = _drawn([_overview(evaluations), _training(history)], format, "")
    section = Section(
        title="Overview",
        tables=(overview_table(cards), facts_table(cards[0])),
        pictures=tuple(pictures),
        settings=settings,
    )
    return section, files


def _overview(evaluations: Sequence[Evaluation]) -> Plate:
    plate = Plate(name="overview", title="Video AUC by dataset")
    bars = []
    for one in evaluations:
        m = one.card.metrics.get("video_auc")
        if m is not None and m.value is not None:
            mark = " †" if one.card.role == "within" else ""
            bars.append(Bar(one.card.cell.eval, m, mark))
    if not bars:
        return plate.without("video AUC is undefined for every evaluated dataset")
    within = " †: within-dataset." if any(bar.note for bar in bars) else ""
    percent = " or ".join(sorted({f"{100 * e.scoring.confidence:g} %" for e in evaluations}))
    return plate.showing(
        bars_figure(bars, "video AUC"),
        alt="; ".join(f"{bar.name} {interval(bar.metric)}" for bar in bars),
        caption=f"Bars are {percent} bootstrap intervals over videos; dashed: chance.{within} "
        "The axis does not begin at 0.",
    )


def _training(history: Sequence[Mapping[str, Any]] | None) -> Plate:
    plate = Plate(name="learning_curves", title="Learning curves")
    if history is None:
        return plate.without("the training is not here")
    checked = [row for row in history if row.get("val_loss") is not None]
    return plate.showing(
        curves_figure(history),
        alt=f"Loss and AUC on source val over {len(checked)} epochs",
        caption="Loss of training and of the training dataset's val split, and video AUC on that "
        "split, which chose the kept epoch. The evaluated datasets had no part in it.",
    )


def _drawn(plates: Sequence[Plate], format: Format, folder: str) -> tuple[list[Picture], Files]:
    """Return figures for the page and as files; one that could not be drawn says why."""
    pictures, files = [], {}
    for plate in plates:
        if plate.figure is None:
            pictures.append(Picture(plate.title, plate.reason))
            continue
        kind = plate.format or format
        data = encode(plate.figure, kind)
        name = f"{folder}{plate.name}.{kind}"
        files[name] = data
        pictures.append(Picture(plate.title, plate.caption, plate.alt, data, kind, name))
    return pictures, files
