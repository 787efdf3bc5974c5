"""What the clips that a detector is trained on share with those that it is evaluated on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from jaxtyping import Float32

from dfbench.data.alike import ALIKE, NEAR, differing, directions, signs
from dfbench.data.nearest import nearest
from dfbench.data.prepared import column
from dfbench.data.spec import PATH_DATASETS
from dfbench.faces.clip import REAL, Split
from dfbench.faces.hashing import BITS

Kind = Literal["videos", "exact", "near", "originals", "footage", "identities", "alike"]
KINDS: tuple[Kind, ...] = ("videos", "exact", "near", "originals", "footage", "identities")
# A test clip of these kinds was in the training data: its score says nothing.
LEAKS: tuple[Kind, ...] = ("videos", "exact")
TITLES: dict[Kind, str] = {
    "videos": "the same clip",
    "exact": "exact duplicates",
    "near": "near duplicates",
    "originals": "of one original",
    "footage": "cut from one video",
    "identities": "the same person",
    "alike": "alike to the network",
}
EXAMPLES = 4  # of a kind


@dataclass(frozen=True, kw_only=True)
class Place:
    """A clip, and where its middle crop lies."""

    video: str
    dataset: str
    split: Split
    position: int


@dataclass(frozen=True, kw_only=True)
class Example:
    """A clip of the training data and an evaluated one, with what they share."""

    shared: str
    train: Place
    eval: Place


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What is shared, of one kind."""

    kind: Kind
    shared: int  # videos, originals, source videos or people; of look-alikes evaluated clips
    clips: int  # evaluated clips concerned
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """What two tables of clips share."""

    train_clips: int
    eval_clips: int
    concerned: int  # evaluated clips that share anything
    leaked: int  # of these, those that were trained on: of one of the kinds `LEAKS`
    findings: tuple[Finding, ...]  # one a kind that was looked for

    def of(self, kind: Kind) -> Finding:
        """Return what was found of a kind."""
        none = Finding(kind=kind, shared=0, clips=0)
        return next((finding for finding in self.findings if finding.kind == kind), none)

    def leaks(self) -> list[Example]:
        """Return examples of evaluated clips that were trained on; none if there are none."""
        return [example for kind in LEAKS for example in self.of(kind).examples]


@dataclass(frozen=True, kw_only=True)
class Features:
    """A network's features of the middle crops, a row a clip."""

    train: Float32[np.ndarray, "trained f"]
    eval: Float32[np.ndarray, "evaluated f"]


def find_overlap(
    train: pa.Table,
    evaluated: pa.Table,
    *,
    kinds: Sequence[Kind] = KINDS,
    features: Features | None = None,
) -> Overlap:
    """Compare two clip tables (`dfbench.data.clips`).

    - `videos`: the same clip. Of folders that a person named it must look alike too, since two
      folders may have one name, with files of the same names in them.
    - `exact`: the bytes of the clips' middle crops are equal.
    - `near`: they are not, but at most `NEAR` bits of their difference hashes differ.
    - `originals`: two fakes were made from one real clip, or one is the fake's original.
    - `footage`: both were cut from one longer video.
    - `identities`: a person is seen in both, or gave the face that was swapped in.
    - `alike`, with `features` only: these are alike, by a cosine of at least `ALIKE`.
    """
    matches: dict[Kind, list[_Match]] = {kind: _FINDERS[kind](train, evaluated) for kind in kinds}
    if features is not None:
        matches["alike"] = _alike(train, evaluated, features)
    return Overlap(
        train_clips=len(train),
        eval_clips=len(evaluated),
        concerned=len({match.eval for found in matches.values() for match in found}),
        leaked=len({match.eval for kind in LEAKS for match in matches.get(kind, ())}),
        findings=tuple(_finding(kind, found, train, evaluated) for kind, found in matches.items()),
    )


@dataclass(frozen=True)
class _Match:
    """An evaluated clip's row that shares `key` with a trained one's; `note` says it in words."""

    key: str
    train: int
    eval: int
    note: str = ""


def _finding(
    kind: Kind, matches: Sequence[_Match], train: pa.Table, evaluated: pa.Table
) -> Finding:
    first, further = dict[str, _Match](), list[_Match]()
    for match in matches:
        if first.setdefault(match.key, match) is not match:
            further.append(match)
    return Finding(
        kind=kind,
        shared=len(first),
        clips=len({match.eval for match in matches}),
        examples=tuple(
            Example(
                shared=match.note or match.key,
                train=_place(train, match.train),
                eval=_place(evaluated, match.eval),
            )
            for match in [*first.values(), *further][:EXAMPLES]
        ),
    )


