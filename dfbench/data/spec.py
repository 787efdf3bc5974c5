"""Dataset specs: the words on the command line that mean data.

`uadfv` · `ffpp/c23` · `ffpp/c23:Deepfakes+FaceSwap` · `folder:PATH` · `sbi:PATH` · `a,b` (union)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dfbench.data.catalog import dataset_names
from dfbench.errors import UserError, nearest
from dfbench.paths import expanded

PATH_DATASETS = ("folder", "sbi")  # made from a folder that the spec names


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One dataset of a spec."""

    text: str  # as typed
    name: str
    variant: str = ""  # after the slash
    path: Path | None = None  # of folder: and sbi:
    manipulations: tuple[str, ...] = ()  # kept fakes; empty: all


def parse_spec(text: str) -> tuple[Spec, ...]:
    """Split a spec into its datasets.

    Raises:
      UserError: unknown dataset (with the nearest name), or a spec that does not parse.
    """
    if not text.strip():
        raise UserError("empty dataset spec; `dfbench datasets` lists the names")
    return tuple(_parse_one(part) for part in split_union(text))


def split_union(text: str) -> list[str]:
    """Split at commas, but not inside a path: a part that starts no dataset belongs to it."""
    parts: list[str] = []
    for part in text.split(","):
        in_path = bool(parts) and parts[-1].split(":", 1)[0] in PATH_DATASETS
        if in_path and _head(part) not in (*dataset_names(), *PATH_DATASETS):
            parts[-1] += "," + part
        else:
            parts.append(part.strip())
    return parts


def _head(part: str) -> str:
    return part.strip().split(":", 1)[0].split("/", 1)[0]


def _parse_one(text: str) -> Spec:
    name, _, rest = text.partition(":")
    if name in PATH_DATASETS:
        if not rest:
            raise UserError(f"'{text}' needs a folder: {name}:PATH")
        return Spec(text=text, name=name, path=expanded(rest))
    name, _, variant = name.partition("/")
    if name in PATH_DATASETS:
        raise UserError(f"'{text}' has a slash where a colon belongs: {name}:PATH")
    known = dataset_names()
    if name not in known:
        hint = nearest(name, known) or "; `dfbench datasets` lists the names"
        raise UserError(f"unknown dataset '{name}'{hint}")
    manipulations = tuple(sorted({m for m in rest.split("+") if m}))
    return Spec(text=text, name=name, variant=variant, manipulations=manipulations)
