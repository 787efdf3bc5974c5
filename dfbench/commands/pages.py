"""Pages from results: `leaderboard`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from dfbench.commands.setup import cards_of, make_reporter
from dfbench.paths import own_folder

CONTRADICTED = 3  # exit status


def leaderboard(args: argparse.Namespace) -> int:
    """Write README.md, index.html, leaderboard.csv and matrix.png from the result cards found.

    Detectors are ranked by their mean cross-dataset video AUC, with intervals and ties where the
    score files lie beside the cards. Numbers from papers come as a part of their own, in grey.

    Cards of several machines go together: copies are counted once; of results of one cell, with the
    same settings and clips, that disagree, the newest is shown, and all of them are named. Then,
    and where --collect leaves out a card without scores, the exit status is 3.
    """
    from dfbench.workflow.collect import collect
    from dfbench.workflow.pages import alone_in, matrix_text, read_merged, write_pages

    named = [*args.cards, *args.more] or [Path("runs")]
    dirs = [cards_of(place) for place in named]
    inside = dirs[0] if isinstance(named[0], Path) else Path()
    out = args.out or own_folder(inside, "leaderboard")
    reporter = make_reporter()
    partial = 0
    if args.collect:
        done = collect(dirs, args.collect)
        copies = f"; {done.copies} copies of them counted once" if done.copies else ""
        there = f"; {done.there} were there{copies}"
        reporter.say(f"{done.copied} result cards copied into {args.collect}{there}")
        for one in done.partial:
            reporter.say(f"not copied: {one.path}: {', '.join(one.missing)} not beside it")
        partial, dirs = len(done.partial), [args.collect]
    with alone_in(out, reporter):
        merged = read_merged(dirs, reporter)
        pages = write_pages(merged, dirs, out)
    if args.json:
        print(json.dumps([str(page) for page in pages], indent=1))
    else:
        print(matrix_text([stored.card for stored in merged.cards]))
        for page in pages:
            print(f"page: {page}")
    return CONTRADICTED if merged.contradictions or partial else 0
