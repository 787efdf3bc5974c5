"""What preparation made of a dataset: numbers for a file, and a page with crops to look at."""

from __future__ import annotations

import base64
import html
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dfbench.data.prepared import Prepared, column
from dfbench.data.records import EncodedFaces
from dfbench.faces.clip import SPLITS, recipe_values
from dfbench.files import write_json, write_text
from dfbench.results.coverage import coverage_warnings

NUMBERS, PAGE = "report.json", "report.html"
_SHOWN = 12  # crops of each manipulation in each split


@dataclass(frozen=True, kw_only=True)
class Row:
    """One manipulation (or "real") of one split."""

    split: str
    label: str  # "real" or "fake"
    manipulation: str
    clips: int
    clips_with_crops: int
    frames_wanted: int
    frames: int
    mean_side: float | None  # of the square that is cut out, px in the frame; None: no crop
    clip_reasons: dict[str, int]  # why clips gave no crop -> clips
    frame_reasons: dict[str, int]  # why frames of decoded clips gave none -> frames


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The report of a preparation."""

    name: str
    variant: str
    recipe: dict[str, object]
    detector_note: str
    rows: tuple[Row, ...]
    excluded: dict[str, int]
    warnings: tuple[str, ...]


def summarise(prepared: Prepared) -> Summary:
    """Gather the numbers of a prepared dataset."""
    manifest = prepared.manifest
    return Summary(
        name=prepared.name,
        variant=manifest.variant,
        recipe=recipe_values(manifest.recipe),
        detector_note=manifest.detector_note,
        rows=tuple(_row(prepared, key) for key in sorted(manifest.counts, key=_order)),
        excluded=manifest.excluded,
        warnings=coverage_warnings([prepared.fingerprint()], SPLITS),
    )


def _order(key: str) -> tuple[int, bool, str]:
    """Sort by split as they are used, real clips first."""
    split, label, manipulation = key.split("/", 2)
    return [*SPLITS].index(split), label != "real", manipulation  # type: ignore[arg-type]


def _row(prepared: Prepared, key: str) -> Row:
    manifest = prepared.manifest
    split, label, manipulation = key.split("/", 2)
    counts = manifest.counts[key]
    reasons = Counter(
        missed.reason
        for missed in manifest.missed
        if (missed.split, missed.manipulation) == (split, manipulation)
    )
    table = prepared.frames(split)  # type: ignore[arg-type]
    sides = column(table, "side")[column(table, "manipulation") == manipulation]
    return Row(
        split=split,
        label=label,
        manipulation=manipulation,
        clips=counts.clips,
        clips_with_crops=counts.clips_with_crops,
        frames_wanted=counts.frames_wanted,
        frames=counts.frames,
        mean_side=round(float(sides.mean()), 1) if len(sides) else None,
        clip_reasons=dict(reasons.most_common()),
        frame_reasons=manifest.frame_misses.get(key, {}),
    )


def write_summary(prepared: Prepared) -> Path:
    """Write `report.json` and `report.html` beside the data where they are not yet.

    Returns:
      The page.
    """
    numbers, page = prepared.folder / NUMBERS, prepared.folder / PAGE
    if not (numbers.is_file() and page.is_file()):
        summary = summarise(prepared)
        write_json(numbers, summary)
        write_text(page, _page(summary, prepared))
    return page


# --- the page -------------------------------------------------------------------------------------

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem;
       color: #222; background: #fff }
table { border-collapse: collapse } th, td { padding: .2rem .8rem; text-align: right }
th { border-bottom: 1px solid #888 } td:nth-child(-n+2), th:nth-child(-n+2) { text-align: left }
.warning { border-left: 4px solid #b00; padding-left: .8rem }
.crops { display: flex; flex-wrap: wrap; gap: 4px } .crops img { width: 128px; height: 128px }
"""


def _page(summary: Summary, prepared: Prepared) -> str:
    recipe = ", ".join(f"{name} {value}" for name, value in summary.recipe.items())
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        f"<title>{_text(summary.name)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{_text(' '.join([summary.name, summary.variant]))}</h1>",
        f"<p>Crop recipe: {_text(recipe)}.</p>",
        *(f"<p class='warning'>{_text(line)}</p>" for line in _warnings(summary)),
        _table(summary.rows),
        *_reasons(summary),
        "<h2>Crops</h2><p>Are these whole faces, and the right ones? Evenly spread over the crops "
        "of each kind; pointing at one shows its clip and frame.</p>",
        *_crops(summary, prepared),
        "</body></html>\n",
    ]
    return "\n".join(parts)


def _text(value: str) -> str:
    return html.escape(value, quote=True)


def _warnings(summary: Summary) -> list[str]:
    note = [f"Detector: {summary.detector_note}"] if summary.detector_note else []
    return note + [f"The detector favours a class. {line}." for line in summary.warnings]


def _table(rows: Iterable[Row]) -> str:
    heads = ("split", "kind", "clips", "with crops", "frames", "with crops", "", "mean side, px")
    lines = ["<table><tr>" + "".join(f"<th>{head}</th>" for head in heads) + "</tr>"]
    for row in rows:
        share = f"{100 * row.frames / row.frames_wanted:.1f} %" if row.frames_wanted else ""
        cells = (
            row.split,
            row.manipulation if row.label == "fake" else "real",
            f"{row.clips:,}",
            f"{row.clips_with_crops:,}",
            f"{row.frames_wanted:,}",
            f"{row.frames:,}",
            share,
            "" if row.mean_side is None else f"{row.mean_side:.0f}",
        )
        lines.append("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in cells) + "</tr>")
    return "\n".join([*lines, "</table>"])


def _reasons(summary: Summary) -> list[str]:
    lines = [f"{count} clips are in no split: {why}" for why, count in summary.excluded.items()]
    for row in summary.rows:
        where = f"{row.split}, {row.manipulation}"
        lines += [f"{where}: {n} clips gave no crop: {why}" for why, n in row.clip_reasons.items()]
        lines += [f"{where}: {n} frames: {why}" for why, n in row.frame_reasons.items()]
    if not lines:
        return ["<p>Every frame that was asked for gave a crop.</p>"]
    items = "".join(f"<li>{_text(line)}</li>" for line in lines)
    return [f"<h2>What gave no crop</h2><ul>{items}</ul>"]


def _crops(summary: Summary, prepared: Prepared) -> list[str]:
    parts = []
    kind = f"image/{summary.recipe['format']}"
    for split in SPLITS:
        table = prepared.frames(split)
        if not len(table):
            continue
        source = EncodedFaces(prepared.folder, split)
        manipulations, videos = column(table, "manipulation"), column(table, "video")
        positions, frames = column(table, "position"), column(table, "frame")
        for name in sorted(set(manipulations), key=lambda name: (name != "real", name)):
            rows = np.flatnonzero(manipulations == name)
            chosen = rows[np.linspace(0, len(rows) - 1, min(_SHOWN, len(rows))).round().astype(int)]
            images = []
            for row in chosen:
                face = source.face(int(positions[row]))
                data = base64.b64encode(face).decode()
                label = _text(f"{videos[row]}, frame {frames[row]}")
                images.append(
                    f"<img src='data:{kind};base64,{data}' alt='{label}' title='{label}'>"
                )
            parts.append(f"<h3>{_text(f'{split}, {name}')}</h3>")
            parts.append(f"<div class='crops'>{''.join(images)}</div>")
    return parts
