"""A card's data against its scores, and against the prepared data of this machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

from dfbench.data.prepared import CLASS_NAMES, Prepared, is_finished, load_prepared
from dfbench.data.roster import prepared_roster
from dfbench.data.spec import parse_spec
from dfbench.errors import UserError
from dfbench.eval.doubts import coverage_of
from dfbench.eval.table import ScoreTable
from dfbench.eval.videos import VideoScores, video_scores
from dfbench.results.card import Counts, DatasetFingerprint, ResultCard
from dfbench.results.compare import ABSENT, Difference, differences
from dfbench.workflow.leaks import SPLIT

SHOWN = 3  # videos of a kind


def data_differences(card: ResultCard, table: ScoreTable) -> Iterator[Difference]:
    """Compare coverage and fingerprints with the videos and frames of the scores."""
    yield from _coverage_differences(card, table)
    if (splits := table.split.used()) != [SPLIT]:
        yield Difference(field="split", card=[SPLIT], found=splits, by="the scores are of")
    names = [data.name for data in card.datasets.eval]
    if (used := table.dataset.used()) != sorted(names):
        yield Difference(
            field="datasets.eval", card=sorted(names), found=used, by="the scores are of"
        )
    videos = video_scores(table)
    for number, data in enumerate(card.datasets.eval):
        found = _counts(videos, data.name)
        field = f"datasets.eval[{number}].counts"
        kept = _asked(card.cell.eval, number)
        for key in sorted({k for k in data.counts if k.startswith(f"{SPLIT}/")} | found.keys()):
            said = data.counts.get(key)
            if key not in found and kept and key.split("/", 2)[2] not in kept:
                continue  # was not asked for
            one = ABSENT if said is None else _comparable(said, card)
            other = _comparable(found[key], card) if key in found else ABSENT
            yield from differences(one, other, f"{field}.{key}", "the scores give")


def _comparable(counts: Counts, card: ResultCard) -> dict[str, int]:
    """Keep what the scores know: of a detector from elsewhere not its frames."""
    names = ("clips", "clips_with_crops", "frames") if card.origin == "run" else ("clips",)
    return {name: getattr(counts, name) for name in names}


def _counts(videos: VideoScores, dataset: str) -> dict[str, Counts]:
    """Count the videos and scored frames of a dataset, by the keys that fingerprints have."""
    clips: Counter[str] = Counter()
    scored: Counter[str] = Counter()
    frames: Counter[str] = Counter()
    here = videos.dataset.equal_to(dataset)
    rows = (videos.label[here], videos.manipulation[here].tolist(), videos.frames[here])
    for label, manipulation, number in zip(*rows, strict=True):
        key = f"{SPLIT}/{CLASS_NAMES[label]}/{manipulation}"
        clips[key] += 1
        scored[key] += int(number > 0)
        frames[key] += int(number)
    return {
        key: Counts(clips=n, clips_with_crops=scored[key], frames_wanted=0, frames=frames[key])
        for key, n in clips.items()
    }


def _asked(spec: str, number: int) -> tuple[str, ...] | None:
    """Return the fakes that a spec keeps of one of its datasets: none, all; None: not known."""
    try:
        return parse_spec(spec)[number].manipulations
    except (UserError, IndexError):
        return None


def _coverage_differences(card: ResultCard, table: ScoreTable) -> Iterator[Difference]:
    found = msgspec.to_builtins(coverage_of(table))
    said = msgspec.to_builtins(card.coverage)
    if card.origin == "run":  # frames that were wanted, and reasons, are not in the scores
        for name, one in said.items():
            wanted, reasons = one.pop("frames_wanted"), one.pop("reasons")
            if name in found:
                found[name] = {key: found[name][key] for key in one}
            missed = one["clips"] - one["clips_with_crops"]
            by = "its clips without crops are"
            yield from differences(sum(reasons.values()), missed, f"coverage.{name}.reasons", by)
            by = "its datasets say"
            yield from differences(
                wanted, _wanted(card, name), f"coverage.{name}.frames_wanted", by
            )
    yield from differences(said, found, "coverage", "the scores give")


def _wanted(card: ResultCard, name: str) -> int:
    """Return the frames of a class that the fingerprints' counts want of what was asked for."""
    total = 0
    for number, data in enumerate(card.datasets.eval):
        kept = _asked(card.cell.eval, number)
        for key, counts in data.counts.items():
            split, kind, manipulation = key.split("/", 2)
            if (split, kind) == (SPLIT, name) and (
                name == "real" or not kept or manipulation in kept
            ):
                total += counts.frames_wanted
    return total


