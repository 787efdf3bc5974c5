"""Result cards of object storage, copied here to be read: an exact copy, without checkpoints."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dfbench.errors import UserError
from dfbench.files import whole
from dfbench.progress import SILENT, Reporter
from dfbench.results.store import BESIDE, SUFFIX
from dfbench.storage import listing
from dfbench.storage.mirror import Mirror
from dfbench.storage.stage import stage_of
from dfbench.storage.url import Url
from dfbench.workflow.mirrored import EVALUATION, RUN, is_small
from dfbench.workflow.record import RECORD, SEEN

AT_ONCE = 8
OF_RUN = (RECORD, SEEN, "config.toml", "metrics.jsonl")  # what cards are compared with


def copy_cards(url: Url, reporter: Reporter = SILENT, *, runs: bool = False) -> Path:
    """Bring the cards below a URL here, with their scores; return the folder, or the card.

    What was copied before and has not changed is not copied again, and what is gone there goes. A
    folder that another tool has put there, without a list of its files, is copied too: cards say
    what their scores are.

    Args:
      url: Of a card, or of a folder with cards.
      reporter: Where progress is told.
      runs: Also copy the records of the runs.

    Raises:
      UserError: nothing is there, or it cannot be read.
    """
    if url.name.endswith(SUFFIX):
        return copy_cards(url.parent, reporter, runs=runs) / url.name
    mirror = Mirror(url, stage_of(url, "cards"))
    sizes = mirror.remote.sizes()
    units = {_folder(name) for name in sizes if _last(name) == listing.NAME}
    cards = {_folder(name) for name in sizes if name.endswith(SUFFIX) and _last(name)[0] != "."}
    of_runs = {_folder(name) for name in sizes if _last(name) == RECORD} if runs else set()
    if not cards:
        raise UserError(f"{url}: no result card (*{SUFFIX}) below it, or no such folder")

    def copy(folder: str) -> None:
        if folder in units or folder in known:
            mirror.pull(folder, RUN if folder in of_runs else EVALUATION, is_small)
        else:
            names = [name for name in sizes if _folder(name) == folder]
            _copy_files(mirror, [n for n in names if _is_read(_last(n), folder in cards)])

    known = {
        u for u in mirror.stage.bases() if u not in units and _is_card(mirror, u)
    }  # gone there
    tasks = sorted(cards | of_runs | known)
    title = f"copying cards of {url}"
    with reporter.bar(title, "folder") as progress, ThreadPoolExecutor(AT_ONCE) as pool:
        for done, _ in enumerate(pool.map(copy, tasks), 1):
            progress(done, len(tasks))
    for path in list(mirror.stage.files.rglob(f"*{SUFFIX}")):
        if mirror.stage.unit(path.parent) not in cards:
            path.unlink()
    return mirror.stage.files


def _is_card(mirror: Mirror, unit: str) -> bool:
    base = mirror.stage.base(unit)
    return base is not None and EVALUATION.finished(base.files)


def _is_read(name: str, card: bool) -> bool:
    return name.endswith(SUFFIX) or name in BESIDE.values() if card else name in OF_RUN


def _copy_files(mirror: Mirror, names: Iterable[str]) -> None:
    for name in sorted(names, key=lambda name: name.endswith(SUFFIX)):
        if not listing.is_safe(name):
            raise UserError(f"{mirror.url}: '{name}' is no name of a file")
        with whole(mirror.stage.files / name) as part:
            mirror.remote.get(name, part)


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _last(name: str) -> str:
    return name.rpartition("/")[2]
