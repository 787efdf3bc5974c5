"""A detector from anywhere enters the leaderboard by its scores: `score`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dfbench import config, options
from dfbench.commands.setup import make_reporter, places_of
from dfbench.errors import UserError, nearest, one_line
from dfbench.paths import from_home
from dfbench.protocols import find_protocol, read_protocol
from dfbench.selection import assignments

if TYPE_CHECKING:
    from dfbench.eval.submission import Kind


SECTIONS = ("data.", "scoring.")  # settings that count where scores are handed in


def score(args: argparse.Namespace) -> None:
    """Check the scores of a detector, measure them, and write a result card for the leaderboard.

    The file is CSV (with a header row) or Parquet, with a row a video or a row a frame:

      video    its key, or any end of its path that is unambiguous, down to the file's name
      p_fake   probability of fake; or `logit`; or `score`, with --probabilities or --logits
      frame    optional: number of the frame; -1, with an empty score, where no face was found
      label    optional, and checked: 1 is fake

    The labels are those of the dataset, which is prepared, or found in its --raw download without
    decoding it. --template writes a file to fill in. All that is wrong is listed, with rows, and
    then nothing is written (exit status 2).
    """
    settings, protocol = _settings(args)
    if args.template:
        _template(args, settings)
        return
    if args.scores is None or args.detector is None:
        missing = "the file of scores" if args.scores is None else "--detector NAME"
        raise UserError(f"{missing} is missing (or say --template OUT.csv)")
    reporter = make_reporter()
    from dfbench.eval.matching import Rules
    from dfbench.eval.submission import SubmissionError
    from dfbench.workflow.pages import matrix_text
    from dfbench.workflow.score import HandedIn
    from dfbench.workflow.score import score as measure

    handed = HandedIn(
        scores=args.scores,
        dataset=from_home(args.dataset),
        detector=args.detector,
        train=from_home(args.train or ""),
        seed=args.seed,
        kind=_kind(args),
        val=args.val,
        raw=args.raw,
        rules=Rules(missing=args.missing, extra=args.extra),
        data=settings.data,
        scoring=settings.scoring,
        protocol=protocol,
    )
    try:
        card, path = measure(
            handed,
            places_of(args),
            allow_leak=args.allow_leak,
            overwrite=args.overwrite,
            reporter=reporter,
        )
    except SubmissionError as error:
        for fault in error.faults:
            print(f"  {fault}", file=sys.stderr)
        raise
    print(matrix_text([card]))
    for warning in card.warnings:
        print(f"warning: {one_line(warning)}")
    print(f"card: {path}")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `score`."""
    parser.add_argument("scores", nargs="?", type=Path, metavar="SCORES", help="CSV or Parquet")
    parser.add_argument("--dataset", metavar="SPEC", required=True, help=options.SPEC_HELP)
    parser.add_argument("--detector", metavar="NAME", help="what the detector is called")
    parser.add_argument(
        "--template", type=Path, metavar="OUT.csv", help="write the rows to be scored, and stop"
    )
    parser.add_argument(
        "--train",
        metavar="SPEC",
        help="what it was trained on: a dataset, with which overlap is looked for, or any text",
    )
    parser.add_argument(
        "--val",
        type=Path,
        metavar="FILE",
        help="scores of the training dataset's val split by the same detector, on which threshold "
        "and temperature are chosen",
    )
    parser.add_argument(
        "--raw", type=Path, metavar="DIR", help="raw download of a dataset that is not prepared"
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--logits", action="store_true", help="column 'score' holds logits of fake")
    kind.add_argument(
        "--probabilities", action="store_true", help="column 'score' holds probabilities of fake"
    )
    parser.add_argument(
        "--missing",
        choices=("error", "undetected"),
        default="error",
        help="videos without a row: an error (default), or without a detected face, which counts "
        "in coverage and as 0.5 in the metrics of all videos",
    )
    parser.add_argument(
        "--extra",
        choices=("error", "ignore"),
        default="error",
        help="rows of the dataset's other splits and manipulations: an error (default), or ignored",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="tells repeated trainings apart"
    )
    options.protocol_option(parser)
    options.setting_options(parser)
    head, *settings = (parser.epilog or "").splitlines()
    counted = [line for line in settings if line.strip().startswith(SECTIONS)]
    parser.epilog = "\n".join((head, *counted))
    options.data_options(parser)
    options.runs_option(parser)
    options.leak_option(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier result")


def _template(args: argparse.Namespace, settings: config.RunConfig) -> None:
    from dfbench.workflow.score import write_template

    if args.scores is not None:
        raise UserError(f"--template writes {args.template}; leave out {args.scores}")
    rows = write_template(
        args.dataset,
        args.template,
        places_of(args),
        data=settings.data,
        raw=args.raw,
        reporter=make_reporter(),
    )
    print(f"{rows} rows to be scored: {args.template}")


def _kind(args: argparse.Namespace) -> Kind | None:
    return "logit" if args.logits else "probability" if args.probabilities else None


def _settings(args: argparse.Namespace) -> tuple[config.RunConfig, str | None]:
    """Return the settings of data and scoring, and the protocol that fixes them.

    Raises:
      UserError: another setting, which would change nothing, or a cell that the protocol lacks.
    """
    changes = assignments(args.set)
    for section in changes:
        if f"{section}." not in SECTIONS:
            raise UserError(
                f"--set {section}: scores are handed in, so that only data.* and scoring.* count"
            )
    if not args.protocol:
        return config.from_dict(changes, "--set"), None
    path = find_protocol(args.protocol)
    protocol = read_protocol(path, changes)
    cells = protocol.cells
    evaluated = (*cells.eval, *cells.train)
    for option, spec, known in (
        ("--dataset", from_home(args.dataset), evaluated),
        ("--train", from_home(args.train or ""), cells.train),
    ):
        if spec and spec not in known:
            hint = nearest(spec, known) or f"; it has {', '.join(dict.fromkeys(known))}"
            raise UserError(f"{path}: {option} {spec} is not in this protocol{hint}")
    return protocol.runs[0], protocol.label
