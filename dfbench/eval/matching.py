"""Handed-in scores held against the clips of a dataset: a whole table of scores, or all faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int, Int64

from dfbench.data.names import ClipNames
from dfbench.data.roster import Listed
from dfbench.errors import UserError
from dfbench.eval.checks import DISAGREE
from dfbench.eval.submission import (
    SHOWN,
    Fault,
    Submission,
    SubmissionError,
    quoted,
    row_fault,
)
from dfbench.eval.table import UNDETECTED, ScoreTable, Text, dense_codes, sigmoid
from dfbench.faces.clip import Split

CLASSES = ("real", "fake")  # by label
LAST_FRAME = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What is allowed."""

    missing: Literal["error", "undetected"] = "error"  # videos without a row
    extra: Literal["error", "ignore"] = "error"  # rows of other clips of the dataset


@dataclass(frozen=True, eq=False)
class _Matching:
    """A file's rows, and the clips of the split that they should be of."""

    handed: Submission
    wanted: Sequence[Listed]
    split: Split
    rules: Rules
    clip: Int64[np.ndarray, " rows"]  # position in `wanted`; -1: of none of them
    other: Bool[np.ndarray, " rows"]  # of a clip of another split or manipulation
    frame: Int64[np.ndarray, " rows"]
    unclear: tuple[Fault, ...]  # names

    @property
    def counted(self) -> Bool[np.ndarray, " rows"]:
        """Rows that are not ignored."""
        return ~self.other if self.rules.extra == "ignore" else np.ones(len(self.other), bool)


def match(
    path: Path,
    handed: Submission,
    clips: Sequence[Listed],
    *,
    split: Split = "test",
    other_variants: Sequence[str] = (),
    rules: Rules | None = None,
) -> ScoreTable:
    """Return the table of a split: labels, manipulations and people as the dataset has them.

    Its rows are in the order of the clips and frames, whatever order they were handed in.

    Args:
      path: of the file, for messages.
      handed: what it holds.
      clips: of the dataset, all splits and manipulations.
      split: that is scored.
      other_variants: variants of the dataset that these clips are not of.
      rules: what is allowed.

    Raises:
      UserError: the dataset has no such split.
      SubmissionError: everything that is wrong.
    """
    if not any(clip.split == split and clip.kept for clip in clips):
        raise UserError(f"{path}: the dataset has no {split} split to compare with")
    names = ClipNames(clips, split, other_variants)
    rows = _find(handed, clips, names, split, rules or Rules())
    faults = [
        *handed.faults,
        *rows.unclear,
        *_frame_faults(rows),
        *_score_faults(rows),
        *_label_faults(rows),
        *_video_faults(rows),
    ]
    if faults:
        raise SubmissionError(path, faults)
    return _table(rows)


def _find(
    handed: Submission, clips: Sequence[Listed], names: ClipNames, split: Split, rules: Rules
) -> _Matching:
    """Find each row's clip; each name is looked up once."""
    known = [c for c in (handed.video, handed.dataset, handed.manipulation) if c is not None]
    code = dense_codes(*(column.codes for column in known))
    first = first_rows(code)
    video = handed.video[first].tolist()
    dataset, manipulation = (
        [""] * len(first) if column is None else column[first].tolist()
        for column in (handed.dataset, handed.manipulation)
    )
    wanted = [at for at, clip in enumerate(clips) if clip.split == split and clip.kept]
    position = {at: number for number, at in enumerate(wanted)}
    found = [names.find(*name) for name in zip(video, dataset, manipulation, strict=True)]
    nowhere = np.array([m.clip is None and not m.problem for m in found])[code]
    doubtful = np.array([bool(m.problem) for m in found])[code]
    clip = np.array([-1 if m.clip is None else position.get(m.clip, -1) for m in found])[code]
    other = np.array([m.clip is not None and m.clip not in position for m in found])[code]
    unclear = [
        *row_fault(
            nowhere,
            "{n} with a name that no video of the dataset has",
            lambda r: quoted(video[code[r]]) + names.nearest(video[code[r]]).replace(";", ","),
        ),
        *row_fault(
            doubtful,
            "{n} with a name that is not clear",
            lambda r: f"{quoted(video[code[r]])} {found[code[r]].problem}",
            advice="write its whole key, or add a column 'manipulation'",
        ),
    ]
    if rules.extra == "error":
        unclear += row_fault(
            other,
            f"{{n}} with a video that is not in the {split} split, or of another manipulation",
            lambda r: quoted(video[code[r]]),
            advice="take them out, or say --extra ignore",
        )
    frame = np.zeros(len(code)) if handed.frame is None else handed.frame
    whole = np.where(np.abs(frame) <= LAST_FRAME, frame, 0).astype(np.int64)  # NaN too
    return _Matching(
        handed, [clips[at] for at in wanted], split, rules, clip, other, whole, tuple(unclear)
    )