def _place(clips: pa.Table, row: int) -> Place:
    (values,) = clips.select(["video", "dataset", "split", "position"]).slice(row, 1).to_pylist()
    return Place(**values)


# --- by key ---------------------------------------------------------------------------------------


def _matches(train: Iterable[tuple[str, int]], asked: Iterable[tuple[str, int]]) -> list[_Match]:
    """Match keys with their rows; of trained rows with one key the first is named."""
    first: dict[str, int] = {}
    for key, row in train:
        first.setdefault(key, row)
    return [_Match(key, first[key], row) for key, row in asked if key and key in first]


def _keys(clips: pa.Table, *names: str) -> list[tuple[str, int]]:
    columns = [clips[name].to_pylist() for name in names]
    return [(key, row) for row, keys in enumerate(zip(*columns, strict=True)) for key in keys]


def _videos(train: pa.Table, evaluated: pa.Table) -> list[_Match]:
    matches = _matches(_keys(train, "video"), _keys(evaluated, "video"))
    folders = tuple(f"{name}:" for name in PATH_DATASETS)
    doubtful = [match for match in matches if match.key.startswith(folders)]
    before = signs(train.take(pa.array([m.train for m in doubtful], pa.int64())))
    now = signs(evaluated.take(pa.array([m.eval for m in doubtful], pa.int64())))
    differ = differing((before * now).sum(axis=1)) > NEAR
    others = {match.key for match, other in zip(doubtful, differ, strict=True) if other}
    return [match for match in matches if match.key not in others]


def _originals(train: pa.Table, evaluated: pa.Table) -> list[_Match]:
    """Match the real clips that both show; two that are the real clip itself are no match."""
    forged = _keys(train, "original")
    return [
        *_matches(forged, _real(evaluated)),
        *_matches([*_real(train), *forged], _keys(evaluated, "original")),
    ]


def _real(clips: pa.Table) -> list[tuple[str, int]]:
    real = column(clips, "label") == REAL
    return [(video, row) for video, row in _keys(clips, "video") if real[row]]


def _footage(train: pa.Table, evaluated: pa.Table) -> list[_Match]:
    def keys(clips: pa.Table) -> list[tuple[str, int]]:
        rows = enumerate(clips["footage"].to_pylist())
        return [(source, row) for row, sources in rows for source in sources]

    return _matches(keys(train), keys(evaluated))


def _identities(train: pa.Table, evaluated: pa.Table) -> list[_Match]:
    names = ("identity", "source_identity")
    return _matches(_keys(train, *names), _keys(evaluated, *names))


# --- by looks -------------------------------------------------------------------------------------


def _exact(train: pa.Table, evaluated: pa.Table) -> list[_Match]:
    known: dict[int, int] = {}
    for row, content in enumerate(train["content"].to_pylist()):
        known.setdefault(content, row)
    rows = zip(evaluated["content"].to_pylist(), _keys(evaluated, "video"), strict=True)
    return [
        _Match(video, known[content], row, "the same bytes")
        for content, (video, row) in rows
        if content in known
    ]


def _near(train: pa.Table, evaluated: pa.Table) -> list[_Match]:
    equal = {match.eval for match in _exact(train, evaluated)}
    at, product = nearest(signs(train), signs(evaluated))
    bits = differing(product[:, 0])
    videos = evaluated["video"].to_pylist()
    return [
        _Match(videos[row], int(at[row, 0]), int(row), f"{bits[row]:.0f} of {BITS} bits differ")
        for row in np.argsort(bits, kind="stable")
        if bits[row] <= NEAR and row not in equal
    ]


def _alike(train: pa.Table, evaluated: pa.Table, features: Features) -> list[_Match]:
    label = column(train, "label")
    known = directions(features.train, label, features.train, label)
    asked = directions(features.eval, column(evaluated, "label"), features.train, label)
    at, products = nearest(known, asked)
    cosine = products[:, 0]
    videos = evaluated["video"].to_pylist()
    return [
        _Match(videos[row], int(at[row, 0]), int(row), f"cosine {cosine[row]:.3f}")
        for row in np.argsort(-cosine, kind="stable")
        if cosine[row] >= ALIKE
    ]


_FINDERS: dict[Kind, Callable[[pa.Table, pa.Table], list[_Match]]] = {
    "videos": _videos,
    "exact": _exact,
    "near": _near,
    "originals": _originals,
    "footage": _footage,
    "identities": _identities,
}
