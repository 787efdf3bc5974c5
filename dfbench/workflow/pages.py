"""Result cards to the leaderboard's pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dfbench.progress import SILENT, Reporter
from dfbench.report.leaderboard import write_leaderboard
from dfbench.report.text import matrix_text
from dfbench.results.card import ResultCard
from dfbench.results.store import load_cards

__all__ = ["leaderboard", "load", "matrix_text"]


def leaderboard(dirs: Sequence[Path], out: Path, reporter: Reporter = SILENT) -> list[Path]:
    """Write README.md, leaderboard.csv and matrix.png from the cards below `dirs`.

    Raises:
      UserError: a folder without result cards, or a card that cannot be read.
    """
    cards = load_cards(dirs)
    reporter.say(f"leaderboard of {len(cards)} result cards")
    return write_leaderboard(cards, out)


def load(dirs: Sequence[Path]) -> list[ResultCard]:
    """Read the cards below `dirs`."""
    return [stored.card for stored in load_cards(dirs)]