def first_rows(code: Int[np.ndarray, " rows"]) -> Int64[np.ndarray, " groups"]:
    """Return the first row of each of the groups 0 to n - 1."""
    first = np.full(int(code.max(initial=-1)) + 1, len(code), np.int64)
    np.minimum.at(first, code, np.arange(len(code)))
    return first


def _frame_faults(rows: _Matching) -> Iterator[Fault]:
    frame = rows.handed.frame
    if frame is None:
        return
    usable = rows.counted & ~rows.handed.unread
    empty = usable & np.isnan(frame)
    yield from row_fault(
        empty, "column 'frame': empty in {n}", lambda r: f"({quoted(rows.handed.video[r])})"
    )
    wrong = usable & ~empty & ((frame != rows.frame) | (frame < UNDETECTED))
    yield from row_fault(
        wrong,
        f"column 'frame': no whole number from 0 (or {UNDETECTED} for no face) in {{n}}",
        lambda r: f"{frame[r]:g}",
    )


def _score_faults(rows: _Matching) -> Iterator[Fault]:
    handed, usable = rows.handed, rows.counted & ~rows.handed.unread
    score, undetected = handed.score, rows.frame == UNDETECTED
    name = "p_fake" if handed.kind == "probability" else "logit"
    with np.errstate(over="ignore"):
        infinite = usable & np.isinf(score.astype(np.float32))
    yield from row_fault(infinite, "{n} with an infinite score", lambda r: f"{score[r]:g}")
    if handed.kind == "probability":
        yield from row_fault(
            usable & ~infinite & ((score < 0) | (score > 1)),
            "{n} with a probability outside [0, 1]",
            lambda r: f"{score[r]:g}",
            advice="logits stand in a column called 'logit'",
        )
    yield from row_fault(
        usable & np.isnan(score) & ~undetected,
        "{n} without a score (empty or NaN)",
        lambda r: f"({quoted(handed.video[r])})",
        advice=f"a video in which no face was found has one row, with frame {UNDETECTED}",
    )
    yield from row_fault(
        usable & ~np.isnan(score) & undetected,
        f"{{n}} with frame {UNDETECTED} (no face found) and a score all the same",
        lambda r: f"{score[r]:g}",
    )
    if handed.logit is not None:
        apart = np.abs(sigmoid(handed.logit.astype(np.float32)) - score) > DISAGREE
        logit = handed.logit
        yield from row_fault(
            usable & apart,
            f"{{n}} whose '{name}' is not the sigmoid of its 'logit'",
            lambda r: f"{score[r]:g}, {logit[r]:g}",
            advice="one of the two columns is enough",
        )


def _label_faults(rows: _Matching) -> Iterator[Fault]:
    label = rows.handed.label
    if label is None:
        return
    usable = rows.counted & ~rows.handed.unread
    wrong = usable & ~np.isin(label, (0, 1))
    yield from row_fault(
        wrong,
        "column 'label': neither 0 (real) nor 1 (fake) in {n}",
        lambda r: "empty" if np.isnan(label[r]) else f"{label[r]:g}",
        advice="the column may be left out: the dataset knows its labels",
    )
    known = usable & ~wrong & (rows.clip >= 0)
    truth = np.array([clip.label for clip in rows.wanted], np.int64)[rows.clip]
    differs = known & (label != truth)
    turned = bool(differs.any()) and bool(differs[known].all())
    yield from row_fault(
        differs,
        "column 'label': not what the dataset says in {n}",
        lambda r: (
            f"{label[r]:g}, but {quoted(rows.wanted[rows.clip[r]].key)} is "
            f"{CLASSES[truth[r]]} ({truth[r]})"
        ),
        advice="all are the other way round: 1 means fake, and scores are of fake"
        if turned
        else "",
    )


