"""Ranking, robustness, systems and published numbers, as sections in markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dfbench.report import systems
from dfbench.report.markdown_text import bullets, escape, table_text
from dfbench.report.matrix import Matrix, column_label, model_label
from dfbench.report.published import (
    METRICS,
    NOTICE,
    PublishedResult,
    PublishedTable,
    published_tables,
    value_notes,
)
from dfbench.report.ranking import (
    explain,
    group_title,
    interval,
    rank_text,
    seeds_words,
    with_results,
)
from dfbench.report.robustness import LEAD, SECTION, robustness_tables
from dfbench.results.card import ResultCard
from dfbench.results.standings import Standing, StandingGroup


def ranking(groups: Sequence[StandingGroup], table: Matrix) -> list[str]:
    """Return who ranks where, a table for each training set; none without standings."""
    if not groups:
        return []
    groups, empty = with_results(groups)
    rows = {row.key: row for row in table.rows}
    columns = {column.key: column_label(column) for column in table.columns}
    parts = ["## Ranking across datasets", bullets(escape(line) for line in explain(groups))]
    for group in groups:
        counted = ", ".join(columns[c] for c in group.columns)
        lines = [f"Mean over: {counted}." if counted else ""]
        if group.left_out:
            some = ", ".join(columns[c] for c in group.left_out)
            lines.append(f"Not counted, since only some have it: {some}.")
        lines.append(f"{group.note[0].upper()}{group.note[1:]}." if group.note else "")
        head = ["rank", "model", "mean video AUC", "ties", "seeds"]
        body = [
            [
                _rank(one),
                escape(f"{model_label(rows[one.row])} {rows[one.row].tag}".strip()),
                *_standing(one, [columns[c] for c in one.missing]),
            ]
            for one in group.standings
        ]
        parts += [
            f"### {escape(group_title(group))}",
            table_text(head, body),
            escape(" ".join(line for line in lines if line)),
        ]
    return [*parts, *([escape(empty)] if empty else [])]


def robustness(cards: Iterable[ResultCard]) -> list[str]:
    """Return what degraded crops change; none where no card is of such."""
    tables = robustness_tables(cards)
    parts = [f"## {SECTION}", LEAD] if tables else []
    for one in tables:
        body = [[escape(text) for text in row] for row in one.rows]
        parts += [f"### {escape(one.title)}", table_text([escape(text) for text in one.head], body)]
    return parts


def _rank(one: Standing) -> str:
    return "-" if one.rank is None else f"{one.rank} {rank_text(one)}".strip()


def _standing(one: Standing, missing: Sequence[str]) -> list[str]:
    if one.rank is None or one.mean is None:
        why = f"not ranked: lacks {', '.join(missing)}" if missing else "not ranked"
        return [escape(why), "-", "-"]
    return [f"{one.mean:.3f} {interval(one)}", one.letters or "-", seeds_words(one)]


def systems_section(cards: Sequence[ResultCard], published: Sequence[PublishedResult]) -> list[str]:
    """Return the section on systems of published projects; none where no card is of one."""
    rows = systems.system_rows(cards, published)
    if not rows:
        return []
    body = [
        [
            escape(f"{row.protocol}: {row.system}"),
            *("<br>".join(map(escape, lines)) for lines in (row.published, row.here)),
        ]
        for row in rows
    ]
    return [f"## {systems.SECTION}", escape(systems.LEAD), table_text(list(systems.HEAD), body)]


def published_section(results: Sequence[PublishedResult]) -> list[str]:
    """Return the numbers of others; of a source with AUCs only those, for length."""
    tables = published_tables(results)
    if not tables:
        return []
    with_auc = {table.source for table in tables if table.metric == "auc"}
    parts = [
        "## Published numbers, not comparable",
        escape(NOTICE) + " `published.csv` has all of them, with other metrics. † is "
        "within-dataset, ? could not be checked.",
    ]
    for table in tables:
        if table.metric == "auc" or table.source not in with_auc:
            parts += _published_table(table)
    return parts


def _published_table(table: PublishedTable) -> list[str]:
    noted = any(note for *_, note in table.rows)
    body = []
    for i, (detector, train, note) in enumerate(table.rows):
        found = [table.values.get((i, j)) for j in range(len(table.columns))]
        cells = [
            "-" if v is None else f"{v.value:.3f}{'†' * v.within}{'' if v.checked else '?'}"
            for v in found
        ]
        body.append([escape(detector), escape(train), *cells, *([escape(note)] if noted else [])])
    head = ["detector", "trained on", *(escape(name) for name in table.columns)]
    lines = [f"**Mismatch**: {escape(table.warning)}.", *map(escape, value_notes(table))]
    return [
        f"### {escape(table.source)}: {METRICS[table.metric]}",
        table_text([*head, "note"] if noted else head, body),
        bullets(lines),
    ]
