"""Clips by what people call them: their key, or the end of a path, down to the file's name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dfbench.data.roster import Listed
from dfbench.errors import nearest
from dfbench.faces.clip import Split
from dfbench.faces.images import IMAGE_SUFFIXES
from dfbench.faces.video import VIDEO_SUFFIXES

_SUFFIXES = IMAGE_SUFFIXES | VIDEO_SUFFIXES
_FEW = 3  # clips named as what an ambiguous name may mean


@dataclass(frozen=True)
class Match:
    """The clip that a name means; None: none, or `problem` says why it is not clear."""

    clip: int | None  # position in the roster
    problem: str = ""


class ClipNames:
    """Finds the clips of a roster by name; of several that a name may mean, one of `split`.

    A name is a clip's key (`celebdf/Celeb-real/id0_0000`), or a path that ends like the key or like
    the clip's file does: `/data/Celeb-real/id0_0000.mp4`, `id0_0000`. The clip that shares the
    longest end is meant. Where that end does not name its manipulation, a folder that is called
    like a manipulation or a variant rules out the clips of others:
    `manipulated_sequences/FaceSwap/c23/videos/000_003.mp4`.
    """

    def __init__(
        self, clips: Sequence[Listed], split: Split = "test", other_variants: Iterable[str] = ()
    ) -> None:
        self._clips, self._split = clips, split
        self._datasets = {clip.dataset for clip in clips}
        self._by_key: dict[str, list[int]] = {}
        for at, clip in enumerate(clips):
            for key in {clip.key, clip.video}:
                self._by_key.setdefault(key, []).append(at)
        # A raw download is often kept in a folder called "raw".
        self._words = {word.lower() for word in other_variants} - {"raw"}
        self._by_name: dict[str, list[int]] = {}

    def find(self, text: str, dataset: str = "", manipulation: str = "") -> Match:
        """Return which clip a name means.

        Args:
          text: the name.
          dataset: where the clip is from, where it is known by the name that the roster has.
          manipulation: of the clip, where it is known.
        """
        whole = self._of(dataset, self._by_key.get(text, ()))
        if len(whole) == 1:
            return Match(whole[0])
        self._prepare()
        parts = [p for p in text.strip().replace("\\", "/").split("/") if p not in ("", ".")]
        named = self._of(dataset, self._by_name.get(_stem(parts[-1]), ())) if parts else []
        if not named:
            return Match(None)
        shared = {at: self._shared(parts, at) for at in named}
        folders = [part.lower() for part in (manipulation, *parts[:-1])]
        possible = [at for at in named if not self._contradicts(folders, int(shared[at]) - 1, at)]
        if not possible:
            clip = self._clips[named[0]].key
            return Match(None, f"says another manipulation or variant than '{clip}'")
        longest = max(shared[at] for at in possible)
        best = [at for at in possible if shared[at] == longest]
        best = [at for at in best if self._asked(at)] or best
        return Match(best[0]) if len(best) == 1 else Match(None, self._ambiguous(best))

    def nearest(self, text: str) -> str:
        """Return `"; did you mean 'x'?"` for the closest key of the split, or an empty string."""
        return nearest(text, [c.key for at, c in enumerate(self._clips) if self._asked(at)])

    def _asked(self, at: int) -> bool:
        return self._clips[at].split == self._split and self._clips[at].kept

    def _of(self, dataset: str, places: Sequence[int]) -> list[int]:
        known = dataset in self._datasets
        return [at for at in places if not known or self._clips[at].dataset == dataset]

    def _ambiguous(self, places: Sequence[int]) -> str:
        keys = [self._clips[at].key for at in places]
        more = f" or {len(keys) - _FEW} others" if len(keys) > _FEW else ""
        return "may be " + " or ".join(f"'{key}'" for key in keys[:_FEW]) + more

    def _prepare(self) -> None:
        """Sort the clips by their files' names, which whole keys do not need."""
        if self._by_name:
            return
        found: dict[str, dict[int, None]] = defaultdict(dict)
        for at, clip in enumerate(self._clips):
            for form in filter(None, (clip.video, clip.path)):
                found[_stem(form.rpartition("/")[2])][at] = None
            self._words |= _words(clip)
        self._by_name = {name: list(places) for name, places in found.items()}

    def _shared(self, parts: Sequence[str], at: int) -> float:
        clip = self._clips[at]
        forms = [form.split("/") for form in (clip.key, clip.video, clip.path) if form]
        return max(_common_end(parts, form) for form in forms)

    def _contradicts(self, folders: Sequence[str], shared: int, at: int) -> bool:
        """Tell whether a folder names another manipulation or variant than the clip's.

        It does not where the `shared` last folders, which the clip has too, name the clip's own.
        """
        clip = self._clips[at]
        own = _words(clip) | set(clip.path.lower().split("/"))
        agree = set(folders[len(folders) - shared :]) & _words(clip)
        return not agree and bool(set(folders) & self._words - own)


def _words(clip: Listed) -> set[str]:
    """Return what folders of clips of this kind are called."""
    return {word.lower() for word in (clip.manipulation, *clip.video.split("/")[1:2])}


def _common_end(parts: Sequence[str], form: Sequence[str]) -> float:
    """Count equal parts from the end; an ending such as `.mp4` counts a half where both have it."""
    if _stem(parts[-1]) != _stem(form[-1]):
        return 0
    count = 1
    for one, other in zip(reversed(parts[:-1]), reversed(form[:-1]), strict=False):
        if one != other:
            break
        count += 1
    return count + 0.5 * (parts[-1] == form[-1])


def _stem(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return stem if stem and f"{dot}{suffix}".lower() in _SUFFIXES else name
