"""Result cards to the leaderboard's pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dfbench.errors import UserError
from dfbench.eval.scores import read_scores
from dfbench.eval.standings import ScoredCard, standings
from dfbench.eval.videos import video_scores
from dfbench.progress import SILENT, Reporter
from dfbench.report.leaderboard import write_leaderboard
from dfbench.report.published import published_folder, read_published
from dfbench.report.text import matrix_text
from dfbench.results.card import ResultCard
from dfbench.results.store import SCORES, SUFFIX, StoredCard, load_cards

__all__ = ["leaderboard", "load", "matrix_text"]


def leaderboard(dirs: Sequence[Path], out: Path, reporter: Reporter = SILENT) -> list[Path]:
    """Write the leaderboard of the cards below `dirs`: markdown, HTML, CSV and a picture.

    Folders without a card are said; where no folder has one, the pages say how to get results.

    Raises:
      UserError: no such folder, or a card, a score file or a published number that is wrong; or no
        card, where `out` shows some.
    """
    published = read_published(published_folder())
    cards = load_cards(_filled(dirs, reporter))
    if not cards and _shows_results(out):
        raise UserError(
            f"{out} shows results, and there is no result card below "
            f"{', '.join(map(str, dirs))}; delete {out} if it is to be empty"
        )
    reporter.say(f"leaderboard of {len(cards)} result cards")
    return write_leaderboard(cards, out, standings(map(scored, cards)), published)


def _shows_results(out: Path) -> bool:
    rows = out / "leaderboard.csv"
    return rows.is_file() and len(rows.read_text(encoding="utf-8").splitlines()) > 1


def scored(stored: StoredCard) -> ScoredCard:
    """Read the scores beside a card, if they are there."""
    path = stored.path.with_name(SCORES)
    if not path.is_file():
        return ScoredCard(stored.card, None)
    made = stored.card.config.get("scoring", {})  # earlier versions had the defaults alone
    aggregate, top_k = made.get("aggregate", "mean"), made.get("top_k", 5)
    return ScoredCard(stored.card, video_scores(read_scores(path), aggregate, top_k))


def load(dirs: Sequence[Path]) -> list[ResultCard]:
    """Read the cards below `dirs`."""
    return [stored.card for stored in load_cards(_filled(dirs))]


def _filled(dirs: Sequence[Path], reporter: Reporter = SILENT) -> list[Path]:
    """Return the folders but for those that are there and hold no card."""
    empty = [folder for folder in dirs if folder.is_dir() and not any(folder.rglob(f"*{SUFFIX}"))]
    for folder in empty:
        reporter.say(f"{folder}: no result card (*{SUFFIX}) below it")
    return [folder for folder in dirs if folder not in empty]
