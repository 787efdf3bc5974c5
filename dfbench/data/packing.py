"""What extraction made of the clips, on its way into records, tables and counts."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from dfbench.data.prepared import CLASS_NAMES, FRAME_COLUMNS, Missed
from dfbench.data.raw import NOT_THERE
from dfbench.faces.clip import SPLITS, Clip, ClipResult, Crop, Split
from dfbench.faces.extract import read_shard
from dfbench.results.card import Counts

# Columns of the frame table that come from a crop; the others come from its clip.
CROP_COLUMNS = pa.schema(
    [FRAME_COLUMNS.field(name) for name in ("frame", "time_s", "content", "phash", "side")]
)
_CHUNK = 8192  # rows that wait as Python objects
FILE_BYTES = 512 * 2**20  # of images in a file of records, about


@dataclass(frozen=True, kw_only=True)
class Pack:
    """A clip, or those of its frames that are in one split, and what extraction made of it.

    There may be 100,000, of millions of crops, so a pack only says where its crops are.
    """

    clip: Clip
    wanted: int  # frames asked for
    misses: tuple[tuple[int, str], ...] = ()  # frame index -> why it gave no crop
    reason: str = ""  # why there is no crop at all
    shard: Path | None = None  # None: of a clip that the download lacks
    crops: Sequence[int] = ()  # places of its crops in the shard
    row: int = 0  # of the shard's first crop in the table of `read_packs`
    size: int = 0  # bytes of its images, about


def not_there(clip: Clip) -> Pack:
    """Return the pack of a clip that the download lacks."""
    return Pack(clip=clip, wanted=0, reason=NOT_THERE)


def read_packs(clips: Sequence[Clip], shards: Sequence[Path]) -> tuple[list[Pack], pa.Table, str]:
    """Read the shards of clips, one after the other: their images do not fit in memory together.

    Returns:
      packs, what is known of each crop (`CROP_COLUMNS`), and the SHA-256 of all crops.
    """
    digest, packs, rows = hashlib.sha256(), list[Pack](), _Rows()
    for clip, shard in zip(clips, shards, strict=True):
        result = read_shard(shard)
        for crop in result.crops:
            digest.update(f"{result.video}#{crop.frame}:{len(crop.image)}:".encode() + crop.image)
            digest.update(crop.before)
        packs.append(
            Pack(
                clip=clip,
                wanted=result.wanted,
                misses=result.misses,
                reason=result.reason,
                shard=shard,
                crops=range(len(result.crops)),
                row=rows.count,
                size=sum(len(crop.image) + len(crop.before) for crop in result.crops),
            )
        )
        rows.add(result)
    return packs, rows.table(), digest.hexdigest()


class _Rows:
    """Collects rows in columns: as Python objects, those of millions of crops take gigabytes."""

    def __init__(self) -> None:
        self.count = 0
        self._waiting: list[tuple[object, ...]] = []
        self._chunks = [CROP_COLUMNS.empty_table()]

    def add(self, result: ClipResult) -> None:
        for crop in result.crops:
            side = crop.box[2] - crop.box[0]
            self._waiting.append((crop.frame, crop.time_s, crop.content, crop.phash, side))
        self.count += len(result.crops)
        if len(self._waiting) >= _CHUNK:
            self._flush()

    def _flush(self) -> None:
        columns = list(zip(*self._waiting, strict=True))
        arrays = [pa.array(c, f.type) for c, f in zip(columns, CROP_COLUMNS, strict=True)]
        self._chunks.append(pa.Table.from_arrays(arrays, schema=CROP_COLUMNS))
        self._waiting.clear()

    def table(self) -> pa.Table:
        if self._waiting:
            self._flush()
        return pa.concat_tables(self._chunks)


def crops_of(pack: Pack) -> Iterator[Crop]:
    """Yield the crops of a pack with their images."""
    if pack.shard is not None:
        crops = read_shard(pack.shard).crops
        yield from (crops[place] for place in pack.crops)


def files_of(packs: Sequence[Pack]) -> list[list[Pack]]:
    """Divide the packs of a split into those of its files, in order."""
    total = sum(pack.size for pack in packs)
    files: dict[int, list[Pack]] = defaultdict(list)
    count, before = max(1, total // FILE_BYTES), 0
    for pack in packs:
        files[before * count // max(total, 1)].append(pack)
        before += pack.size
    return list(files.values())


def split_crops(
    packs: Sequence[Pack],
    frames: Int[np.ndarray, " crops"],
    shares: tuple[float, float, float],
) -> list[Pack]:
    """Draw each frame into a split, whatever the split of its clip: a clip may be in all three.

    The draw is a hash of the clip's name and the frame's number, so it is the same everywhere. A
    clip without a crop is drawn as a whole.

    Args:
      packs: of `read_packs`.
      frames: column `frame` of its table.
      shares: of train, val and test.
    """
    drawn: list[Pack] = []
    for pack in packs:
        video = pack.clip.video
        parts: dict[Split, tuple[list[int], list[tuple[int, str]]]] = {}
        for place in pack.crops:
            split = _draw(f"{video}#{frames[pack.row + place]}", shares)
            parts.setdefault(split, ([], []))[0].append(place)
        if not parts:
            clip = dataclasses.replace(pack.clip, split=_draw(video, shares))
            drawn.append(dataclasses.replace(pack, clip=clip))
            continue
        for frame, reason in pack.misses:
            split = _draw(f"{video}#{frame}", shares)
            there = parts.get(split) or next(iter(parts.values()))
            there[1].append((frame, reason))
        for split in SPLITS:
            if split in parts:
                crops, misses = parts[split]
                part = dataclasses.replace(
                    pack,
                    clip=dataclasses.replace(pack.clip, split=split),
                    wanted=len(crops) + len(misses),
                    misses=tuple(misses),
                    crops=tuple(crops),
                    size=pack.size * len(crops) // len(pack.crops),
                )
                drawn.append(part)
    return drawn


def _draw(name: str, shares: tuple[float, float, float]) -> Split:
    point = int.from_bytes(hashlib.sha256(name.encode()).digest()[:6]) / 2**48
    if point < shares[0]:
        return "train"
    return "val" if point < shares[0] + shares[1] else "test"


def missed_clips(packs: Sequence[Pack]) -> tuple[Missed, ...]:
    """Return the clips that gave no crop."""
    return tuple(
        Missed(
            video=pack.clip.video,
            split=pack.clip.split,
            label=pack.clip.label,
            manipulation=pack.clip.manipulation,
            reason=pack.reason,
        )
        for pack in packs
        if not pack.crops
    )


def count_packs(packs: Sequence[Pack]) -> dict[str, Counts]:
    """Count clips and frames by split, class and manipulation: `train/fake/Deepfakes`."""
    counts: dict[str, Counts] = {}
    none = Counts(clips=0, clips_with_crops=0, frames_wanted=0, frames=0)
    for pack in packs:
        old = counts.get(_key(pack.clip), none)
        counts[_key(pack.clip)] = Counts(
            clips=old.clips + 1,
            clips_with_crops=old.clips_with_crops + bool(pack.crops),
            frames_wanted=old.frames_wanted + pack.wanted,
            frames=old.frames + len(pack.crops),
        )
    return dict(sorted(counts.items()))


def count_misses(packs: Sequence[Pack]) -> dict[str, dict[str, int]]:
    """Count why frames of clips that were decoded gave no crop, by the keys of `count_packs`."""
    misses: dict[str, Counter[str]] = defaultdict(Counter)
    for pack in packs:
        misses[_key(pack.clip)].update(reason for _, reason in pack.misses)
    return {key: dict(sorted(found.items())) for key, found in sorted(misses.items()) if found}


def _key(clip: Clip) -> str:
    return f"{clip.split}/{CLASS_NAMES[clip.label]}/{clip.manipulation}"


def frame_table(packs: Sequence[Pack], crops: pa.Table) -> pa.Table:
    """Return the frame table, in the order in which the builder writes records.

    Args:
      packs: of `read_packs`, or drawn from them.
      crops: its table.
    """
    ordered = [p for split in SPLITS for p in packs if p.clip.split == split and p.crops]
    counts = np.array([len(pack.crops) for pack in ordered], np.int64)
    of_clip = pa.array(np.repeat(np.arange(len(ordered)), counts))
    columns = {}
    for field in FRAME_COLUMNS:
        if field.name not in (*CROP_COLUMNS.names, "position"):
            values = [getattr(pack.clip, field.name) for pack in ordered]
            columns[field.name] = pa.array(values, field.type).take(of_clip)
    rows = np.concatenate(
        [np.zeros(0, np.int64), *(pack.row + np.asarray(pack.crops) for pack in ordered)]
    )
    taken = crops.take(pa.array(rows))
    columns |= {name: taken[name] for name in CROP_COLUMNS.names}
    split = np.repeat([SPLITS.index(pack.clip.split) for pack in ordered], counts)
    starts = np.searchsorted(split, np.arange(len(SPLITS)))
    columns["position"] = pa.array(np.arange(len(rows)) - starts[split], pa.int64())
    return pa.table({name: columns[name] for name in FRAME_COLUMNS.names}, schema=FRAME_COLUMNS)
