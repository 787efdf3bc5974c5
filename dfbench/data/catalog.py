"""The datasets there are: found by folder, described by their README, loaded by path.

A dataset is a folder `<name>/` with `<name>_dataset_builder.py`, README.md, CITATIONS.bib and
TAGS.txt (the layout of TensorFlow Datasets). They lie in `datasets/` of the checkout or in the
wheel's copy; other packages add theirs by the entry-point group `dfbench.datasets`, whose entries
name a package that holds such files.
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from dfbench.errors import UserError, nearest

if TYPE_CHECKING:
    from dfbench.data.builder import FaceBuilder

_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, kw_only=True)
class DatasetEntry:
    """A dataset's name, folder and first paragraph."""

    name: str
    folder: Path
    summary: str


def builtin_dir() -> Path:
    """Return the folder of the project's own builders: of the checkout, else of the wheel."""
    checkout = _PACKAGE.parent / "datasets"
    return checkout if checkout.is_dir() else _PACKAGE / "_datasets"


@cache
def _folders() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder in sorted(builtin_dir().iterdir()):
        if (folder / f"{folder.name}_dataset_builder.py").is_file():
            found[folder.name] = folder
    for entry in entry_points(group="dfbench.datasets"):
        spec = importlib.util.find_spec(entry.value)
        if spec is None or not spec.submodule_search_locations:
            raise UserError(
                f"entry point dfbench.datasets:{entry.name}: no package '{entry.value}'"
            )
        if entry.name in found:
            raise UserError(
                f"two datasets are named '{entry.name}': {found[entry.name]}, {spec.origin}"
            )
        found[entry.name] = Path(next(iter(spec.submodule_search_locations)))
    return found


def dataset_names() -> tuple[str, ...]:
    """Return the names of all datasets, sorted."""
    return tuple(sorted(_folders()))


def dataset_entry(name: str) -> DatasetEntry:
    """Describe one dataset from its README, without importing its builder.

    Raises:
      UserError: no such dataset.
    """
    if name not in _folders():
        hint = nearest(name, _folders()) or "; `dfbench datasets` lists the names"
        raise UserError(f"unknown dataset '{name}'{hint}")
    folder = _folders()[name]
    return DatasetEntry(name=name, folder=folder, summary=_first_paragraph(folder / "README.md"))


def _first_paragraph(readme: Path) -> str:
    if not readme.is_file():
        return ""
    blocks = readme.read_text(encoding="utf-8").split("\n\n")
    text = next((b for b in blocks if b.strip() and not b.lstrip().startswith("#")), "")
    return " ".join(text.split())


def load_builder(name: str) -> type[FaceBuilder]:
    """Import a dataset's builder class by the path of its file.

    Raises:
      UserError: no such dataset.
    """
    folder = dataset_entry(name).folder
    module_name = (
        f"{name}_dataset_builder"  # TFDS takes the name from it; a dot would mean a package
    )
    module = sys.modules.get(module_name)
    if module is None:
        spec = importlib.util.spec_from_file_location(
            module_name, folder / f"{name}_dataset_builder.py"
        )
        if spec is None or spec.loader is None:
            raise UserError(f"cannot load {folder / f'{name}_dataset_builder.py'}")
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        spec.loader.exec_module(module)
    builder: type[FaceBuilder] = module.Builder
    builder.pkg_dir_path = folder
    return builder
