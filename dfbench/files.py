"""Files that are there whole or not at all, whatever becomes of the process or the disk."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from dfbench.errors import refused

T = TypeVar("T")
MOST_DEEP = 100  # lists and objects in one another
_TO_DISK = "rb+" if os.name == "nt" else "rb"  # Windows wants a file that may be written


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield the name of an unfinished file beside `path`, which takes its place at the end.

    Its name is hidden, ends as that of `path` and is nobody else's, so that several processes may
    write the same file: the last one wins. The folder is made. After an error the unfinished file
    is deleted and `path` is as it was.

    Raises:
      OSError: the disk refuses it; the error names `path`.
    """
    unfinished = path.with_name(f".{path.stem[:40]}.{secrets.token_hex(4)}{path.suffix}")
    with naming(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield unfinished
            to_disk(unfinished)
            unfinished.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise


def to_disk(path: Path) -> None:
    """Wait until the disk has a file, or all files of a folder: a machine may lose its power.

    Otherwise it may have their new names and not their bytes.

    Raises:
      OSError: the disk refuses them.
    """
    for file in sorted(path.rglob("*")) if path.is_dir() else (path,):
        if file.is_file():
            with file.open(_TO_DISK) as opened:
                os.fsync(opened.fileno())


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let what the system refuses be said of `path`, whatever a library says of it.

    Raises:
      OSError: the system refused something; the error names `path`.
    """
    try:
        yield
    except Exception as error:
        if (found := refused(error)) is None or found.errno is None:
            raise
        raise OSError(found.errno, os.strerror(found.errno), str(path)) from error


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file; it appears whole or not at all.

    Raises:
      OSError: as for `whole`.
    """
    with whole(path) as unfinished:
        unfinished.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8, with line breaks as they are; it appears whole or not at all.

    Raises:
      OSError: as for `whole`.
    """
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any, *, indent: int = 1) -> None:
    """Write a value as indented JSON; the file appears whole or not at all.

    Raises:
      OSError: as for `whole`.
    """
    write_bytes(path, json_bytes(value, indent=indent))


def json_bytes(value: Any, *, indent: int = 1) -> bytes:
    """Return a value, such as a dataclass, as indented JSON that ends with a line break."""
    return msgspec.json.format(msgspec.json.encode(value), indent=indent) + b"\n"


def decode_json(data: bytes, kind: type[T]) -> T:
    """Return the value of JSON as `kind`, such as a dataclass.

    Raises:
      ValueError: no JSON, no UTF-8, another kind of value, or lists in lists without end.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(str(error)) from error


def decode_plain(data: bytes) -> Any:
    """Return the value of any JSON.

    Raises:
      ValueError: no JSON, no UTF-8, or lists in lists that code after this could not follow.
    """
    value = decode_json(data, object)
    level = [value]
    for _ in range(MOST_DEEP):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return value
    raise ValueError(f"more than {MOST_DEEP} lists and objects in one another")
