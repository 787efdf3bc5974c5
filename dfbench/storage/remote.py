"""Objects below a URL, by fsspec: the one file that says so.

Every call is tried again where that may help, with pauses that grow, and ends in a UserError that
names the URL.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from dfbench.errors import UserError, system_errors
from dfbench.storage.faults import NotThereError, explain, not_installed, of_this_machine
from dfbench.storage.listing import is_safe
from dfbench.storage.url import Url

TRIES = 8
GOOGLE_TRIES = 2  # gcsfs itself tries six times each
FIRST_TRIES = 3  # until something was answered: who has no network should hear of it soon
PAUSE_S = 0.5  # before the second try; doubled before each other one
LONGEST_PAUSE_S = 20.0
CONNECT_S = 10.0
# Without a byte of the answer. aiohttp counts from the start of an upload, so that whatever is sent
# at a time (files, parts of each, their size) has to be through by then.
ANSWER_S = 60.0
PART_BYTES = 5 * 2**20  # the least that S3 takes; up to two of them go as one
PARTS_AT_ONCE = 2

Bytes = Callable[[int], None]  # is told how many more bytes are through
T = TypeVar("T")


class Remote:
    """The objects below a URL; names are relative to it, parted by slashes."""

    def __init__(self, url: Url, say: Callable[[str], None] = lambda line: None) -> None:
        """Look for the library; nothing is asked over the network yet.

        Raises:
          UserError: it is not installed, or settings of it are wrong.
        """
        self.url, self._say = url, say
        self._answered = False
        self._stop = threading.Event()
        self._fs, self._root = _open(url)

    def sizes(self, below: str = "") -> dict[str, int]:
        """Return the bytes of every object below, by name; nothing where there is none.

        What no file here can be called, such as `../x`, is said and left out.
        """
        folder = self._path(below) if below else self._root

        def find() -> dict[str, int]:
            found: dict[str, Any] = self._fs.find(folder, detail=True)
            return {
                path.removeprefix(f"{self._root}/"): int(info["size"] or 0)
                for path, info in found.items()
                if info["type"] == "file" and path.startswith(f"{folder}/") and path[-1] != "/"
            }

        try:
            sizes = self._try(find, below)
        except NotThereError:
            return {}
        if strange := [name for name in sizes if not is_safe(name)]:
            self._say(f"{self.url}: {strange[0]!r} is no name of a file; left out")
        return {name: size for name, size in sizes.items() if is_safe(name)}

    def read(self, name: str, most: int) -> bytes | None:
        """Return an object's content, or None where it is not there.

        Raises:
          UserError: it has more than `most` bytes.
        """
        try:
            data: bytes = self._try(lambda: self._fs.cat_file(self._path(name)), name)
        except NotThereError:
            return None
        if len(data) > most:
            raise UserError(f"{self.url / name}: {len(data)} bytes are more than there should be")
        return data

    def write(self, name: str, data: bytes) -> None:
        """Write a small object, whole or not at all."""
        try:
            self._try(lambda: self._fs.pipe_file(self._path(name), data), name)
        except NotThereError as error:
            raise self._no_bucket() from error

    def get(self, name: str, path: Path, through: Bytes = lambda more: None) -> None:
        """Fetch an object to a file.

        Raises:
          NotThereError: there is no such object.
        """
        source = self._path(name)
        with system_errors(path), _counted(through) as again:
            self._try(lambda: self._fs.get_file(source, str(path), callback=again()), name)

    def put(self, path: Path, name: str, through: Bytes = lambda more: None) -> None:
        """Send a file. Object storage shows it when it is whole."""
        parts = {"chunksize": PART_BYTES}
        if self.url.scheme == "s3":
            parts["max_concurrency"] = PARTS_AT_ONCE
        options = parts if self.url.scheme in ("s3", "gs", "gcs") else {}
        try:
            with system_errors(path), _counted(through) as again:
                self._try(
                    lambda: self._fs.put_file(
                        str(path), self._path(name), callback=again(), **options
                    ),
                    name,
                )
        except NotThereError as error:
            raise self._no_bucket() from error

    def delete(self, name: str) -> None:
        """Delete an object, if it is there."""
        try:
            self._try(lambda: self._fs.rm_file(self._path(name)), name)
        except NotThereError:
            return

    def stop(self) -> None:
        """End what other threads still try."""
        self._stop.set()

    def go_on(self) -> None:
        """Try again from now on."""
        self._stop.clear()

    def _try(self, action: Callable[[], T], name: str) -> T:
        where = self.url / name if name else self.url
        number = 0
        while True:
            number += 1
            try:
                result = action()
            except FileNotFoundError as error:
                if error.filename is not None and self.url.scheme != "file":
                    raise  # a file of this machine
                fault = explain(error, self.url.scheme)
                if fault is None or not fault.final:
                    self._answered = True
                    raise NotThereError(str(where)) from error
                raise UserError(f"{where}: {fault.text}") from error
            except Exception as error:
                if isinstance(error, OSError) and of_this_machine(error):
                    raise
                fault = explain(error, self.url.scheme)
                if fault is None:
                    raise
                if fault.final:
                    raise UserError(f"{where}: {fault.text}") from error
                if self._stop.is_set() or number >= self._most():
                    raise UserError(
                        f"{where}: {fault.text} (tried {number} times): look at the network and "
                        "the service, then run the same command again"
                    ) from error
                if number == FIRST_TRIES:
                    self._say(f"{where}: {fault.text}; trying again")
                time.sleep(_pause(number))
            else:
                self._answered = True
                return result

    def _most(self) -> int:
        if self.url.scheme in ("gs", "gcs"):
            return GOOGLE_TRIES
        return TRIES if self._answered else FIRST_TRIES

    def _no_bucket(self) -> UserError:
        return UserError(f"{self.url}: there is no such bucket: create it, or correct the name")

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


def _pause(number: int) -> float:
    """Return seconds; of many machines that were refused at once, each waits another time."""
    longest = min(PAUSE_S * 2.0 ** (number - 1), LONGEST_PAUSE_S)
    return longest * random.uniform(0.5, 1.0)


def _open(url: Url) -> tuple[Any, str]:
    import fsspec

    options: dict[str, Any] = {"use_listings_cache": False}
    if url.scheme == "s3":
        # Tries are counted above; s3fs itself takes up a body that was cut.
        retries = {"total_max_attempts": 1}
        limits = {"connect_timeout": CONNECT_S, "read_timeout": ANSWER_S, "retries": retries}
        options["config_kwargs"] = limits
    elif url.scheme in ("gs", "gcs"):
        options["requests_timeout"] = ANSWER_S
        logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it logs what it then raises
    elif url.scheme == "file":
        options = {"auto_mkdir": True}
    try:
        fs, root = fsspec.core.url_to_fs(str(url), **options)
    except (ImportError, ValueError) as error:
        raise not_installed(str(url), url.scheme, error) from error
    if url.scheme == "s3":
        fs.retries = 2
    return fs, root.rstrip("/")


@contextlib.contextmanager
def _counted(through: Bytes) -> Iterator[Callable[[], Any]]:
    """Yield what makes fsspec's counter of a try; what an earlier try had counted is taken back."""
    from fsspec.callbacks import Callback

    done = 0

    class Count(Callback):  # type: ignore[misc]
        def relative_update(self, inc: int = 1) -> None:
            nonlocal done
            done += inc
            through(inc)

    def again() -> Any:
        nonlocal done
        through(-done)
        done = 0
        return Count()

    yield again
