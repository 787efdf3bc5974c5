"""What is prepared of a dataset already, on this machine and in object storage."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from dfbench.data.builder import FaceBuilder
from dfbench.data.prepared import Prepared, is_finished, load_prepared
from dfbench.data.remote import prepared_there
from dfbench.data.spec import Spec
from dfbench.faces.clip import CropRecipe, recipe_values
from dfbench.storage.mirror import Mirror


def dataset_root(data_dir: Path, spec: Spec) -> Path:
    """Return the folder of all that is prepared of a dataset."""
    return data_dir / "tfds" / spec.name


def latest(
    cls: type[FaceBuilder],
    spec: Spec,
    recipe: CropRecipe,
    data_dir: Path,
    mirror: Mirror | None,
) -> Path | None:
    """Return the folder of what was prepared last of a downloaded dataset by this recipe."""
    variant = cls.variant_of(spec)
    found = [
        (prepared.manifest.created, prepared.folder)
        for prepared in _all_prepared(cls, spec, data_dir, mirror)
        if prepared.manifest.variant == variant
        and recipe_values(prepared.manifest.recipe) == recipe_values(recipe)
    ]
    return max(found, default=(None, None))[1]


def _all_prepared(
    cls: type[FaceBuilder], spec: Spec, data_dir: Path, mirror: Mirror | None
) -> list[Prepared]:
    """Return what is prepared of a dataset, here or in object storage."""
    root, pattern = dataset_root(data_dir, spec), f"*/{cls.VERSION}"
    here = [folder for folder in sorted(root.glob(pattern)) if is_finished(folder)]
    there = prepared_there(mirror, root, pattern) if mirror else []
    return [
        *(load_prepared(folder) for folder in here),
        *(prepared for prepared in there if prepared.folder not in here),
    ]


def any_prepared(cls: type[FaceBuilder], spec: Spec, data_dir: Path, mirror: Mirror | None) -> bool:
    """Tell whether a dataset is prepared, by whatever recipe."""
    return bool(_all_prepared(cls, spec, data_dir, mirror))


def not_prepared_text(
    cls: type[FaceBuilder], spec: Spec, data_dir: Path, mirror: Mirror | None
) -> str:
    """Say what is missing, and what there is by other recipes."""
    variant = cls.variant_of(spec)
    others = [
        recipe_differences(cls.RECIPE, prepared.manifest.recipe)
        for prepared in _all_prepared(cls, spec, data_dir, mirror)
        if prepared.manifest.variant == variant
    ]
    text = f"{spec.text} is not prepared"
    if others:
        text += f" with these settings (it is with {' and '.join(dict.fromkeys(others))})"
    return (
        f"{text}: `dfbench prepare {spec.name}{'/' + variant if variant else ''} --raw DIR` does "
        f"that, with its raw download; `dfbench datasets {spec.name}` says how to get it"
    )


def recipe_differences(own: CropRecipe, other: CropRecipe) -> str:
    """Say a recipe as the settings that lead to it."""
    names = {"size": "crop_size"}
    changed = {
        names.get(name, name): str(value).lower() if isinstance(value, bool) else value
        for name, value in dataclasses.asdict(other).items()
        if getattr(own, name) != value
    }
    given = " ".join(f"--set data.{name}={value}" for name, value in changed.items())
    return given or "the default settings"
