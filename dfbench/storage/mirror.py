"""Folders here and in object storage: fetched whole or not at all, sent so that nobody sees a half.

A *unit* is one prepared dataset, one run or one evaluation. Its list of files (`listing`) is
written after them; whoever reads takes what the list names and checks every hash. The files of a
finished unit have their own names as keys, so that other tools read them too. Until then they are
named by their content, below `.unfinished/`: a new list replaces a training's last checkpoint, and
what the old one named stays until then.

What is here counts where it has not been sent yet; else what is there does.
"""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

from dfbench.errors import UserError, system_errors
from dfbench.files import whole
from dfbench.locks import one_at_a_time
from dfbench.progress import SILENT, Reporter
from dfbench.storage import listing
from dfbench.storage.faults import NotThereError
from dfbench.storage.kinds import Kind
from dfbench.storage.listing import Entry, Listing
from dfbench.storage.remote import Bytes, Remote
from dfbench.storage.stage import Stage, entry_of, holds, stage_of
from dfbench.storage.url import Url

UNFINISHED = ".unfinished"
FETCHED_AT_ONCE = 8  # files
SENT_AT_ONCE = 4  # see ANSWER_S of `remote`
LOOKS = 3  # at a unit that somebody is changing
_MB = 1_000_000

Wanted = Callable[[str], bool]  # of a piece


class _ChangedError(Exception):
    """An object is not what the list says: somebody is writing, or it is damaged."""


