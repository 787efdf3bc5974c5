"""A run's figures and page: `report`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from dfbench.commands.setup import cards_of, make_reporter, on_this_machine
from dfbench.paths import default_data_dir
from dfbench.storage.url import place


def report(args: argparse.Namespace) -> None:
    """Draw what a run's scores show, and write a page with all of it that needs no network.

    ROC and DET curves, scores by class, confusion matrices, reliability, results by manipulation,
    learning curves, the most wrong faces and single videos over time. Scores that were handed in
    have the same figures. Nothing is trained, scored or prepared for it.
    """
    from dfbench.workflow.report import report as write_report

    paths = write_report(
        cards_of(args.run, runs=True),
        data_dir=on_this_machine(args.data_dir or default_data_dir(), "--data-dir"),
        out=args.out or (None if isinstance(args.run, Path) else Path("report")),
        format=args.format,
        faces=args.faces,
        reporter=make_reporter(),
    )
    if args.json:
        print(json.dumps([str(path) for path in paths], indent=1))
        return
    for path in paths[1:]:
        print(f"figure: {path}")
    print(f"page: {paths[0]}")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `report`."""
    parser.add_argument(
        "run",
        type=place,
        metavar="RUN",
        help="folder or URL of a run, or of one evaluation: evals/DATASET",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where to write (default: report/ in RUN, or here)"
    )
    parser.add_argument(
        "--format", choices=("svg", "png"), default="svg", help="of the figures (default: svg)"
    )
    parser.add_argument(
        "--no-faces",
        dest="faces",
        action="store_false",
        help="leave the most wrong faces out, as for a page that is published",
    )
    parser.add_argument(
        "--data-dir",
        type=place,
        metavar="DIR",
        help=f"prepared data (default {default_data_dir()})",
    )
    parser.add_argument("--json", action="store_true", help="print the paths as JSON")
