"""One process at a time, where several share a folder: trainings of a matrix on many machines."""

from __future__ import annotations

import contextlib
import datetime
import errno
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from dfbench.errors import one_line

# What systems say where files cannot be locked, as on some network file systems.
_CANNOT = {
    getattr(errno, name, None) for name in ("ENOLCK", "ENOSYS", "EOPNOTSUPP", "ENOTSUP", "EINVAL")
}
_LONGEST = 200  # characters that a lock file may say


@contextlib.contextmanager
def one_at_a_time(
    path: Path, what: str = "", say: Callable[[str], None] = lambda line: None
) -> Iterator[None]:
    """Hold the lock file `path`, which is there only meanwhile; others wait.

    The system gives it free when its holder dies. It says who holds it. Where files cannot be
    locked, nobody waits, and that is said.

    Args:
      path: of the lock; its folder is made.
      what: is done, in passive voice: "x is being prepared".
      say: is called once, before waiting for another process.

    Raises:
      OSError: the lock file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = _locked(path, what, say)
    try:
        yield
    finally:
        if file is not None:
            path.unlink(missing_ok=True)
            file.close()


def _locked(path: Path, what: str, say: Callable[[str], None]) -> IO[bytes] | None:
    """Open and lock the file, whichever it is by then: its last holder has deleted it."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    said = False
    while True:
        file = path.open("a+b")
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not said:
                    say(f"{what} by {_holder(file)}: waiting for it")
                said = True
                fcntl.flock(file, fcntl.LOCK_EX)
            if path.is_file() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                _sign(file)
                return file
            file.close()
        except OSError as error:
            file.close()
            if error.errno not in _CANNOT:
                raise
            path.unlink(missing_ok=True)
            say(
                f"warning: files cannot be locked in {path.parent}: if {what} by another process "
                "too, end one of them"
            )
            return None
        except BaseException:  # Ctrl-C while waiting
            file.close()
            raise


def _sign(file: IO[bytes]) -> None:
    """Write down who holds a lock."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M")
    text = f"process {os.getpid()} on {socket.gethostname()} since {now} UTC"
    with contextlib.suppress(OSError):  # of a full disk: it is locked all the same
        file.truncate(0)
        file.write(text.encode())
        file.flush()


def _holder(file: IO[bytes]) -> str:
    """Return what the holder of a lock has written down."""
    with contextlib.suppress(OSError):
        file.seek(0)
        text = file.read(_LONGEST).decode(errors="replace").strip()
        return one_line(text) or "another process"
    return "another process"
