"""Cards, standings and published numbers to `index.html`."""

from __future__ import annotations

from collections.abc import Sequence

from dfbench.report import systems
from dfbench.report.matrix import Matrix, legend_of_marks, shared, train_label, undefined
from dfbench.report.measures import MEASURES
from dfbench.report.page.board import STEPS, Board, board_html, make_board
from dfbench.report.page.document import document, esc, esc_name
from dfbench.report.page.published import published_html
from dfbench.report.page.ranking import ranking_html
from dfbench.report.published import PublishedResult
from dfbench.report.robustness import LEAD, SECTION, robustness_tables
from dfbench.results.card import ResultCard
from dfbench.results.standings import StandingGroup

EMPTY = """<section id="results" class="nothing">
<h2>No results yet</h2>
<p>Train a detector, score it on another dataset, and write this page again:</p>
<pre><code>dfbench run --train synth_swap --eval synth_blend --model meso4
dfbench leaderboard runs --out leaderboard</code></pre>
<p>Both datasets are rendered by dfbench, so this needs no download. Scores of a detector from
anywhere enter with</p>
<pre><code>dfbench score SCORES.csv --dataset celebdf --detector NAME</code></pre>
</section>"""


def leaderboard_html(
    cards: Sequence[ResultCard],
    standings: Sequence[StandingGroup],
    published: Sequence[PublishedResult],
) -> str:
    """Return the page; it loads nothing, and without scripts its tables still show."""
    clean = [card for card in cards if not card.cell.degrade]
    board = make_board(clean)
    return document(
        {
            "facts": esc(_facts(board.table, len(cards))) if cards else "",
            "results": _results(board) if clean else "" if cards else EMPTY,
            "ranking": ranking_html(standings, board.table) + _robustness(cards),
            "published": _systems(cards, published) + published_html(published, opened=not cards),
            "reading": _reading(board.table) if clean else "",
        },
        board.as_data(),
    )


def _facts(table: Matrix, cards: int) -> str:
    def count(n: int, word: str) -> str:
        return f"{n} {word}" if n == 1 else f"{n} {word}s"

    detectors = {(row.model, row.handed_in) for row in table.rows}
    trains = {row.train for row in table.rows} - {""}
    parts = [
        count(len(detectors), "detector"),
        count(len(trains), "training set"),
        count(len(table.columns), "evaluated set"),
        count(cards, "result"),
    ]
    return " · ".join(parts)


def _results(board: Board) -> str:
    metrics = "".join(
        f'<option value="{name}">{esc(MEASURES[name].label)}</option>' for name in board.metrics
    )
    trains = dict.fromkeys(train_label(board.table.rows[i]) for i in board.order)
    options = "".join(f'<option value="{esc(name)}">{esc(name)}</option>' for name in trains)
    about = esc(MEASURES[board.metrics[0]].about)
    parts = [
        '<section id="results" aria-labelledby="results-title">',
        '<h2 id="results-title">Every detector on every dataset</h2>',
        '<form class="controls" id="controls" hidden>',
        f'<label>Metric<select id="metric">{metrics}</select></label>',
        '<label>Training set<select id="train"><option value="">all training sets</option>'
        f"{options}</select></label>",
        '<label>Find<input type="search" id="find" autocomplete="off" '
        'placeholder="detector or training set"></label>',
        '<button type="button" id="clear">Reset</button>',
        "</form>",
        f'<p id="about">{about}</p>',
        '<p id="status" role="status" aria-live="polite"></p>',
        '<div class="scroll board" tabindex="0" role="region" aria-labelledby="results-title">'
        f"{board_html(board)}</div>",
        _legend(board.table),
        "</section>",
    ]
    return "\n".join(parts)


def _legend(table: Matrix) -> str:
    down = "".join(f'<i class="d{k}"></i>' for k in range(STEPS, 0, -1))
    up = "".join(f'<i class="u{k}"></i>' for k in range(STEPS + 1))
    signs = "".join(f"<li>{esc(line)}</li>" for line in legend_of_marks(table))
    tags = [f"{row.train} {row.tag}: {row.note}" for row in table.rows if row.tag]
    tags += [f"{column.eval} {column.tag}: {column.note}" for column in table.columns if column.tag]
    return (
        '<div class="legend"><p class="ramp" role="img" aria-label="Colours: orange is worse than '
        'chance, pale is chance, blue is better"><span>below chance</span>'
        f"{down}{up}<span>perfect</span></p>"
        f"<ul>{signs}{''.join(f'<li>{esc(line)}</li>' for line in dict.fromkeys(tags))}</ul>"
        f"{_list('What training and evaluated data share', shared(table))}"
        f"{_list('Undefined, or without an interval', undefined(table))}</div>"
    )


