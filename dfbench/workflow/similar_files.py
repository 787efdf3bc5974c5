"""The job of `dfbench similar`: files to a table, a JSON file and a sheet of crops."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfbench import __version__
from dfbench.config import DataConfig
from dfbench.data.nearest import Metric
from dfbench.data.prepared import CLASS_NAMES
from dfbench.errors import one_line, system_errors
from dfbench.faces.crop import decode
from dfbench.faces.images import is_image
from dfbench.files import write_json
from dfbench.progress import SILENT, Reporter
from dfbench.report.sheet import Group, Strip, Tile, write_sheet
from dfbench.report.text import aligned
from dfbench.workflow.describe import HARRIS, find_describer
from dfbench.workflow.input_files import list_inputs
from dfbench.workflow.places import Places
from dfbench.workflow.preparation import prepare_spec
from dfbench.workflow.query_faces import Query, check_readable, query_faces
from dfbench.workflow.similar import Match, Place, check_top, open_pool

JSON, SHEET = "similar.json", "similar.png"
ROWS, COLUMNS = 20, 10  # of the sheet: queries, and matches of each
COLUMN_NAMES = ("rank", "similarity", "label", "manipulation", "dataset", "split", "video", "frame")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is like one query."""

    query: str  # its file
    frame: int  # of it
    matches: tuple[Place, ...]


@dataclass(frozen=True, kw_only=True)
class SimilarReport:
    """What `similar.json` holds."""

    dfbench: str  # version
    spec: str
    clips: int  # that were searched
    crops: int  # of them
    by: str
    recipe: dict[str, Any]  # of the vectors that were compared
    metric: Metric
    top: int
    queries: tuple[Answer, ...]
    without_face: dict[str, str]  # file -> why it gave no query


def similar(
    paths: Sequence[Path],
    spec: str,
    data: DataConfig,
    places: Places,
    out: Path,
    *,
    by: str = HARRIS,
    init: str | None = None,
    run_dir: Path | None = None,
    metric: Metric = "cosine",
    top: int = 10,
    middle: bool = False,
    cropped: bool = False,
    reporter: Reporter = SILENT,
) -> SimilarReport:
    """Find what is like the faces of some files; write `similar.json` and `similar.png` into `out`.

    Args:
      paths: images, videos, and folders of them.
      spec: dataset that is searched.
      data: how it is prepared; the queries are cut alike, of a union as its first dataset.
      places: where data lie.
      out: folder.
      by: as for `find_similar`, as are `init`, `run_dir`, `metric`, `top` and `middle`.
      init: weights of a network.
      run_dir: a finished training.
      metric: "cosine" or "euclidean".
      top: matches of a query.
      middle: search the middle crop of each clip alone.
      cropped: the pictures are crops already, in which no face is looked for.
      reporter: where progress is told.

    Raises:
      UserError: a file that does not exist or cannot be decoded, no face in any, or as for
        `find_similar`.
    """
    check_top(top)
    inputs = list_inputs(paths, out)
    named = {path.resolve() for path in paths}
    check_readable([one for one in inputs if one.path.resolve() in named], places)
    describer = find_describer(by, init, run_dir, jobs=places.jobs, reporter=reporter)
    datasets = prepare_spec(spec, data, places, reporter)
    recipe = datasets[0].manifest.recipe
    queries, without = query_faces(inputs, recipe, places, cropped=cropped, reporter=reporter)
    pool = open_pool(datasets, describer, places, middle=middle, reporter=reporter)
    found = pool.find([query.face for query in queries], metric, top)
    report = SimilarReport(
        dfbench=__version__,
        spec=spec,
        clips=pool.clips,
        crops=len(pool.crops),
        by=describer.name,
        recipe=describer.recipe,
        metric=metric,
        top=top,
        queries=tuple(
            Answer(query=query.file, frame=query.frame, matches=tuple(map(_place, matches)))
            for query, matches in zip(queries, found, strict=True)
        ),
        without_face=without,
    )
    with system_errors(out):
        write_json(out / JSON, report)
        strips = [_strip(*pair) for pair in zip(queries[:ROWS], found, strict=False)]
        title = f"Most like these, in {spec}, by {describer.name} ({metric})"
        write_sheet(title, _legend(len(queries)), strips, out / SHEET)
    return report


def similar_text(report: SimilarReport) -> str:
    """Return a table of matches for each query."""
    lines = []
    for answer in report.queries[:ROWS]:
        rows = [COLUMN_NAMES, *map(_row, answer.matches)]
        lines += [one_line(answer.query), *aligned(list(zip(*rows, strict=True))), ""]
    if len(report.queries) > ROWS:
        lines += [f"and {len(report.queries) - ROWS} more queries", ""]
    return "\n".join(
        [
            *lines,
            f"searched: {report.crops} crops of {report.clips} clips, by {report.by}, "
            f"{report.metric}; of each clip the most similar crop",
        ]
    )


def _row(match: Place) -> tuple[str, ...]:
    values = (match.manipulation, match.dataset, match.split, match.video)
    return (
        str(match.rank),
        f"{match.similarity:.4f}",
        CLASS_NAMES[match.label],
        *map(one_line, values),
        str(match.frame),
    )


def _place(match: Match) -> Place:
    return Place(**{f.name: getattr(match, f.name) for f in dataclasses.fields(Place)})


# --- the sheet ------------------------------------------------------------------------------------


def _strip(query: Query, matches: Sequence[Match]) -> Strip:
    return Strip(
        query.file,
        (
            Group("query", (Tile(query.face, _name(query)),)),
            *(
                Group(
                    f"{match.rank}: {match.similarity:.4f}, {CLASS_NAMES[match.label]}",
                    (Tile(decode(match.face), f"{match.video} frame {match.frame}"),),
                )
                for match in matches[:COLUMNS]
            ),
        ),
    )


def _name(query: Query) -> str:
    path = Path(query.file)
    return path.name if is_image(path) else f"{path.name} frame {query.frame}"


def _legend(queries: int) -> str:
    more = f"; the first {ROWS} of {queries} queries" if queries > ROWS else ""
    return f"left: the query; then the most similar crops, one a clip: rank, similarity{more}"
