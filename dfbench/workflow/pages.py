"""Result cards to the leaderboard's pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from dfbench.errors import UserError, system_errors
from dfbench.eval.scores import read_scores
from dfbench.eval.standings import ScoredCard, standings
from dfbench.eval.videos import video_scores
from dfbench.locks import one_at_a_time
from dfbench.progress import SILENT, Reporter
from dfbench.report.leaderboard import write_leaderboard
from dfbench.report.published import published_folder, read_published
from dfbench.report.text import matrix_text
from dfbench.results.merge import Merged, merge, remarks
from dfbench.results.store import SCORES, SUFFIX, StoredCard, card_paths, read_cards, sort_key

__all__ = ["leaderboard", "matrix_text", "read_merged", "write_pages"]


def leaderboard(dirs: Sequence[Path], out: Path, reporter: Reporter = SILENT) -> list[Path]:
    """Write the leaderboard of the cards below `dirs`: markdown, HTML, CSV and a picture.

    Raises:
      UserError: as `read_merged` and `write_pages`.
    """
    with alone_in(out, reporter):
        return write_pages(read_merged(dirs, reporter), dirs, out)


@contextmanager
def alone_in(out: Path, reporter: Reporter = SILENT) -> Iterator[None]:
    """Read cards and write pages while no other process does: the last one has seen all cards.

    Raises:
      UserError: the disk refuses something.
    """
    place = out.absolute()
    with system_errors(out), ExitStack() as held:
        if place.parent.is_dir():  # or nobody is there, and what is wrong should leave no folder
            lock = place.with_name(f".lock-{place.name}")
            held.enter_context(one_at_a_time(lock, f"{out} is being written", reporter.say))
        yield


def read_merged(dirs: Sequence[Path], reporter: Reporter = SILENT) -> Merged:
    """Read the cards below `dirs`, and say what does not go together.

    Folders without a card are said.

    Raises:
      UserError: no such folder, or a card or a score file that is wrong.
    """
    merged = merge(read_cards(_filled(dirs, reporter)))
    cards = tuple(sorted(merged.cards, key=sort_key))
    copies = f"; {merged.copies} copies of them counted once" if merged.copies else ""
    reporter.say(f"leaderboard of {len(cards)} result cards{copies}")
    for line in (*remarks(cards), *(found.line() for found in merged.contradictions)):
        reporter.say(line)
    return replace(merged, cards=cards)


def write_pages(merged: Merged, dirs: Sequence[Path], out: Path) -> list[Path]:
    """Write the leaderboard of cards that were read from `dirs`.

    Where there is no card, the pages say how to get results.

    Raises:
      UserError: a published number that is wrong; or no card, where `out` shows some.
    """
    published = read_published(published_folder())
    if not merged.cards and _shows_results(out):
        raise UserError(
            f"{out} shows results, and there is no result card below "
            f"{', '.join(map(str, dirs))}; delete {out} if it is to be empty"
        )
    cards = merged.marked()
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


def _filled(dirs: Sequence[Path], reporter: Reporter = SILENT) -> list[Path]:
    """Return the folders but for those that are there and hold no card."""
    empty = [folder for folder in dirs if folder.is_dir() and not card_paths(folder)]
    for folder in empty:
        reporter.say(f"{folder}: no result card (*{SUFFIX}) below it")
    return [folder for folder in dirs if folder not in empty]