class Mirror:
    """A place in object storage, and its stage on this machine."""

    def __init__(self, url: Url, stage: Stage | None = None, reporter: Reporter = SILENT) -> None:
        """Open a place; nothing is asked over the network yet.

        Raises:
          UserError: the library that it needs is not installed.
        """
        self.url, self.stage, self.reporter = url, stage or stage_of(url), reporter
        self.remote = Remote(url, lambda line: self.reporter.say(line))

    def tell(self, reporter: Reporter) -> Mirror:
        """Report to another reporter from now on; return the mirror itself."""
        self.reporter = reporter
        return self

    def check(self) -> None:
        """Write a few bytes, so that what is wrong shows before hours of work.

        Raises:
          UserError: no network, no bucket, no permission.
        """
        self.remote.write(".dfbench-place", b"data or results of dfbench\n")

    def listing(self, unit: str) -> Listing | None:
        """Return what there is of a unit."""
        name = _join(unit, listing.NAME)
        data = self.remote.read(name, listing.MOST_BYTES)
        return None if data is None else listing.decode(data, self.url / name)

    def units(self, below: str = "") -> list[str]:
        """Return the units that are there."""
        found = [n for n in self.remote.sizes(below) if n.rpartition("/")[2] == listing.NAME]
        units = [name.rpartition("/")[0] for name in found]
        return sorted(unit for unit in units if not unit or listing.is_safe(unit))

    def read(self, unit: str, name: str) -> bytes:
        """Return one file of a unit that is there.

        Raises:
          UserError: it is not there, or not what the list says.
        """
        where = self.url / _join(unit, name)
        for _ in range(LOOKS):
            there = self.listing(unit)
            entry = there.files.get(name) if there else None
            if entry is None:
                raise UserError(f"{where}: no such file")
            data = self.remote.read(_join(unit, entry.key), max(entry.bytes, 1))
            if data is not None and hashlib.sha256(data).hexdigest() == entry.sha256:
                return data
        raise UserError(f"{where}: {_DAMAGED}")

    # --- from there -------------------------------------------------------------------------------

    def pull(self, unit: str, kind: Kind, wanted: Wanted = lambda piece: True) -> None:
        """Bring the wanted pieces of a unit here where they are not, and delete what is gone there.

        Raises:
          UserError: the place cannot be read, or what is there is damaged.
        """
        with self._alone(unit):
            wrong = ""
            for _ in range(LOOKS):
                try:
                    self._take(unit, kind, self.listing(unit), wanted)
                except (_ChangedError, NotThereError) as error:
                    wrong = str(error)
                else:
                    return
            raise UserError(f"{wrong}: {_DAMAGED}")

    def _take(self, unit: str, kind: Kind, there: Listing | None, wanted: Wanted) -> None:
        stage, base = self.stage, self.stage.base(unit)
        was = {kind.piece(name) for name in base.files} if base else set()
        if there is None:
            stage.remove(unit, was)
            stage.set_base(unit, None)
            return
        markers = [n for n in stage.names(unit, kind) if kind.finished([n])]
        if base is None and markers and not there.finished:
            return  # finished here, and not sent yet
        pieces: dict[str, dict[str, Entry]] = {}
        for name, entry in there.files.items():
            pieces.setdefault(kind.piece(name), {})[name] = entry
        unsent = there == base  # what is here is that, or newer
        needed = {
            piece: files
            for piece, files in pieces.items()
            if wanted(piece)
            and not (
                stage.path(unit, piece).exists() if unsent else stage.same(unit, kind, piece, files)
            )
        }
        self._fetch(unit, {name: e for files in needed.values() for name, e in files.items()})
        if not unsent:
            stage.remove(unit, (was | {kind.piece(name) for name in markers}) - pieces.keys())
        # Who is stopped in between must not leave the marker beside old files.
        for piece in sorted(needed, key=lambda piece: kind.finished([piece])):
            stage.place(unit, piece, needed[piece])
        shutil.rmtree(stage.incoming(unit), ignore_errors=True)
        stage.set_base(unit, there)

    def _fetch(self, unit: str, files: Mapping[str, Entry]) -> None:
        """Download files beside the unit; what an earlier try left there is used."""
        incoming = self.stage.incoming(unit)

        def fetch(name: str, entry: Entry, through: Bytes) -> None:
            target = incoming / name
            if holds(target, entry):
                through(entry.bytes)
                return
            with whole(target) as part:
                self.remote.get(_join(unit, entry.key), part, through)
                if not holds(part, entry):
                    raise _ChangedError(str(self.url / _join(unit, name)))

        self._at_once(f"fetching {self._where(unit)}", files, fetch, FETCHED_AT_ONCE)

    # --- to there ---------------------------------------------------------------------------------

    def push(self, unit: str, kind: Kind) -> bool:
        """Send what is new or changed in a unit; return whether anything was.

        Of a finished unit, pieces that are there and not here stay. Where another machine has
        finished the unit meanwhile, its files stay.

        Raises:
          UserError: the place cannot be written.
        """
        with self._alone(unit):
            there = self.listing(unit)
            new = self._described(unit, kind, there)
            if new != there and not self._send(unit, kind, new, there):
                return False
            self.stage.set_base(unit, new)
            return new != there

    def _described(self, unit: str, kind: Kind, there: Listing | None) -> Listing:
        names = self.stage.names(unit, kind)
        finished = kind.finished(names)
        files = {name: entry_of(self.stage.path(unit, name), name) for name in names}
        if not finished:
            files = {
                name: replace(entry, key=f"{UNFINISHED}/{entry.sha256[:40]}")
                for name, entry in files.items()
            }
        elif there is not None and there.finished:
            here = {kind.piece(name) for name in names}
            files |= {n: e for n, e in there.files.items() if kind.piece(n) not in here}
        return Listing(finished=finished, files=dict(sorted(files.items())))

    def _send(self, unit: str, kind: Kind, new: Listing, there: Listing | None) -> bool:
        """Send a unit; return whether it is now as it is here."""
        known = {e.key: e.sha256 for e in there.files.values()} if there else {}
        todo = {
            entry.key: (name, entry)
            for name, entry in new.files.items()
            if known.get(entry.key) != entry.sha256
        }
        if known.keys() & todo.keys():
            self.remote.delete(_join(unit, listing.NAME))  # nobody may find old and new mixed
            there = None

        def send(key: str, entry: Entry, through: Bytes) -> None:
            self.remote.put(self.stage.path(unit, todo[key][0]), _join(unit, key), through)

        for last in (False, True):  # other tools look for the marker
            group = {k: e for k, (name, e) in todo.items() if kind.finished([name]) is last}
            now = self.listing(unit) if last and group else there
            if now is not None and now.finished and now != there:
                return False
            self._at_once(f"sending {self._where(unit)}", group, send, SENT_AT_ONCE)
        stored = self._stored(unit, new)
        self.remote.write(_join(unit, listing.NAME), listing.encode(new))
        stale = known.keys() - {entry.key for entry in new.files.values()}
        if new.finished:  # also of pushes that were cut off
            stale |= {key for key in stored if key.startswith(f"{UNFINISHED}/")}
        self._delete(_join(unit, key) for key in stale)
        return True

    def _stored(self, unit: str, wanted: Listing) -> dict[str, int]:
        """Return the bytes that are stored, by key; all that a list will name must be there."""
        prefix = f"{unit}/" if unit else ""
        sizes = {k.removeprefix(prefix): n for k, n in self.remote.sizes(unit).items()}
        for entry in wanted.files.values():
            if sizes.get(entry.key) != entry.bytes:
                raise UserError(
                    f"{self.url / _join(unit, entry.key)}: has {sizes.get(entry.key, 'no')} bytes "
                    f"of {entry.bytes} that were sent; run the same command again"
                )
        return sizes

    def forget(self, unit: str, kind: Kind, gone: Wanted) -> None:
        """Take pieces out of a unit that is there."""
        with self._alone(unit):
            there = self.listing(unit)
            kept = (
                {n: e for n, e in there.files.items() if not gone(kind.piece(n))} if there else {}
            )
            if there is None or len(kept) == len(there.files):
                return
            new = Listing(finished=there.finished, files=kept)
            self.remote.write(_join(unit, listing.NAME), listing.encode(new))
            self.stage.set_base(unit, new)
            keys = {e.key for e in there.files.values()} - {e.key for e in kept.values()}
            self._delete(_join(unit, key) for key in keys)

    def drop(self, unit: str) -> None:
        """Delete a unit and all below it, there; lists first."""
        names = sorted(self.remote.sizes(unit))
        lists = [name for name in names if name.rpartition("/")[2] == listing.NAME]
        for name in lists:
            self.remote.delete(name)
            self.stage.set_base(name.rpartition("/")[0], None)
        self._delete(name for name in names if name not in lists)

    def _delete(self, names: Iterable[str]) -> None:
        with ThreadPoolExecutor(FETCHED_AT_ONCE) as pool:
            list(pool.map(self.remote.delete, names))

    # --- both -------------------------------------------------------------------------------------

    @contextmanager
    def _alone(self, unit: str) -> Iterator[None]:
        what = f"{self._where(unit)} is being read or written here"
        with (
            system_errors(self.stage.home),
            one_at_a_time(self.stage.lock(unit), what, self.reporter.say),
        ):
            yield

    def _where(self, unit: str) -> Url:
        return self.url / unit if unit else self.url

    def _at_once(
        self,
        title: str,
        files: Mapping[str, Entry],
        action: Callable[[str, Entry, Bytes], None],
        number: int,
    ) -> None:
        """Act on several files at a time, with a bar of megabytes."""
        if not files:
            return
        total, done, lock = sum(entry.bytes for entry in files.values()), 0, threading.Lock()
        with self.reporter.bar(title, "MB") as progress, ThreadPoolExecutor(number) as pool:

            def through(more: int) -> None:
                nonlocal done
                with lock:
                    done += more
                progress(round(done / _MB), max(round(total / _MB), 1))

            tasks = [pool.submit(action, name, entry, through) for name, entry in files.items()]
            try:
                for task in tasks:
                    task.result()
            except BaseException:
                for task in tasks:
                    task.cancel()
                self.remote.stop()  # what other threads still try
                raise
            finally:
                pool.shutdown()
                self.remote.go_on()


_DAMAGED = (
    "is not what the list of files there says: another process is writing there, or it is damaged; "
    "try again, or delete the folder there"
)


def _join(unit: str, name: str) -> str:
    return f"{unit}/{name}" if unit else name
