"""All clips of a dataset with their labels: what scores from elsewhere are held against.

Of prepared data, or of a raw download that is only listed and not decoded.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dfbench.data.catalog import load_builder
from dfbench.data.keys import clip_key, person_key
from dfbench.data.prepared import CLASS_NAMES, Prepared, clips_sha256
from dfbench.data.spec import PATH_DATASETS, Spec
from dfbench.errors import UserError
from dfbench.faces.clip import SPLITS, Clip, Split
from dfbench.paths import slug
from dfbench.results.card import Counts, DatasetFingerprint


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A clip of a dataset."""

    dataset: str
    video: str  # its key: `celebdf/Celeb-real/id0_0000`
    split: Split
    label: int  # 1 = fake
    manipulation: str
    identity: str = ""  # who is seen, as audits name people; empty: not known
    path: str = ""  # below the raw folder; empty: not known
    kept: bool = True  # its manipulation is one that was asked for

    @property
    def key(self) -> str:
        """What names the clip among those of all datasets."""
        return clip_key(self.dataset, self.video)


@dataclass(frozen=True, kw_only=True)
class Roster:
    """The clips of the datasets of a spec, all splits and manipulations."""

    clips: tuple[Listed, ...]
    datasets: tuple[DatasetFingerprint, ...]

    def of(self, split: Split) -> list[Listed]:
        """Return the clips of a split that were asked for."""
        return [clip for clip in self.clips if clip.split == split and clip.kept]


def prepared_roster(datasets: Sequence[Prepared]) -> Roster:
    """Return the clips of prepared datasets, those without a crop too."""
    return Roster(
        clips=tuple(clip for dataset in datasets for clip in _prepared(dataset)),
        datasets=tuple(dataset.fingerprint() for dataset in datasets),
    )


def _prepared(dataset: Prepared) -> Iterable[Listed]:
    every = dataclasses.replace(dataset, manipulations=())
    for split in SPLITS:
        if dataset.manipulations:
            dataset.frames(split)  # refuses a manipulation that the dataset does not have
        names = ("video", "label", "manipulation", "identity")
        rows = every.frames(split).group_by(names, use_threads=False).aggregate([]).to_pylist()
        rows += [
            {"video": m.video, "label": m.label, "manipulation": m.manipulation}
            for m in every.missed(split)
        ]
        for row in rows:
            kept = _kept(row["label"], row["manipulation"], dataset.manipulations)
            row["identity"] = person_key(dataset.name, row.get("identity", ""))
            yield Listed(dataset=dataset.name, split=split, kept=kept, **row)


def raw_roster(spec: Spec, raw: Path) -> Roster:
    """Return the clips of a raw download, without decoding any.

    Raises:
      UserError: the dataset has no download, or this is not it; or it lacks a manipulation.
    """
    cls = load_builder(spec.name)
    if cls.raw_key("default"):
        raise UserError(f"{spec.text}: this dataset is rendered, not downloaded; leave out --raw")
    variant = cls.variant_of(spec)
    folder = cls.raw_dir(spec, raw, "default", raw) or raw
    index = cls.index(folder, variant)
    clips = (*index.clips, *index.absent)
    if spec.path is not None:
        variant = slug(folder.resolve().name)
    name = f"{spec.name}:{variant}" if spec.name in PATH_DATASETS else spec.name
    known = {clip.manipulation for clip in clips if clip.label}
    if missing := set(spec.manipulations) - known:
        raise UserError(
            f"{spec.text}: there is no manipulation '{min(missing)}'; there are "
            f"{', '.join(sorted(known))}"
        )
    return Roster(
        clips=tuple(_raw(clip, name, folder, spec.manipulations) for clip in clips),
        datasets=(
            DatasetFingerprint(
                name=name,
                version=str(cls.VERSION),
                variant=variant,
                recipe={},  # no face was cropped
                detector_note="",
                clips_sha256=clips_sha256(clips),
                counts=_counts(clips),
            ),
        ),
    )


def _raw(clip: Clip, dataset: str, raw: Path, manipulations: tuple[str, ...]) -> Listed:
    return Listed(
        dataset=dataset,
        video=clip.video,
        split=clip.split,
        label=clip.label,
        manipulation=clip.manipulation,
        identity=person_key(dataset, clip.identity),
        path=clip.path.relative_to(raw).as_posix(),
        kept=_kept(clip.label, clip.manipulation, manipulations),
    )


def _kept(label: int, manipulation: str, wanted: Sequence[str]) -> bool:
    return label == 0 or not wanted or manipulation in wanted


def _counts(clips: Iterable[Clip]) -> dict[str, Counts]:
    keys = Counter(f"{c.split}/{CLASS_NAMES[c.label]}/{c.manipulation}" for c in clips)
    return {
        key: Counts(clips=n, clips_with_crops=0, frames_wanted=0, frames=0)
        for key, n in sorted(keys.items())
    }
