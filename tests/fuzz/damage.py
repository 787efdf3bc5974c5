"""Inputs that are nearly right: something valid, damaged in a few places."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, MutableMapping, MutableSequence, Sequence
from typing import Any

from hypothesis import strategies as st

# What parsers, file systems and pages have stumbled over.
NASTY = (
    *("", " ", "\0", "\n", "\r\n", "\t", "\u202e", "\u2028", "\x1b[31m", "ä", "顔", "\ufeff"),
    *(".", "..", "../x", "/etc/passwd", "C:\\x", "\\\\host\\x", "~", "~nobody/x", "a/../../b"),
    *("CON", "a:b", "-x", "--set", "%s", "{}", "${HOME}", "$(id)", "`id`", "'\"", "*", "?"),
    *("<script>", "](javascript:1)", "|", "NaN", "inf", "-0", "1e999", "0x10", "1_0", "²", "٣"),
    *("true", "null", "[]", "{}", "9" * 5000, "[" * 3000, '{"a":' * 3000, "x" * 5000),
)
EDGES = (0, 1, -1, 2, 255, 2**31 - 1, -(2**31), 2**31, 2**63, -(2**63) - 1, 10**40)

words = st.sampled_from(NASTY) | st.text(max_size=12)
numbers = st.sampled_from(EDGES) | st.integers() | st.floats()
scalars = st.none() | st.booleans() | numbers | words
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3)
)

# --- bytes ----------------------------------------------------------------------------------------

Edit = tuple[int, int, int]  # what, where, with what
edits = st.lists(
    st.tuples(st.integers(0, 99), st.integers(0, 2**17 - 1), st.integers(0, 2**16 - 1)),
    min_size=1,
    max_size=5,
)
HUGE = (2**31, 2**32 - 1, 10**12, 2**40, 2**62, 2**63, 2**64 - 1)
HEAD = 2048  # bytes in which formats say what follows


def damaged(originals: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Draw one of the originals with a few edits."""
    return st.tuples(st.integers(0, len(originals) - 1), edits).map(
        lambda drawn: edited(originals[drawn[0]], drawn[1], originals)
    )


def edited(data: bytes, changes: Sequence[Edit], originals: Sequence[bytes]) -> bytes:
    """Return bytes after some edits."""
    found = bytearray(data)
    for what, where, value in changes:
        if not found:
            break
        # Half of the edits fall where formats have their headers.
        at = (where >> 1) % (min(len(found), HEAD) if where & 1 else len(found))
        _EDITS[what % len(_EDITS)](found, at, value, originals)
    return bytes(found)


def _flip(data: bytearray, at: int, value: int, originals: Sequence[bytes]) -> None:
    data[at] ^= 1 << value % 8


def _set(data: bytearray, at: int, value: int, originals: Sequence[bytes]) -> None:
    data[at] = (0, 1, 127, 128, 254, 255, value % 256)[value % 7]


def _cut(data: bytearray, at: int, value: int, originals: Sequence[bytes]) -> None:
    del data[at:]


def _drop(data: bytearray, at: int, value: int, originals: Sequence[bytes]) -> None:
    del data[at : at + 1 + value % 40]


def _repeat(data: bytearray, at: int, value: int, originals: Sequence[bytes]) -> None:
    data[at:at] = data[at : at + 1 + value % 200]


def _huge(data: bytearray, at: int, value: int, originals: Sequence[bytes]) -> None:
    number = HUGE[value % len(HUGE)]
    width = 4 if value & 64 else 8
    data[at : at + width] = (number % 2 ** (8 * width)).to_bytes(width, "little")


def _insert(data: bytearray, at: int, value: int, originals: Sequence[bytes]) -> None:
    data[at:at] = NASTY[value % len(NASTY)].encode()


def _replace(data: bytearray, at: int, value: int, originals: Sequence[bytes]) -> None:
    token = NASTY[value % len(NASTY)].encode()
    data[at : at + len(token)] = token


def _swap(data: bytearray, at: int, value: int, originals: Sequence[bytes]) -> None:
    size, other = 1 + value % 24, (at * 7 + value) % len(data)
    one, two = bytes(data[at : at + size]), bytes(data[other : other + size])
    data[at : at + len(two)], data[other : other + len(one)] = two, one


def _graft(data: bytearray, at: int, value: int, originals: Sequence[bytes]) -> None:
    other = originals[value % len(originals)]
    data[at:] = other[at:]


_EDITS: tuple[Callable[[bytearray, int, int, Sequence[bytes]], None], ...] = (
    _flip, _flip, _set, _set, _cut, _drop, _repeat, _huge, _huge, _insert, _replace, _swap, _graft,
)  # fmt: skip

# --- text -----------------------------------------------------------------------------------------


def joined(pieces: Sequence[str], most: int = 8) -> st.SearchStrategy[str]:
    """Draw a text that is made of pieces, some of them nasty."""
    piece = st.sampled_from(list(pieces))
    return st.lists(piece | piece | words, min_size=1, max_size=most).map("".join)


# --- nested values --------------------------------------------------------------------------------

Change = tuple[str, int, int, Any]  # what, where, another place, with what
changes = st.lists(
    st.tuples(
        st.sampled_from(("set", "set", "delete", "add", "swap", "rename")),
        st.integers(0, 2**16),
        st.integers(0, 2**16),
        values,
    ),
    min_size=1,
    max_size=4,
)


def changed(originals: Sequence[Any]) -> st.SearchStrategy[Any]:
    """Draw one of some nested values, with a few of them changed."""
    texts = [json.dumps(one) for one in originals]
    return st.tuples(st.integers(0, len(texts) - 1), changes).map(
        lambda drawn: _changed(json.loads(texts[drawn[0]]), drawn[1])
    )


def _changed(tree: Any, made: Sequence[Change]) -> Any:
    for what, one, two, value in made:
        places = list(_places(tree))
        if not places:
            return value
        parent, key = places[one % len(places)]
        if what == "delete":
            del parent[key]
        elif what == "add" and isinstance(parent, MutableSequence):
            parent.insert(key, value)
        elif what == "add":
            parent[NASTY[two % len(NASTY)]] = value
        elif what == "swap":
            other, there = places[two % len(places)]
            if not _inside(parent[key], other) and not _inside(other[there], parent):
                parent[key], other[there] = other[there], parent[key]
        elif what == "rename" and isinstance(parent, MutableMapping):
            parent[NASTY[two % len(NASTY)]] = parent.pop(key)
        else:
            parent[key] = value
    return tree


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container with each of its keys."""
    if isinstance(tree, dict | list):
        for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
            yield tree, key
            yield from _places(tree[key])


def _inside(tree: Any, container: Any) -> bool:
    """Return whether a container is a part of a tree: it cannot be put into itself."""
    return tree is container or any(parent is container for parent, _ in _places(tree))
