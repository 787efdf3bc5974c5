"""The one exception type that means: the user's input is at fault."""

from __future__ import annotations

import contextlib
import difflib
import errno
from collections.abc import Iterable, Iterator
from pathlib import Path


class UserError(Exception):
    """Wrong input: the command line shows the message as one line and exits with status 2.

    The message names the file or value and says what to do.
    """


_ADVICE = {
    errno.ENOSPC: "free some space, or name another folder",
    errno.EDQUOT: "free some space, or name another folder",
    errno.EACCES: "change its permissions, or name another one",
    errno.EPERM: "change its permissions, or name another one",
    errno.EROFS: "name another one",
}


@contextlib.contextmanager
def system_errors(where: Path) -> Iterator[None]:
    """Turn what the system refuses, such as space or a permission, into a UserError.

    Args:
      where: what is written to; it is named where the system names no file.
    """
    try:
        yield
    except BrokenPipeError:  # of the terminal
        raise
    except OSError as error:
        first = error
        while first.errno is None and isinstance(first.__cause__, OSError):
            first = first.__cause__  # TFDS adds text, and drops the rest
        advice = _ADVICE.get(first.errno or 0, "")
        text = f"{first.filename or where}: {first.strerror or first}"
        raise UserError(f"{text}; {advice}" if advice else text) from error


def one_line(text: str) -> str:
    """Return text with line breaks and what else cannot be printed, as in file names, escaped."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for the closest of `known`, or an empty string."""
    match = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{match[0]}'?" if match else ""
