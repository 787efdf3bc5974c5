"""One process at a time, where several share a folder: trainings of a matrix on many machines."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def one_at_a_time(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock file `path`, which is there only meanwhile; others wait.

    The system gives it free when its holder dies. Where files cannot be locked, as on some network
    file systems, nobody waits.

    Args:
      path: of the lock; its folder is made.
      waiting: is called once, before waiting for another process.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = _locked(path, waiting)
    try:
        yield
    finally:
        if file is not None:
            path.unlink(missing_ok=True)
            file.close()


def _locked(path: Path, waiting: Callable[[], None]) -> IO[bytes] | None:
    """Open and lock the file, whichever it is by then: its last holder has deleted it."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    said = False
    while True:
        file = path.open("wb")
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not said:
                    waiting()
                said = True
                fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            file.close()
            return None
        if path.is_file() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
        file.close()
