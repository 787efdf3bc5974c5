"""Standings as tables of HTML, each with a plot of the means and their intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from dfbench.report.matrix import Matrix, Row, column_label, train_label
from dfbench.report.page.document import esc, esc_name
from dfbench.report.ranking import (
    explain,
    group_title,
    interval,
    rank_text,
    seeds_words,
    with_results,
)
from dfbench.results.comparable import ColumnKey, RowKey
from dfbench.results.standings import Standing, StandingGroup

WIDTH, HEIGHT, PAD = 150, 20, 6  # of a plot


def ranking_html(groups: Sequence[StandingGroup], table: Matrix) -> str:
    """Return the section of all groups; empty where there is none."""
    if not groups:
        return ""
    rows = {row.key: row for row in table.rows}
    columns = {column.key: column_label(column) for column in table.columns}
    groups, empty = with_results(groups)
    axis = _axis(groups)
    parts = [_group(group, rows, columns, axis) for group in groups]
    parts += [f"<p>{esc(empty)}</p>"] if empty else []
    said = "".join(f"<p>{esc(line)}</p>" for line in explain(groups))
    return (
        '<section id="ranking" aria-labelledby="ranking-title">'
        '<h2 id="ranking-title">Ranking across datasets</h2>'
        f'{said}<div class="groups">{"".join(parts)}</div></section>'
    )


def _group(
    group: StandingGroup,
    rows: Mapping[RowKey, Row],
    columns: Mapping[ColumnKey, str],
    axis: tuple[float, float],
) -> str:
    heads = ["Rank", "Detector", "Mean video AUC", "Ties", "", "Seeds"]
    scale = f'<span class="scale"><span>{axis[0]:g}</span><span>{axis[1]:g}</span></span>'
    head = "".join(f'<th scope="col">{esc(text)}{"" if text else scale}</th>' for text in heads)
    body = "".join(_standing(one, rows[one.row], columns, axis) for one in group.standings)
    counted = ", ".join(columns[c] for c in group.columns)
    lines = [f"Mean over: {counted}." if counted else ""]
    if group.left_out:
        some = ", ".join(columns[c] for c in group.left_out)
        lines.append(f"Not counted, since only some have it: {some}.")
    if group.note:
        lines.append(f"{group.note[0].upper()}{group.note[1:]}.")
    said = "".join(f"<p>{esc(line)}</p>" for line in lines if line)
    train = train_label(rows[group.standings[0].row])
    title = esc(group_title(group))
    return (
        f'<section class="group" data-train="{esc(train)}"><h3>{title}</h3>{said}'
        f'<div class="scroll" tabindex="0" role="region" aria-label="Ranking: {title}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></section>"
    )


def _standing(
    one: Standing, row: Row, columns: Mapping[ColumnKey, str], axis: tuple[float, float]
) -> str:
    name = esc_name(f"{row.model} {row.tag}".strip())
    badge = '<small class="badge">scores handed in</small>' if row.handed_in else ""
    if one.rank is None:
        lacks = ", ".join(columns[c] for c in one.missing)
        why = f"not ranked: lacks {lacks}" if lacks else "not ranked"
        return (
            f'<tr class="unranked"><td>-</td><th scope="row">{name}{badge}</th>'
            f'<td colspan="4">{esc(why)}</td></tr>'
        )
    mean = "" if one.mean is None else f"<b>{one.mean:.3f}</b>"
    return (
        f"<tr><td><b>{one.rank}</b> <small>{esc(rank_text(one))}</small></td>"
        f'<th scope="row">{name}{badge}</th><td>{mean} <small>{esc(interval(one))}</small></td>'
        f"<td>{esc(one.letters or '-')}</td><td>{_plot(one, axis)}</td>"
        f"<td>{_seeds(one)}</td></tr>"
    )


def _seeds(one: Standing) -> str:
    count, *spread = seeds_words(one).split(" ", 1)
    return esc(count) + "".join(f" <small>{esc(text)}</small>" for text in spread)


def _axis(groups: Sequence[StandingGroup]) -> tuple[float, float]:
    values = [v for g in groups for s in g.standings for v in (s.low, s.mean) if v is not None]
    return min(0.5, math.floor(10 * min(values, default=0.5)) / 10), 1.0


def _plot(one: Standing, axis: tuple[float, float]) -> str:
    """Return a dot and a line; the numbers beside it say the same."""

    def x(value: float) -> str:
        share = (value - axis[0]) / (axis[1] - axis[0])
        return f"{PAD + share * (WIDTH - 2 * PAD):.1f}"

    middle = HEIGHT // 2
    parts = [
        f'<line class="axis" x1="{PAD}" x2="{WIDTH - PAD}" y1="{middle}" y2="{middle}"/>',
        f'<line class="chance" x1="{x(0.5)}" x2="{x(0.5)}" y1="2" y2="{HEIGHT - 2}"/>',
    ]
    if one.low is not None and one.high is not None:
        ends = f'x1="{x(one.low)}" x2="{x(one.high)}"'
        parts.append(f'<line class="interval" {ends} y1="{middle}" y2="{middle}"/>')
    parts += [
        f'<circle class="seed" cx="{x(value)}" cy="{middle}" r="2"/>' for value in one.seed_means
    ]
    if one.mean is not None:
        parts.append(f'<circle class="mean" cx="{x(one.mean)}" cy="{middle}" r="4"/>')
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'aria-hidden="true" focusable="false">{"".join(parts)}</svg>'
    )
