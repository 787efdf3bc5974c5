"""Evaluations to sections of the page, and to the files of their figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dfbench.report.curves import curves_figure
from dfbench.report.figures.evaluation import Evaluation, Plate
from dfbench.report.figures.intervals import Bar, bars_figure, interval
from dfbench.report.figures.page import Gallery, Picture, Section, Thumbnail
from dfbench.report.figures.plates import dataset_plates, part_plates
from dfbench.report.figures.singles import FACES, face_groups, face_name, single_plates
from dfbench.report.figures.style import Format, encode
from dfbench.report.figures.sweep import drawable, sweep_figure
from dfbench.report.figures.tables import (
    Table,
    breakdown_table,
    chosen_table,
    coverage_table,
    facts_table,
    meanings_table,
    metrics_table,
    oracle_table,
    other_metrics_table,
    overview_table,
    role_words,
    warnings,
)
from dfbench.report.robustness import (
    CHANGE_NOTE,
    LEAD,
    SECTION,
    SWEEP_HEAD,
    Sweep,
    sweep_rows,
)

Files = dict[str, bytes]  # by name, relative to the page


def dataset_section(one: Evaluation, format: Format) -> tuple[Section, Files]:
    """Return the section of an evaluated dataset."""
    curves, parts, singles = dataset_plates(one), part_plates(one), single_plates(one)
    plates = [*curves, *parts, *singles]
    drawn, files = _drawn(plates, format, f"{one.name}/")
    galleries = tuple(
        Gallery(title, tuple(_thumbnail(one, row) for row in rows))
        for title, rows in face_groups(one)
    )
    confidence = one.scoring.confidence
    left = metrics_table(one.card, confidence), other_metrics_table(one.card, confidence)
    right = [table(one.card) for table in (chosen_table, oracle_table, breakdown_table)]
    # The sheet of faces is a file; on the page they are single images, which wrap.
    shown = [p for p in singles if p.name != FACES]
    section = Section(
        title=one.card.cell.scored,
        lead=role_words(one.card),
        warnings=tuple(warnings(one.card)),
        columns=(
            tuple(table for table in left if table),
            (coverage_table(one.card), *_of(parts, drawn), *(table for table in right if table)),
        ),
        rows=(_of(curves, drawn), _of(shown, drawn)),
        galleries=galleries,
        sheet=drawn.get(FACES),
        missing=_missing(plates),
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
    plates = [_overview(evaluations), _training(history)]
    drawn, files = _drawn(plates, format, "")
    section = Section(
        title="Overview",
        columns=(
            (overview_table(cards, _percent(evaluations)), *_of(plates[:1], drawn)),
            (facts_table(cards[0]), *_of(plates[1:], drawn), meanings_table(cards)),
        ),
        missing=_missing(plates),
        settings=settings,
    )
    return section, files


def robustness_section(sweeps: Sequence[Sweep], format: Format) -> tuple[Section, Files]:
    """Return the section on degraded crops: of each dataset a table and a figure."""
    notes = [*[""] * (len(sweeps) - 1), CHANGE_NOTE]
    pairs = zip(sweeps, notes, strict=True)
    tables = [Table(s.name, SWEEP_HEAD, tuple(sweep_rows(s)), note) for s, note in pairs]
    plate = _sweeps(drawable(sweeps))
    drawn, files = _drawn([plate], format, "")
    section = Section(
        title=SECTION,
        lead=LEAD,
        columns=(tuple(tables), _of([plate], drawn)),
        missing=_missing([plate]),
    )
    return section, files


def _sweeps(sweeps: Sequence[Sweep]) -> Plate:
    plate = Plate(name="robustness", title="Video AUC by strength")
    if not sweeps:
        return plate.without("video AUC is undefined on all degraded crops")
    said = [
        f"{sweep.name} clean {interval(sweep.metric)}, "
        + ", ".join(f"{p.degradation.text} {interval(p.metric)}" for p in sweep.points)
        for sweep in sweeps
    ]
    return plate.showing(
        sweep_figure(sweeps),
        alt="; ".join(said),
        caption="What is stronger is further to the right. Bars, and the grey band of clean "
        "crops, are bootstrap intervals over videos.",
    )


def _overview(evaluations: Sequence[Evaluation]) -> Plate:
    plate = Plate(name="overview", title="Video AUC by dataset")
    bars = []
    for one in evaluations:
        m = one.card.metrics.get("video_auc")
        if m is not None and m.value is not None:
            mark = " †" if one.card.role == "within" else ""
            bars.append(Bar(one.card.cell.scored, m, mark))
    if not bars:
        return plate.without("video AUC is undefined for every evaluated dataset")
    within = " †: within-dataset." if any(bar.note for bar in bars) else ""
    percent = _percent(evaluations)
    return plate.showing(
        bars_figure(bars, "video AUC"),
        alt="; ".join(f"{bar.name} {interval(bar.metric)}" for bar in bars),
        caption=f"Bars are {percent} bootstrap intervals over videos; dashed: chance.{within}",
    )


def _percent(evaluations: Sequence[Evaluation]) -> str:
    return " or ".join(sorted({f"{100 * e.scoring.confidence:g} %" for e in evaluations}))


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


def _drawn(
    plates: Sequence[Plate], format: Format, folder: str
) -> tuple[dict[str, Picture], Files]:
    """Return the figures that could be drawn: for the page by the plates' names, and as files."""
    pictures, files = {}, {}
    for plate in plates:
        if plate.figure is not None:
            kind = plate.format or format
            data = encode(plate.figure, kind)
            name = f"{folder}{plate.name}.{kind}"
            files[name] = data
            pictures[plate.name] = Picture(plate.title, plate.caption, plate.alt, data, kind, name)
    return pictures, files


def _of(plates: Sequence[Plate], drawn: Mapping[str, Picture]) -> tuple[Picture, ...]:
    return tuple(drawn[plate.name] for plate in plates if plate.name in drawn)


def _missing(plates: Sequence[Plate]) -> tuple[tuple[str, str], ...]:
    return tuple((plate.title, plate.reason) for plate in plates if plate.figure is None)
