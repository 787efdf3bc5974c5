"""Result cards checked against the files beside them: `verify`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from dfbench.commands.setup import make_reporter
from dfbench.errors import UserError
from dfbench.paths import default_data_dir


def verify(args: argparse.Namespace) -> None:
    """Compute the numbers of result cards again from their scores, and check all hashes.

    Names every field that is not what the files beside the card give. Exit status 0: every card is
    what its files say; 2: one is not, or cannot be read.
    """
    reporter = make_reporter()
    from dfbench.workflow.verify import verdict_text, verdict_values
    from dfbench.workflow.verify import verify as check

    verdicts = check(args.cards, args.data_dir or default_data_dir(), reporter)
    if args.json:
        print(json.dumps([verdict_values(verdict) for verdict in verdicts], indent=1))
    else:
        for verdict in verdicts:
            print(verdict_text(verdict))
    bad = sum(not verdict.good for verdict in verdicts)
    if bad:
        raise UserError(f"{bad} of {len(verdicts)} cards are not what their files say")
    if not args.json:
        print(f"{len(verdicts)} card{'s' * (len(verdicts) > 1)} verified")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `verify`."""
    parser.add_argument(
        "cards", nargs="+", type=Path, metavar="CARD_OR_DIR", help="cards, or folders with cards"
    )
    parser.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help=f"prepared data to compare with, where they are there (default {default_data_dir()})",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
