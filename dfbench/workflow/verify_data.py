"""A card's data against its scores, and against the prepared data of this machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec

from dfbench.data.prepared import CLASS_NAMES
from dfbench.data.spec import parse_spec
from dfbench.errors import UserError
from dfbench.eval.doubts import coverage_of
from dfbench.eval.table import ScoreTable
from dfbench.eval.videos import VideoScores, video_scores
from dfbench.results.card import Counts, ResultCard
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
        kept = asked(card.cell.eval, number)
        for key in sorted({k for k in data.counts if k.startswith(f"{SPLIT}/")} | found.keys()):
            said = data.counts.get(key)
            if key not in found and kept and key.rpartition("/")[2] not in kept:
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


def asked(spec: str, number: int) -> tuple[str, ...] | None:
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
        kept = asked(card.cell.eval, number)
        for key, counts in data.counts.items():
            manipulation = key.removeprefix(f"{SPLIT}/{name}/")
            if manipulation != key and (name == "real" or not kept or manipulation in kept):
                total += counts.frames_wanted
    return total
