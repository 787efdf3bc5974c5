"""Result cards checked against the files beside them: `verify`."""

from __future__ import annotations

import argparse
import json

from dfbench.commands.setup import cards_of, make_reporter, on_this_machine
from dfbench.errors import UserError
from dfbench.paths import default_data_dir
from dfbench.storage.url import place, shown


def verify(args: argparse.Namespace) -> None:
    """Compute the numbers of result cards again from their scores, and check all hashes.

    Names every field that is not what the files beside the card give. Exit status 0: every card is
    what its files say; 2: one is not, or cannot be read.
    """
    reporter = make_reporter()
    from dfbench.workflow.verify import verdict_text, verdict_values
    from dfbench.workflow.verify import verify as check

    data_dir = on_this_machine(args.data_dir or default_data_dir(), "--data-dir")
    cards = [cards_of(place, runs=True) for place in args.cards]
    verdicts = check(cards, data_dir, reporter)
    if args.json:
        print(json.dumps([verdict_values(verdict) for verdict in verdicts], indent=1))
    else:
        for verdict in verdicts:
            print(shown(verdict_text(verdict)))
    bad = sum(not verdict.good for verdict in verdicts)
    if bad:
        raise UserError(f"{bad} of {len(verdicts)} cards are not what their files say")
    if not args.json:
        print(f"{len(verdicts)} card{'s' * (len(verdicts) > 1)} verified")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `verify`."""
    parser.add_argument(
        "cards",
        nargs="+",
        type=place,
        metavar="CARD_OR_DIR",
        help="cards, or folders with cards; or URLs of them",
    )
    parser.add_argument(
        "--data-dir",
        type=place,
        metavar="DIR",
        help=f"prepared data to compare with, where they are there (default {default_data_dir()})",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
