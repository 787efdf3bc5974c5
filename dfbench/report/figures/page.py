"""Figures and tables as one HTML page that needs nothing but itself.

The page runs no script, and its policy lets it load nothing from anywhere. All text is escaped
here, and only here: what comes in is plain.
"""

from __future__ import annotations

import base64
import html
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from dfbench.report.figures.style import Format
from dfbench.report.figures.svg import inline_svg
from dfbench.report.figures.tables import Table
from dfbench.report.matrix import plain
from dfbench.report.page.document import esc, tokens

STYLE = Path(__file__).with_name("page.css")
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)
HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
"""


@dataclass(frozen=True)
class Picture:
    """A figure as a file's bytes."""

    title: str
    caption: str
    alt: str
    data: bytes
    format: Format
    file: str  # relative to the page


@dataclass(frozen=True)
class Thumbnail:
    """A small image with two lines of text."""

    data: bytes
    kind: str  # "jpeg" or "png"
    head: str
    text: str


@dataclass(frozen=True)
class Gallery:
    """Thumbnails under a title."""

    title: str
    images: tuple[Thumbnail, ...]


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading."""

    title: str
    lead: str = ""
    warnings: tuple[str, ...] = ()
    columns: tuple[tuple[Table | Picture, ...], ...] = ()  # side by side where there is room
    rows: tuple[tuple[Picture, ...], ...] = ()
    galleries: tuple[Gallery, ...] = ()
    sheet: Picture | None = None  # of the same faces; on the page its caption and file
    missing: tuple[tuple[str, str], ...] = ()  # figures that there are none of, and why
    settings: str = ""  # preformatted, shown when asked for


def page(title: str, lead: str, sections: Sequence[Section], footer: str) -> str:
    """Return the page."""
    links = [f'<li><a href="#s{n}">{esc(s.title)}</a></li>' for n, s in enumerate(sections)]
    style = tokens() + STYLE.read_text(encoding="utf-8")
    head = HEAD.format(policy=POLICY, title=esc(title), style=style)
    parts = [
        head,
        f'<header><h1>{esc(title)}</h1><p class="lead">{esc(lead)}</p></header>',
        f'<nav aria-label="Sections"><ul>{"".join(links)}</ul></nav>',
        "<main>",
        *(_section(n, section) for n, section in enumerate(sections)),
        "</main>",
        f"<footer><p>{esc(footer)}</p></footer>",
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _section(number: int, one: Section) -> str:
    names = (f"f{number}-{k}" for k in itertools.count())

    def block(part: Table | Picture) -> str:
        return _table(part) if isinstance(part, Table) else _picture(next(names), part)

    columns = ["".join(map(block, column)) for column in one.columns]
    rows = ["".join(map(block, row)) for row in one.rows]
    parts = [
        f'<section aria-labelledby="s{number}">',
        f'<h2 id="s{number}">{esc(one.title)}</h2>',
        f'<p class="lead">{esc(one.lead)}</p>' if one.lead else "",
        _warnings(one.warnings),
        f'<div class="columns">{"".join(f"<div>{c}</div>" for c in columns)}</div>',
        *(f'<div class="plates">{row}</div>' for row in rows if row),
        _galleries(one),
        _missing(one.missing),
        _folded("All settings", f"<pre>{html.escape(one.settings)}</pre>") if one.settings else "",
        "</section>",
    ]
    return "\n".join(part for part in parts if part)


def _warnings(lines: Sequence[str]) -> str:
    items = "".join(f"<li>{esc(line)}</li>" for line in lines)
    head = '<div class="warnings" role="note"><strong>Read this first</strong>'
    return f"{head}<ul>{items}</ul></div>" if items else ""


def _table(table: Table) -> str:
    heads = "".join(f'<th scope="col">{esc(head)}</th>' for head in table.head)
    rows = "".join(f"<tr>{_row(row)}</tr>" for row in table.rows)
    note = f'<p class="note">{esc(table.note)}</p>' if table.note else ""
    head = f"<thead><tr>{heads}</tr></thead>" if any(table.head) else ""
    caption = "" if table.folded else f"<caption>{esc(table.title)}</caption>"
    # A wide table scrolls by itself; to scroll it by keyboard it takes the focus.
    inner = (
        f'<div class="table" tabindex="0" role="region" aria-label="{esc(table.title)}">'
        f"<table>{caption}{head}<tbody>{rows}</tbody></table></div>{note}"
    )
    return _folded(table.title, inner) if table.folded else f"<div>{inner}</div>"


def _row(row: Sequence[str]) -> str:
    cells = [f'<th scope="row">{esc(row[0])}</th>']
    for cell in row[1:]:
        short = ' class="short"' if len(cell) <= 20 else ""  # is not broken into lines
        cells.append(f"<td{short}>{esc(cell)}</td>")
    return "".join(cells)


def _folded(title: str, inner: str) -> str:
    return f"<details><summary>{esc(title)}</summary>{inner}</details>"


def _picture(name: str, picture: Picture) -> str:
    heading = f"<h3>{esc(picture.title)}</h3>"
    if picture.format == "svg":
        body = inline_svg(picture.data, name, plain(picture.alt))
    else:
        body = f'<img class="plot" alt="{esc(picture.alt)}" src="{_data(picture.data, "png")}">'
    return f"<figure>{heading}{body}{_caption(picture)}</figure>"


def _caption(picture: Picture) -> str:
    link = f'<a href="{esc(quote(picture.file))}">{esc(picture.format.upper())} file</a>'
    return f"<figcaption>{esc(picture.caption)} {link}</figcaption>"


def _galleries(one: Section) -> str:
    if not one.galleries or not one.sheet:
        return ""
    parts = []
    for gallery in one.galleries:
        images = "".join(
            f'<li><img loading="lazy" alt="face" src="{_data(image.data, image.kind)}">'
            f"<b>{esc(image.head)}</b><span>{esc(image.text)}</span></li>"
            for image in gallery.images
        )
        parts.append(f"<h3>{esc(gallery.title)}</h3><ul>{images}</ul>")
    return f'<figure class="faces">{"".join(parts)}{_caption(one.sheet)}</figure>'


def _missing(missing: Sequence[tuple[str, str]]) -> str:
    items = "".join(f"<li>{esc(title)}: {esc(reason)}.</li>" for title, reason in missing)
    return f'<div class="missing"><h3>Not shown</h3><ul>{items}</ul></div>' if items else ""


def _data(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
