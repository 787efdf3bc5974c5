"""What users may say on a command line that becomes a job file."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dfbench.errors import UserError
from dfbench.paths import expanded
from dfbench.storage.url import Url, place

_DNS = re.compile(r"[^a-z0-9-]+")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WORD = re.compile(r"[A-Za-z0-9_.,:=+@/-]+")
_DIRECTIVE = re.compile(r"--[a-z][a-z0-9-]*(=[^\s\"'\\#=][^\s\"'\\#]*)?")
MOST_OF_NAME = 40  # characters: engines append theirs, and 63 is the most that a host name has


def printable(value: str, option: str) -> str:
    """Return a value that fits on a line of a file.

    Raises:
      UserError: it is empty, or holds a line break or another character that does not print.
    """
    if not value or not value.isprintable():
        what = "is empty" if not value else f"{value!r} has characters that do not print"
        raise UserError(f"{option}: {what}")
    return value


def optional(value: str | None, option: str) -> str | None:
    """Return a value as `printable` does, or None."""
    return None if value is None else printable(value, option)


def word(value: str | None, option: str) -> str | None:
    """Return a value without spaces, quotes and the like, or None.

    Raises:
      UserError: it has some.
    """
    if value is not None and not _WORD.fullmatch(value):
        raise UserError(f"{option}: {value!r} has more than letters, digits and _.,:=+@/-")
    return value


def positive(value: int, option: str) -> int:
    """Return a whole number of at least 1.

    Raises:
      UserError: it is less.
    """
    if value < 1:
        raise UserError(f"{option}: {value} is less than 1")
    return value


def dns_name(text: str) -> str:
    """Return `text` as a host's name may be (RFC 1123): small letters, digits, and `-` between.

    Raises:
      UserError: nothing of it is left.
    """
    name = _DNS.sub("-", text.lower())[:MOST_OF_NAME].strip("-")
    if not name:
        raise UserError(f"--name: '{text}' has no letter and no digit of a host's name")
    return name if name[0].isalpha() else f"j{name}"[:MOST_OF_NAME].strip("-")


def pairs(texts: Sequence[str], option: str, like: str) -> tuple[tuple[str, str], ...]:
    """Split texts at their first `=`.

    Raises:
      UserError: one has none, or what does not print; `like` is an example.
    """
    found = []
    for text in texts:
        name, equals, value = printable(text, option).partition("=")
        if not (name and equals):
            raise UserError(f"{option}: '{text}' is not of the form {like}")
        found.append((name, value))
    return tuple(found)


def variables(texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Split `--env` texts.

    Raises:
      UserError: one does not name a variable.
    """
    found = pairs(texts, "--env", "NAME=VALUE")
    for name, _ in found:
        if not _NAME.fullmatch(name):
            raise UserError(f"--env: '{name}' is no name of a variable")
    return found


def directives(texts: Sequence[str]) -> tuple[str, ...]:
    """Return further directives of a job file, as they are.

    Raises:
      UserError: one is not of the form `--name=value` without spaces and quotes.
    """
    for text in texts:
        if not (text.isprintable() and _DIRECTIVE.fullmatch(text)):
            raise UserError(
                f"--extra: {text!r} is no directive such as --extra=--constraint=a100 (with an "
                "equals sign, without spaces and quotes)"
            )
    return tuple(texts)


def is_url(text: str) -> bool:
    """Return whether a place is in object storage, such as `gs://bucket/folder`.

    Raises:
      UserError: a URL that names no place.
    """
    return isinstance(place(text), Url)


def absolute(text: str, option: str) -> str:
    """Return a URL as it is, and a folder of this machine by its full path.

    Raises:
      UserError: it is empty, does not print, or is a URL that names no place.
    """
    printable(text, option)
    return text if is_url(text) else str(expanded(text).absolute())
