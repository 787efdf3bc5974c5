"""A card's data against the prepared data of this machine, where they are there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from dfbench.data.audit import find_overlap
from dfbench.data.clips import clip_table
from dfbench.data.prepared import Prepared, is_finished, load_prepared
from dfbench.data.roster import prepared_roster
from dfbench.errors import UserError
from dfbench.eval.table import ScoreTable
from dfbench.eval.videos import video_scores
from dfbench.results.card import DatasetFingerprint, ResultCard
from dfbench.results.compare import Difference, differences
from dfbench.workflow.leaks import SPLIT, audit_of
from dfbench.workflow.record import SEEN, read_seen
from dfbench.workflow.verify_data import asked

SHOWN = 3  # values of a kind


def data_here(
    card: ResultCard, table: ScoreTable, data_dir: Path, run: Path | None
) -> tuple[list[Difference], list[str]]:
    """Return differences and notes.

    Of the same clips, the labels, manipulations and people in the scores must be those of the
    dataset; of the same crops the whole fingerprint, and the audit against what a run was trained
    on. That crops differ is no fault of the card: other versions and processors cut others.
    """
    found: list[Difference] = []
    notes: list[str] = []
    exact: list[Prepared] = []
    for number, data in enumerate(card.datasets.eval):
        field = f"datasets.eval[{number}]"
        every = list(_prepared(data_dir, data, asked(card.cell.eval, number) or ()))
        same = [p for p in every if p.manifest.crops_sha256 == data.crops_sha256]
        if same:
            # Two recipes may cut the same crops: one frame of an image, however many are wanted.
            here = next((p for p in same if p.fingerprint() == data), same[0])
            exact.append(here)
            said, own = msgspec.to_builtins(data), msgspec.to_builtins(here.fingerprint())
            found += differences(said, own, field, "these crops on this machine have")
            found += _roster_differences(here, table)
            continue
        like = [p for p in every if _names(p.fingerprint()) == _names(data)]
        of_clips = [p for p in like if p.manifest.clips_sha256 == data.clips_sha256]
        if of_clips:
            found += _clip_differences(data, of_clips[0], field)
            found += _roster_differences(of_clips[0], table)
        if like and not of_clips:
            notes.append(f"{field}: {data.name} is prepared here from other clips")
        elif any(p.fingerprint().recipe == data.recipe for p in of_clips):
            notes.append(f"{field}: {data.name} has other crops on this machine")
    if run is not None and (run / SEEN).is_file() and 0 < len(exact) == len(card.datasets.eval):
        try:
            found += _audit_differences(card, run, exact)
        except UserError as error:
            notes.append(f"the audit cannot be made again: {error}")
    return found, notes


def _audit_differences(
    card: ResultCard, run: Path, datasets: Sequence[Prepared]
) -> Iterator[Difference]:
    overlap = find_overlap(read_seen(run), clip_table(datasets, (SPLIT,)))
    said, own = msgspec.to_builtins(card.audit), msgspec.to_builtins(audit_of(overlap))
    yield from differences(said, own, "audit", f"{SEEN} of the run and the data here give")


def _names(data: DatasetFingerprint) -> tuple[str, str, str]:
    return data.name, data.version, data.variant


def _prepared(
    data_dir: Path, data: DatasetFingerprint, manipulations: tuple[str, ...]
) -> Iterator[Prepared]:
    """Yield what is prepared of a dataset; the names in a card lead to no other folder."""
    root = data_dir / "tfds"
    names = {folder.name for folder in root.iterdir()} if root.is_dir() else set()
    name = data.name.partition(":")[0]
    if name not in names:
        return
    for folder in sorted((root / name).glob("*/*")):
        if is_finished(folder):
            try:
                prepared = load_prepared(folder, manipulations)
                prepared.frames(SPLIT)
            except UserError:  # of another version of dfbench, or without these manipulations
                continue
            yield prepared


def _clip_differences(data: DatasetFingerprint, here: Prepared, field: str) -> Iterator[Difference]:
    said = {key: counts.clips for key, counts in data.counts.items()}
    own = {key: counts.clips for key, counts in here.manifest.counts.items()}
    yield from differences(said, own, f"{field}.counts.clips", "these clips on this machine have")


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
    wrong: list[tuple[str, object, object]] = []
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
