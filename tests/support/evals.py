"""Evaluations on disk: scores and the card that was computed from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from support.cards import make_card

from dfbench.config import ScoringConfig
from dfbench.eval.measure import measure
from dfbench.eval.scores import ScoreTable, score_table, write_scores
from dfbench.results.card import Coverage, card_name
from dfbench.results.store import SCORES, hash_file, write_card


def make_scores(
    *,
    reals: int = 20,
    fakes: dict[str, int] | None = None,
    frames: int = 4,
    apart: float = 2.0,
    undetected: int = 0,
    dataset: str = "synth_blend",
    seed: int = 0,
) -> ScoreTable:
    """Return scores whose fakes lie `apart` standard deviations of a video above its reals.

    Args:
      reals: Videos.
      fakes: Videos by manipulation; default: 20 of "blend".
      frames: Of each video, every tenth.
      apart: Distance.
      undetected: Real videos without a detected face, besides.
      dataset: Name.
      seed: Of the draws.
    """
    rng = np.random.default_rng(seed)
    fakes = {"blend": 20} if fakes is None else fakes
    kinds = ["real"] * reals + [kind for kind, n in fakes.items() for _ in range(n)]
    label = np.array([kind != "real" for kind in kinds], dtype=int)
    video = [f"{dataset}/{kind}/{number:04d}" for number, kind in enumerate(kinds)]
    middle = rng.normal(apart * (label - 0.5), 1.0)
    logit = middle[:, None] + rng.normal(0, 0.5, (len(kinds), frames))
    missed = [f"{dataset}/real/missed{number}" for number in range(undetected)]

    def column(values: Any, absent: Any) -> list[Any]:
        return [*np.repeat(np.asarray(values), frames).tolist(), *[absent] * undetected]

    return score_table(
        dataset=[dataset] * (len(kinds) * frames + undetected),
        split=["test"] * (len(kinds) * frames + undetected),
        manipulation=column(kinds, "real"),
        video=[*np.repeat(np.array(video), frames).tolist(), *missed],
        frame=[*(10 * k for _ in kinds for k in range(frames)), *[-1] * undetected],
        label=column(label, 0),
        logit=[*logit.ravel().tolist(), *[np.nan] * undetected],
    )


def write_evaluation(
    folder: Path,
    table: ScoreTable,
    *,
    val: ScoreTable | None = None,
    resamples: int = 50,
    **changes: Any,
) -> Path:
    """Write scores and their card into a folder; return the card's path."""
    scoring = ScoringConfig(resamples=resamples)
    measured = measure(table, val, scoring, seed=0)
    write_scores(table, folder / SCORES)
    files = {"scores": hash_file(folder / SCORES)}
    coverage = {}
    for k, name in enumerate(("real", "fake")):
        mine = np.asarray(table.label) == k
        names = np.asarray(table.video)
        there = np.unique(names[mine & ~np.isnan(table.p_fake)])
        coverage[name] = Coverage(
            clips=len(np.unique(names[mine])),
            clips_with_crops=len(there),
            frames_wanted=int(mine.sum()),
            frames=int((mine & ~np.isnan(table.p_fake)).sum()),
        )
    fields = {
        "metrics": measured.metrics,
        "breakdown": measured.breakdown,
        "confusion": measured.confusion,
        "calibration": measured.calibration,
        "coverage": coverage,
        "files": files,
        **changes,
    }
    names = ("model", "train", "eval", "seed")
    card = make_card(0.5, **{k: fields.pop(k) for k in names if k in fields}, **fields)
    path = folder / card_name(card.cell)
    write_card(card, path)
    return path
