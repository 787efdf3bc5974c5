"""Keys by which clips and people of several datasets are told apart."""

from __future__ import annotations

from dfbench.data.spec import PATH_DATASETS


def clip_key(dataset: str, video: str) -> str:
    """Return a clip's key; of a person's own folder with the folder's name."""
    kind = video.partition("/")[0]
    return dataset + video.removeprefix(kind) if kind in PATH_DATASETS else video


def person_key(dataset: str, person: str) -> str:
    """Return who is seen, by dataset unless the name says who else shows that person."""
    return person if "/" in person or not person else f"{dataset}/{person}"