def _list(title: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    items = "".join(f"<li>{esc(line)}</li>" for line in lines)
    return f"<details><summary>{esc(title)} ({len(lines)})</summary><ul>{items}</ul></details>"


def _robustness(cards: Sequence[ResultCard]) -> str:
    """Return the section on degraded crops; empty where there are none."""
    tables = robustness_tables(cards)
    if not tables:
        return ""
    parts = []
    for one in tables:
        heads = "".join(f'<th scope="col">{_two_lines(text)}</th>' for text in one.head[2:])
        body = "".join(
            f'<tr><th scope="row" class="corner"><span class="name">{esc_name(name)}</span>'
            f'<small class="train">{esc_name(train)}</small></th>'
            f"{''.join(f'<td>{_two_lines(text)}</td>' for text in texts)}</tr>"
            for name, train, *texts in one.rows
        )
        parts.append(
            f'<h3>{esc_name(one.title)}</h3><div class="scroll" tabindex="0" role="region" '
            f'aria-label="{esc(f"{SECTION}, {one.title}")}"><table><thead><tr>'
            f'<th scope="col" class="corner">Detector<small>trained on</small></th>{heads}'
            f"</tr></thead><tbody>{body}</tbody></table></div>"
        )
    return (
        '<section id="robustness" aria-labelledby="robustness-title">'
        f'<h2 id="robustness-title">{SECTION}</h2><p>{esc(LEAD)}</p>{"".join(parts)}</section>'
    )


def _systems(cards: Sequence[ResultCard], published: Sequence[PublishedResult]) -> str:
    """Return the section on systems of published projects; empty where no card is of one."""
    rows = systems.system_rows(cards, published)
    if not rows:
        return ""
    heads = "".join(f'<th scope="col">{text}</th>' for text in systems.HEAD[1:])
    body = "".join(
        f'<tr><th scope="row" class="corner"><span class="name">{esc_name(row.system)}</span>'
        f'<small class="train">{esc_name(row.protocol)}</small></th>'
        f"<td>{_lines(row.published)}</td><td>{_lines(row.here)}</td></tr>"
        for row in rows
    )
    return (
        '<section id="systems" aria-labelledby="systems-title">'
        f'<h2 id="systems-title">{systems.SECTION}</h2><p>{esc(systems.LEAD)}</p>'
        f'<div class="scroll" tabindex="0" role="region" aria-label="{systems.SECTION}"><table>'
        f'<thead><tr><th scope="col" class="corner">System<small>protocol</small></th>{heads}</tr>'
        f"</thead><tbody>{body}</tbody></table></div></section>"
    )


def _lines(texts: Sequence[str]) -> str:
    return "<br>".join(map(esc, texts))


def _two_lines(text: str) -> str:
    """Return a value, and below it what stands behind it, unbroken."""
    first, _, rest = text.partition(" ")
    name, unbroken = esc(first).replace(":", ":<wbr>"), esc(rest).replace(" ", "&nbsp;")
    return f"{name}<small>{unbroken}</small>" if rest else name


def _reading(table: Matrix) -> str:
    lines = [
        "A row is a detector and the dataset it was trained on; a column is the dataset it was "
        "scored on. Checkpoints and thresholds are chosen on the training dataset's val split: the "
        "scored data choose nothing.",
        "Outlined cells (†) are within-dataset. Striped grey cells (‡) leak: training and "
        "evaluated data share clips, people or source videos. Neither is a measure of "
        "generalisation, and neither enters means, bold print or ranks.",
        "Bold: best of its column across datasets, to three digits. Where intervals overlap the "
        "order may be chance; the ranking says what is.",
        "Colours run from chance (pale) to perfect (blue) and to as bad as that is good (orange), "
        "for every metric alike.",
    ]
    if any(row.handed_in for row in table.rows):
        lines.append(
            "Scores handed in come from detectors that were trained and run elsewhere; what they "
            "were trained on is what their authors say (§)."
        )
    items = "".join(f"<li>{esc(line)}</li>" for line in lines)
    return (
        '<section id="reading" aria-labelledby="reading-title">'
        f'<h2 id="reading-title">How to read it</h2><ul>{items}</ul></section>'
    )
