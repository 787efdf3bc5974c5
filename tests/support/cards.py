"""Result cards for tests, built from what they are about."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from dfbench.results.card import (
    Audit,
    Cell,
    Counts,
    Coverage,
    DatasetFingerprint,
    Datasets,
    Environment,
    FileHash,
    Metric,
    ResultCard,
    Times,
    TrainingSummary,
    role_of,
)


def make_card(
    auc: float | None,
    *,
    model: str = "meso4",
    train: str = "synth_swap",
    eval: str = "synth_blend",
    seed: int = 0,
    lr: float = 1e-3,
    clips: str = "",
    width: float = 0.08,
    n: int = 28,
    shared: int = 0,
    created: str = "2026-11-21T08:00:00Z",
    **changes: Any,
) -> ResultCard:
    """Return a card of a cell whose video AUC is `auc`."""
    cell = Cell(model=model, train=train, eval=eval, seed=seed)
    if auc is None:
        metric = Metric(value=None, n=n, reason="no real videos")
    else:
        metric = Metric(value=auc, low=max(auc - width, 0.0), high=min(auc + width, 1.0), n=n)
    frames = dataclasses.replace(metric, n=32 * n)
    names = ("video_auc", "video_auc_all", "video_ap", "video_eer", "video_accuracy")
    half = n // 2
    card = ResultCard(
        cell=cell,
        role=role_of(cell),
        config={
            "train": train,
            "eval": [eval],
            "seed": seed,
            "model": {"name": model, "dropout": 0.5},
            "optim": {"lr": lr},
            "scoring": {"resamples": 1000, "confidence": 0.95},
        },
        config_hash=_hash(cell, lr, "all"),
        training_hash=_hash(model, train, seed, lr),
        datasets=Datasets(train=(fingerprint(train),), eval=(fingerprint(eval, clips or eval),)),
        metrics={
            **dict.fromkeys(names, metric),
            **dict.fromkeys(("frame_auc", "frame_ap", "frame_accuracy"), frames),
        },
        coverage={
            "real": Coverage(
                clips=half, clips_with_crops=half, frames_wanted=32 * half, frames=32 * half
            ),
            "fake": Coverage(
                clips=half + 1,
                clips_with_crops=half,
                frames_wanted=32 * half + 32,
                frames=32 * half,
                reasons={"no face found": 1},
            ),
        },
        training=TrainingSummary(
            epochs=6,
            steps=240,
            best_epoch=4,
            best_val_auc=0.97,
            best_val_loss=0.21,
            selected_by="val video AUC",
            stopped_early=False,
            wall_seconds=61.5,
            images_per_s=812.0,
        ),
        audit=Audit(shared_videos=shared, shared_identities=shared),
        environment=Environment(
            python="3.11.7",
            platform="Linux-6.1-x86_64",
            cpu_count=2,
            packages={"dfbench": "0.1.0", "jax": "0.10.2"},
            device_kind="cpu",
            device_count=8,
            git_commit="0123456789abcdef0123456789abcdef01234567",
            git_dirty=True,
        ),
        times=Times(created=created, scoring_seconds=2.5, images_per_s=900.0),
        files={
            "scores": FileHash(sha256="ab" * 32, bytes=12345),
            "checkpoint": FileHash(sha256="cd" * 32, bytes=234567),
        },
    )
    return dataclasses.replace(card, **changes)


def fingerprint(name: str, clips: str = "") -> DatasetFingerprint:
    """Return what is known of a dataset."""
    return DatasetFingerprint(
        name=name,
        version="1.0.0",
        variant="tiny",
        recipe={"detector": "mediapipe_full", "frames": 32, "margin": 1.3, "size": 256},
        detector_note="",
        clips_sha256=hashlib.sha256((clips or name).encode()).hexdigest(),
        counts={"test/real": Counts(clips=14, clips_with_crops=14, frames_wanted=448, frames=448)},
    )


def _hash(*values: object) -> str:
    return hashlib.sha256(repr(values).encode()).hexdigest()[:12]


def card_without_times(path: Path) -> dict[str, Any]:
    """Return a card without what differs from one training to the same training made again."""
    card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    del card["times"]
    del card["files"]["checkpoint"]  # its files hold when they were written
    for name in ("wall_seconds", "images_per_s"):
        del card["training"][name]
    return card
