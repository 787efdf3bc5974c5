"""What extraction made of the clips, on its way into records, tables and counts."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dfbench.data.prepared import CLASS_NAMES, Missed
from dfbench.data.raw import NOT_THERE
from dfbench.faces.clip import SPLITS, Clip, ClipResult, Crop, Split
from dfbench.faces.extract import read_shard
from dfbench.results.card import Counts


@dataclass(frozen=True, kw_only=True)
class Pack:
    """A clip, or those of its frames that are in one split, and what extraction made of it."""

    clip: Clip
    result: ClipResult  # its crops are without their images, which are in the shard
    shard: Path | None = None  # None: of a clip that the download lacks


def not_there(clip: Clip) -> ClipResult:
    """Return the result of a clip that the download lacks."""
    return ClipResult(video=clip.video, wanted=0, crops=(), reason=NOT_THERE)


def read_packs(clips: Sequence[Clip], shards: Sequence[Path]) -> tuple[list[Pack], str]:
    """Read the shards of clips; return them without the images, and the SHA-256 of all crops.

    The images may not fit in memory together.
    """
    digest, packs = hashlib.sha256(), []
    for clip, shard in zip(clips, shards, strict=True):
        result = read_shard(shard)
        for crop in result.crops:
            digest.update(f"{result.video}#{crop.frame}:{len(crop.image)}:".encode() + crop.image)
            digest.update(crop.before)
        light = tuple(dataclasses.replace(c, image=b"", before=b"") for c in result.crops)
        result = dataclasses.replace(result, crops=light)
        packs.append(Pack(clip=clip, result=result, shard=shard))
    return packs, digest.hexdigest()


def crops_of(pack: Pack) -> Iterator[Crop]:
    """Yield the crops of a pack with their images."""
    if pack.shard is None:
        return
    frames = {crop.frame for crop in pack.result.crops}
    yield from (crop for crop in read_shard(pack.shard).crops if crop.frame in frames)


def split_crops(packs: Sequence[Pack], shares: tuple[float, float, float]) -> list[Pack]:
    """Draw each frame into a split, whatever the split of its clip: a clip may be in all three.

    The draw is a hash of the clip's name and the frame's number, so it is the same everywhere. A
    clip without a crop is drawn as a whole.
    """
    drawn: list[Pack] = []
    for pack in packs:
        video, result = pack.clip.video, pack.result
        parts: dict[Split, tuple[list[Crop], list[tuple[int, str]]]] = {}
        for crop in result.crops:
            parts.setdefault(_draw(f"{video}#{crop.frame}", shares), ([], []))[0].append(crop)
        if not parts:
            clip = dataclasses.replace(pack.clip, split=_draw(video, shares))
            drawn.append(dataclasses.replace(pack, clip=clip))
            continue
        for frame, reason in result.misses:
            split = _draw(f"{video}#{frame}", shares)
            there = parts.get(split) or next(iter(parts.values()))
            there[1].append((frame, reason))
        for split in SPLITS:
            if split in parts:
                crops, misses = parts[split]
                part = dataclasses.replace(
                    result,
                    wanted=len(crops) + len(misses),
                    crops=tuple(crops),
                    misses=tuple(misses),
                )
                clip = dataclasses.replace(pack.clip, split=split)
                drawn.append(dataclasses.replace(pack, clip=clip, result=part))
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
            reason=pack.result.reason,
        )
        for pack in packs
        if not pack.result.crops
    )


def count_packs(packs: Sequence[Pack]) -> dict[str, Counts]:
    """Count clips and frames by split, class and manipulation: `train/fake/Deepfakes`."""
    counts: dict[str, Counts] = {}
    none = Counts(clips=0, clips_with_crops=0, frames_wanted=0, frames=0)
    for pack in packs:
        old = counts.get(_key(pack.clip), none)
        counts[_key(pack.clip)] = Counts(
            clips=old.clips + 1,
            clips_with_crops=old.clips_with_crops + bool(pack.result.crops),
            frames_wanted=old.frames_wanted + pack.result.wanted,
            frames=old.frames + len(pack.result.crops),
        )
    return dict(sorted(counts.items()))


def count_misses(packs: Sequence[Pack]) -> dict[str, dict[str, int]]:
    """Count why frames of clips that were decoded gave no crop, by the keys of `count_packs`."""
    misses: dict[str, Counter[str]] = defaultdict(Counter)
    for pack in packs:
        misses[_key(pack.clip)].update(reason for _, reason in pack.result.misses)
    return {key: dict(sorted(found.items())) for key, found in sorted(misses.items()) if found}


def _key(clip: Clip) -> str:
    return f"{clip.split}/{CLASS_NAMES[clip.label]}/{clip.manipulation}"


def frame_rows(packs: Sequence[Pack]) -> dict[str, list[object]]:
    """Return the columns of the frame table, in the order in which the builder writes records."""
    rows: dict[str, list[object]] = defaultdict(list)
    for split in SPLITS:
        position = 0
        for pack in packs:
            if pack.clip.split == split:
                for crop in pack.result.crops:
                    for name, value in _row(pack.clip, crop, position).items():
                        rows[name].append(value)
                    position += 1
    return rows


def _row(clip: Clip, crop: Crop, position: int) -> dict[str, object]:
    return {
        "split": clip.split,
        "position": position,
        "video": clip.video,
        "frame": crop.frame,
        "time_s": crop.time_s,
        "label": clip.label,
        "manipulation": clip.manipulation,
        "identity": clip.identity,
        "source_identity": clip.source_identity,
        "original": clip.original,
        "footage": clip.footage,
        "content": crop.content,
        "phash": crop.phash,
        "side": crop.box[2] - crop.box[0],
    }
