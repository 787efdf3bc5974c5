"""The one exception type that means: the user's input is at fault."""

from __future__ import annotations

import contextlib
import difflib
import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path


class UserError(Exception):
    """Wrong input: the command line shows the message as one line and exits with status 2.

    The message names the file or value and says what to do.
    """


_SPACE = "free some space, or name another folder"
_RIGHTS = "change its permissions, or name another one"
_GONE = "look after the disk or its network, then give the same command again"
_WHAT_TO_DO = {
    "ENOSPC": _SPACE,
    "EDQUOT": _SPACE,
    "EFBIG": "the size of files is limited here (ulimit -f); name another folder",
    "EACCES": _RIGHTS,
    "EPERM": _RIGHTS,
    "EROFS": "name another one",
    "EIO": _GONE,
    "ESTALE": _GONE,
    "ENODEV": _GONE,
    "ENXIO": _GONE,
    "ENOTCONN": _GONE,
    "EHOSTDOWN": _GONE,
    "EREMOTEIO": _GONE,
}
_ADVICE = {n: text for name, text in _WHAT_TO_DO.items() if (n := getattr(errno, name, None))}
_NATIVE = (RuntimeError, ValueError, OSError)  # what libraries in C++ raise


def refused(error: BaseException) -> OSError | None:
    """Return what the system refused behind an exception; None where it is about something else.

    Arrow, ArrayRecord and Orbax's TensorStore have what the system said as text. TFDS adds text to
    an error, and leaves the error itself as the cause.
    """
    for one in _chain(error):
        if isinstance(one, OSError) and one.errno in _ADVICE:
            return one
        if isinstance(one, _NATIVE):
            for code in _ADVICE:
                if os.strerror(code) in str(one):
                    return OSError(code, os.strerror(code))
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(10):
        if error is None or isinstance(error, BrokenPipeError):  # the latter is of the terminal
            return
        yield error
        error = error.__cause__ or error.__context__


def refusal(error: OSError, where: Path | None = None) -> str:
    """Say in a line what the system refused and what to do; `where`, if the error names no file."""
    name = error.filename if isinstance(error.filename, str | bytes) else ""
    place = os.fsdecode(name) or where
    known = error.errno if error.errno in _ADVICE else None
    said = os.strerror(known) if known else error.strerror or error
    text = f"{place}: {said}" if place else str(said)
    return f"{text}; {_ADVICE[known]}" if known else text


@contextlib.contextmanager
def system_errors(where: Path) -> Iterator[None]:
    """Turn what the system refuses, such as space or a permission, into a UserError.

    Args:
      where: what is written to; it is named where the system names no file.
    """
    try:
        yield
    except _NATIVE as error:
        if (found := refused(error)) is None:
            others = (e for e in _chain(error) if isinstance(e, OSError) and e.errno is not None)
            found = next(others, error if isinstance(error, OSError) else None)
        if found is None or isinstance(error, BrokenPipeError):
            raise
        raise UserError(refusal(found, where)) from error


def one_line(text: str) -> str:
    """Return text with line breaks and what else cannot be printed, as in file names, escaped."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for the closest of `known`, or an empty string."""
    match = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{match[0]}'?" if match else ""