def data_here(
    card: ResultCard, table: ScoreTable, data_dir: Path
) -> tuple[list[Difference], list[str]]:
    """Compare with what is prepared on this machine.

    Of the same clips, the labels, manipulations and people in the scores must be those of the
    dataset. That crops differ is no fault of the card: other versions and processors cut others.
    """
    found: list[Difference] = []
    notes: list[str] = []
    for number, data in enumerate(card.datasets.eval):
        field = f"datasets.eval[{number}]"
        like = [p for p in _prepared(data_dir, data) if _names(p.fingerprint()) == _names(data)]
        same = [p for p in like if p.manifest.clips_sha256 == data.clips_sha256]
        if like and not same:
            notes.append(f"{field}: {data.name} is prepared here from other clips")
        if not same:
            continue
        clips = {key: counts.clips for key, counts in same[0].manifest.counts.items()}
        said = {key: counts.clips for key, counts in data.counts.items()}
        by = "of these clips the data on this machine say"
        found += differences(said, clips, f"{field}.counts.clips", by)
        found += _roster_differences(same[0], table)
        made_alike = [p for p in same if p.fingerprint().recipe == data.recipe]
        if made_alike and all(p.manifest.crops_sha256 != data.crops_sha256 for p in made_alike):
            notes.append(f"{field}: {data.name} has other crops on this machine")
    return found, notes


def _names(data: DatasetFingerprint) -> tuple[str, str, str]:
    return data.name, data.version, data.variant


def _prepared(data_dir: Path, data: DatasetFingerprint) -> Iterator[Prepared]:
    """Yield what is prepared of a dataset; the names in a card lead to no other folder."""
    root = data_dir / "tfds"
    names = {folder.name for folder in root.iterdir()} if root.is_dir() else set()
    name = data.name.partition(":")[0]
    if name not in names:
        return
    for folder in sorted((root / name).glob("*/*")):
        if is_finished(folder):
            try:
                yield load_prepared(folder)
            except UserError:  # of another version of dfbench
                continue


def _roster_differences(prepared: Prepared, table: ScoreTable) -> Iterator[Difference]:
    """Compare each video's label, manipulation and person with the dataset's own."""
    videos = video_scores(table)
    here = videos.dataset.equal_to(prepared.name)
    known = {clip.video: clip for clip in prepared_roster([prepared]).of(SPLIT)}
    people = [""] * int(here.sum())
    if videos.identity is not None:
        people = videos.identity[here].tolist()
    columns = (
        videos.video[here].tolist(),
        videos.label[here].tolist(),
        videos.manipulation[here].tolist(),
        people,
    )
    wrong = []
    for video, label, manipulation, person in zip(*columns, strict=True):
        clip = known.get(video)
        if clip is None:
            wrong.append((video, "a video", "no such video"))
            continue
        said = {"label": label, "manipulation": manipulation}
        own = {"label": clip.label, "manipulation": clip.manipulation}
        if person and clip.identity:
            said["identity"], own["identity"] = person, clip.identity
        wrong += [(f"{video}.{k}", said[k], own[k]) for k in said if said[k] != own[k]]
    if len(wrong) > SHOWN:
        wrong = [*wrong[:SHOWN], ("and more", f"{len(wrong) - SHOWN} values", "others")]
    for field, one, other in wrong:
        yield Difference(
            field=f"scores.{field}",
            card=one,
            found=other,
            by="the dataset says",
            says="the scores say",
        )