def _video_faults(rows: _Matching) -> Iterator[Fault]:
    """Yield what is wrong with a video's rows taken together."""
    handed, clip, frame = rows.handed, rows.clip, rows.frame
    there = np.flatnonzero(clip >= 0)
    key = clip[there] * (int(frame.max(initial=0)) + 2) + frame[there] + 1
    again = np.zeros(len(clip), bool)
    again[there] = True
    again[there[np.unique(key, return_index=True)[1]]] = False  # the first time is right
    if handed.frame is None:
        rule, advice = "{n} with a video that came before", "number its frames in a column 'frame'"
    else:
        rule, advice = "{n} with a frame that came before", ""
    yield from row_fault(
        again,
        rule,
        lambda r: (
            quoted(rows.wanted[clip[r]].key)
            + (f" frame {frame[r]}" if handed.frame is not None else "")
        ),
        advice=advice,
    )
    scored = np.zeros(len(rows.wanted) + 1, bool)  # the last: of none
    scored[clip[frame != UNDETECTED]] = True
    yield from row_fault(
        (clip >= 0) & (frame == UNDETECTED) & scored[clip],
        f"{{n}} with frame {UNDETECTED} (no face found) of a video that has scores",
        lambda r: quoted(rows.wanted[clip[r]].key),
    )
    scored[clip] = True
    absent = [one for one, seen in zip(rows.wanted, scored[:-1], strict=True) if not seen]
    if rows.rules.missing == "error" and absent:
        yield _missing(rows, absent)


def _missing(rows: _Matching, absent: Sequence[Listed]) -> Fault:
    counts = Counter(CLASSES[clip.label] for clip in absent)
    by_class = " and ".join(f"{counts[name]} {name}" for name in CLASSES if counts[name])
    advice = (
        f"where no face was found, add a row with frame {UNDETECTED} and an empty score, or say "
        "--missing undetected"
    )
    return Fault(
        rule=f"{len(absent):,} of the {len(rows.wanted):,} videos of the {rows.split} split have "
        f"no row ({by_class})",
        examples=tuple(quoted(clip.key) for clip in absent[:SHOWN]),
        count=len(absent),
        advice=advice if len(absent) < len(rows.wanted) else "is this the right dataset?",
    )


def _table(rows: _Matching) -> ScoreTable:
    """Put the rows into the order of the clips and frames, and videos without a row behind them."""
    handed = rows.handed
    there = np.flatnonzero(rows.clip >= 0)
    order = there[np.lexsort((rows.frame[there], rows.clip[there]))]
    absent = np.setdiff1d(np.arange(len(rows.wanted)), rows.clip[there])
    clip = np.r_[rows.clip[order], absent]

    def text(name: str) -> Text:
        column = Text.of([getattr(one, name) for one in rows.wanted])
        return Text(column.codes[clip], column.names)

    def scores(values: Float64[np.ndarray, " rows"] | None) -> Float32[np.ndarray, " rows"]:
        found = np.full(len(clip), np.nan, np.float32)
        if values is not None:
            found[: len(order)] = values[order]
        return found

    probability = handed.kind == "probability"
    logit = scores(handed.logit if probability else handed.score)
    return ScoreTable(
        dataset=text("dataset"),
        split=Text.constant(rows.split, len(clip)),
        manipulation=text("manipulation"),
        video=text("video"),
        frame=np.r_[rows.frame[order], np.full(len(absent), UNDETECTED)].astype(np.int32),
        label=np.array([one.label for one in rows.wanted], np.int32)[clip],
        logit=logit,
        p_fake=scores(handed.score) if probability else sigmoid(logit),
        identity=text("identity") if any(one.identity for one in rows.wanted) else None,
    )


def labelled(path: Path, handed: Submission, *, dataset: str, split: Split) -> ScoreTable:
    """Return the table of a dataset that is not here, by the labels that were handed in.

    Raises:
      SubmissionError: everything that is wrong.
    """
    if handed.label is None:
        rule = "column 'label' is missing: without the dataset, nothing else knows the labels"
        raise SubmissionError(path, [Fault(rule=rule)])
    first = first_rows(dense_codes(handed.video.codes))
    fake = handed.label[first] == 1
    kinds = [CLASSES[label] for label in fake.astype(int)]
    if handed.manipulation is not None:
        kinds = handed.manipulation[first].tolist()
    names = handed.video[first].tolist()
    clips = [
        Listed(dataset=dataset, video=video, split=split, label=int(label), manipulation=kind)
        for video, label, kind in zip(names, fake, kinds, strict=True)
    ]
    return match(path, handed, clips, split=split)
