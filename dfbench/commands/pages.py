"""Pages from results: `leaderboard`."""

from __future__ import annotations

import argparse
import json

from dfbench.commands.setup import make_reporter


def leaderboard(args: argparse.Namespace) -> None:
    """Write README.md, index.html, leaderboard.csv and matrix.png from the result cards found.

    Detectors are ranked by their mean cross-dataset video AUC, with intervals and ties where the
    score files lie beside the cards. Numbers from papers come as a part of their own, in grey.
    """
    from dfbench.workflow.collect import collect
    from dfbench.workflow.pages import leaderboard as write_pages
    from dfbench.workflow.pages import load, matrix_text

    out = args.out or args.cards[0] / "leaderboard"
    reporter = make_reporter()
    if args.collect:
        copied = collect(args.cards, args.collect)
        reporter.say(f"{copied} result cards copied into {args.collect}")
        args.cards = [args.collect]
    pages = write_pages(args.cards, out, reporter)
    if args.json:
        print(json.dumps([str(page) for page in pages], indent=1))
        return
    print(matrix_text(load(args.cards)))
    for page in pages:
        print(f"page: {page}")
