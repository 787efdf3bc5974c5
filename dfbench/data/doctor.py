"""What is wrong with a raw download, in seconds: by names and sizes alone, nothing is decoded."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dfbench.data.builder import FaceBuilder
from dfbench.data.catalog import dataset_names, load_builder
from dfbench.data.raw import Part, scan
from dfbench.data.spec import Spec
from dfbench.errors import UserError
from dfbench.faces.clip import SPLITS

ARCHIVES = frozenset({".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".xz"})
UNFINISHED = frozenset({".part", ".crdownload", ".download", ".aria2", ".tmp"})
_COPY = re.compile(r"(?i)( \(\d+\)| - copy.*| copy.*|\.\d+|~)(?=\.\w+$|$)")  # `000 (1).mp4`
_SHOWN = 3  # examples of a kind


@dataclass(frozen=True, kw_only=True)
class PartReport:
    """One part of the download; paths are below it."""

    folder: str
    there: bool
    present: int  # clips
    official: int  # 0: not known
    missing: tuple[str, ...] = ()  # official clips that are not there
    copies: tuple[str, ...] = ()  # `000 (1).mp4` beside `000.mp4`
    strangers: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()  # clips of 0 bytes


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What a folder holds of a dataset, and what to do next."""

    name: str  # as a spec
    raw: str
    parts: tuple[PartReport, ...]
    clips: dict[str, int]  # "train/real" -> clips that are there
    absent: dict[str, int]  # the same, of official clips that are not
    excluded: dict[str, int]  # why clips that are there are in no split
    unpacked: tuple[str, ...]  # archives and unfinished downloads
    problem: str  # why it cannot be prepared; empty: it can
    advice: str

    @property
    def usable(self) -> bool:
        """Whether `dfbench prepare` would take it."""
        return not self.problem


def diagnose(spec: Spec, raw: Path) -> list[Diagnosis]:
    """Look through a raw download; each variant on its own where the spec names none.

    Raises:
      UserError: the dataset has no download, or there is no such folder.
    """
    cls = load_builder(spec.name)
    named = spec.variant or cls.DEFAULT_VARIANT or not cls.VARIANTS
    variants = (cls.variant_of(spec),) if named else cls.VARIANTS
    if not cls.parts(variants[0]):
        raise UserError(f"{spec.name} has no download: there is nothing to look through")
    if not raw.is_dir():
        raise UserError(f"{raw}: no such folder")
    return [_diagnose(cls, spec.name, variant, raw) for variant in variants]


def _diagnose(cls: type[FaceBuilder], dataset: str, variant: str, raw: Path) -> Diagnosis:
    name = f"{dataset}/{variant}" if variant else dataset
    problem, clips, absent, excluded = "", Counter[str](), Counter[str](), Counter[str]()
    missing: list[Path] = []
    try:
        index = cls.index(raw, variant)
        clips = Counter(f"{c.split}/{'fake' if c.label else 'real'}" for c in index.clips)
        absent = Counter(f"{c.split}/{'fake' if c.label else 'real'}" for c in index.absent)
        excluded = Counter(index.excluded.values())
        missing = [clip.path for clip in index.absent]
    except UserError as error:
        problem = str(error)
    parts = tuple(_report(raw, part, missing) for part in cls.parts(variant))
    unpacked = tuple(
        sorted(p.name for p in raw.iterdir() if p.suffix.lower() in ARCHIVES | UNFINISHED)
    )
    return Diagnosis(
        name=name,
        raw=str(raw),
        parts=parts,
        clips=dict(sorted(clips.items())),
        absent=dict(sorted(absent.items())),
        excluded=dict(sorted(excluded.items())),
        unpacked=unpacked,
        problem=problem,
        advice=_advice(name, dataset, raw, parts, unpacked, problem),
    )


def _report(raw: Path, part: Part, missing: Iterable[Path]) -> PartReport:
    files = scan(raw, part)
    folder = files.folder
    copies = [s for s in files.strangers if _COPY.search(s)]
    return PartReport(
        folder=part.folder,
        there=folder is not None,
        present=len(files.clips),
        official=part.count,
        missing=tuple(
            path.relative_to(folder).as_posix()
            for path in missing
            if folder is not None and path.is_relative_to(folder)
        ),
        copies=tuple(copies),
        # A part that may be the raw folder itself has the other parts' files among its own.
        strangers=()
        if folder == raw or part.frames
        else tuple(sorted(set(files.strangers) - set(copies))),
        empty=tuple(
            name
            for name in files.clips
            if folder is not None and not part.frames and (folder / name).stat().st_size == 0
        ),
    )


def _advice(
    name: str,
    dataset: str,
    raw: Path,
    parts: tuple[PartReport, ...],
    unpacked: tuple[str, ...],
    problem: str,
) -> str:
    if problem:
        if not any(part.present for part in parts):
            if unpacked:
                return f"unpack {unpacked[0]}"
            others = [other for other in recognise(raw) if other.split("/")[0] != dataset]
            if others:
                return f"this looks like {others[0]}: dfbench doctor {others[0]} --raw {raw}"
            return f"`dfbench datasets {dataset}` says how to get it and where to put what"
        return problem
    if any(part.empty for part in parts):
        return "download the empty files again"
    if unpacked:
        return f"unpack or finish {unpacked[0]}, if it belongs here"
    prepare = f"dfbench prepare {name} --raw {raw}"
    if any(part.missing for part in parts):
        return f"complete the download, or go on without (it will be said): {prepare}"
    return prepare


def recognise(raw: Path) -> list[str]:
    """Return the datasets of which the folder holds parts, the likeliest first."""
    found = []
    for name in dataset_names():
        cls = load_builder(name)
        for variant in cls.VARIANTS or ("",):
            there = sum(
                any((raw / f).is_dir() for f in (part.folder, *part.also) if f != ".")
                for part in cls.parts(variant)
            )
            if there:
                found.append((-there, f"{name}/{variant}" if variant else name))
    return [name for _, name in sorted(found)]


def diagnosis_text(found: Diagnosis) -> str:
    """Say a diagnosis in lines."""
    lines = [f"{found.name} in {found.raw}"]
    width = max(len(part.folder) for part in found.parts)
    for part in found.parts:
        if part.present or part.there:
            of = f" of {part.official}" if part.official else ""
            lines.append(f"  {part.folder:{width}}  {part.present}{of} clips")
            for what, names in {
                "missing": part.missing,
                "empty": part.empty,
                "copies": part.copies,
                "unexpected": part.strangers,
            }.items():
                if names:
                    lines.append(f"  {'':{width}}  {len(names)} {what}: {_some(names)}")
    gone = [part.folder for part in found.parts if not part.there]
    if gone:
        lines.append(f"  not there: {_some(gone)}")
    if found.unpacked:
        lines.append(f"  not unpacked or not finished: {_some(found.unpacked)}")
    for split in SPLITS:
        cells = [
            f"{found.clips.get(key, 0)} {label}"
            + (f" ({found.absent[key]} more are missing)" if key in found.absent else "")
            for label in ("real", "fake")
            if (key := f"{split}/{label}") in {**found.clips, **found.absent}
        ]
        if cells:
            lines.append(f"  {split:5} {', '.join(cells)}")
    lines += [f"  in no split: {count} clips: {why}" for why, count in found.excluded.items()]
    if found.problem:
        lines.append(f"  cannot be prepared: {found.problem}")
    lines.append(f"  next: {found.advice}")
    return "\n".join(lines)


def _some(names: Iterable[str]) -> str:
    shown = list(names)
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return ", ".join(repr(n) if not n.isprintable() else n for n in shown[:_SHOWN]) + more
