"""A network that sees differences between frames, from the videos to the card."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.photos import write_photos
from support.raw import write_frames

from dfbench.config import RunConfig, from_dict, read_toml
from dfbench.errors import UserError
from dfbench.train.history import read_history
from dfbench.workflow.evaluate import evaluate
from dfbench.workflow.places import Places
from dfbench.workflow.training import train

SIDE = 32


def _videos(root: Path, seed: int) -> Path:
    """Write videos whose frames look alike in both classes; fakes flicker."""
    rng = np.random.default_rng(seed)
    for name in ("real", "fake"):
        for number in range(40):
            (root / name).mkdir(parents=True, exist_ok=True)
            picture, step = rng.integers(60, 200, (SIDE, SIDE, 3)), 40 if name == "fake" else 0
            levels = step * (np.arange(6) % 2) - step // 2 * int(rng.integers(2))
            frames = [(picture + level).astype(np.uint8) for level in levels]
            write_frames(root / name / f"{name}{number:02}.mp4", frames)
    return root


def _config(videos: Path, kind: str, **training: object) -> RunConfig:
    values = {
        "train": f"folder:{videos}",
        "model": {"input": kind, "input_size": SIDE, "dropout": 0.0},
        "data": {"detector": "none", "crop_size": SIDE, "frames": 3},
        "augment": {"brightness": 0.0, "contrast": 0.0, "rotate": 20.0},
        "training": {"epochs": 4, "batch_size": 8, **training},
        "scoring": {"batch_size": 16, "resamples": 20},
    }
    return from_dict(values, "test")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("pairs")
    return _videos(root / "mine", 0), _videos(root / "yours", 1)


@pytest.mark.slow
def test_what_flickers_is_found_by_differences(videos: tuple[Path, Path], tmp_path: Path) -> None:
    mine, yours = videos
    places = Places(data_dir=tmp_path / "data", runs_dir=tmp_path / "runs", jobs=1)
    config = _config(mine, "diff", loss="l2", class_weights=[1.0, 2.0])
    folder = train(config, places)
    assert read_toml(folder / "config.toml") == config
    losses = [r["val_loss"] for r in read_history(folder / "metrics.jsonl") if "val_loss" in r]
    assert all(0 < loss < 1 for loss in losses)  # a squared error; cross-entropy begins above
    card, _ = evaluate(folder, f"folder:{yours}", places)
    assert card.config["data"]["before"] is True
    assert card.datasets.eval[0].recipe["before"] is True
    value = card.metrics["video_auc"].value
    assert value is not None
    assert value > 0.95


def test_images_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    places = Places(data_dir=tmp_path / "data", runs_dir=tmp_path / "runs", jobs=1)
    config = _config(write_photos(tmp_path / "photos"), "rgb+diff")
    with pytest.raises(UserError, match=r"data\.before needs videos"):
        train(config, places)
    assert not (tmp_path / "runs").exists()
