"""Published numbers as a part of the page that cannot be taken for our results."""

from __future__ import annotations

from collections.abc import Sequence

from dfbench.report.page.document import esc, esc_name
from dfbench.report.published import (
    METRICS,
    NOTICE,
    PublishedResult,
    PublishedTable,
    published_tables,
    value_notes,
)


def published_html(results: Sequence[PublishedResult], opened: bool) -> str:
    """Return the section, folded unless `opened`; empty where there is no number."""
    if not results:
        return ""
    tables = published_tables(results)
    sources = list(dict.fromkeys(table.source for table in tables))
    metrics = [name for name in METRICS if any(t.metric == name for t in tables)]
    parts = "".join(_source(name, [t for t in tables if t.source == name]) for name in sources)
    return (
        '<section id="published" aria-labelledby="published-title">'
        f"<details{' open' if opened else ''}><summary>"
        '<h2 id="published-title">Published numbers</h2>'
        f"<span>{len(results)} from {len(sources)} sources, not comparable</span></summary>"
        f"<p>{esc(NOTICE)} † is within-dataset, ? could not be checked.</p>"
        '<form class="controls" id="published-controls" hidden>'
        f"{_select('published-source', 'Source', 'all sources', sources)}"
        f"{_select('published-metric', 'Metric', 'all metrics', metrics, METRICS)}"
        '<label>Find<input type="search" id="published-find" autocomplete="off" '
        'placeholder="detector or training set"></label></form>'
        f'<p id="published-status" role="status" class="hidden"></p>{parts}</details></section>'
    )


def _select(
    name: str, label: str, every: str, values: Sequence[str], labels: dict[str, str] | None = None
) -> str:
    options = "".join(
        f'<option value="{esc(v)}">{esc((labels or {}).get(v, v))}</option>' for v in values
    )
    return (
        f'<label>{esc(label)}<select id="{name}"><option value="">{esc(every)}</option>'
        f"{options}</select></label>"
    )


def _source(name: str, tables: Sequence[PublishedTable]) -> str:
    parts = "".join(_table(table) for table in tables)
    warnings = "".join(
        f'<p class="warning"><b>Mismatch:</b> {esc(text)}.</p>'
        for text in dict.fromkeys(table.warning for table in tables)
    )
    return (
        f'<section class="source" data-source="{esc(name)}"><h3>{esc(name)}</h3>'
        f"{warnings}{parts}</section>"
    )


def _table(table: PublishedTable) -> str:
    label = METRICS[table.metric]
    heads = "".join(f'<th scope="col">{esc_name(name)}</th>' for name in table.columns)
    body = []
    for i, (detector, train, note) in enumerate(table.rows):
        small = f'<small class="setting">{esc(note)}</small>' if note else ""
        cells = "".join(_td(table.values.get((i, j))) for j in range(len(table.columns)))
        body.append(
            f'<tr><th scope="row"><span class="name">{esc_name(detector)}</span>'
            f'<small class="train">{esc(train)}</small>{small}</th>{cells}</tr>'
        )
    notes = "".join(f"<li>{esc(line)}</li>" for line in value_notes(table))
    title = esc(f"{label}, {table.source}")
    return (
        f'<div class="published" data-metric="{esc(table.metric)}">'
        f'<div class="scroll" tabindex="0" role="region" aria-label="{title}"><table>'
        f'<caption>{esc(label)}</caption><thead><tr><th scope="col" class="corner">Detector'
        f"<small>trained on</small></th>{heads}</tr></thead><tbody>{''.join(body)}</tbody></table>"
        f"</div>{f'<ul>{notes}</ul>' if notes else ''}</div>"
    )


def _td(one: PublishedResult | None) -> str:
    if one is None:
        return '<td class="empty"><span aria-hidden="true">-</span></td>'
    signs = ("†" if one.within else "") + ("" if one.checked else "?")
    return f"<td>{one.value:.3f}{signs}</td>"
