from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from support.photos import write_photos

from dfbench.config import DataConfig, ModelConfig, RunConfig, ScoringConfig, TrainingConfig
from dfbench.results.card import ResultCard
from dfbench.workflow.evaluate import evaluate
from dfbench.workflow.places import Places
from dfbench.workflow.training import train


@dataclass(frozen=True)
class Trained:
    """A finished training on red fakes, and its evaluations."""

    config: RunConfig
    places: Places
    folder: Path
    within: tuple[ResultCard, Path]
    across: tuple[ResultCard, Path]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    root = tmp_path_factory.mktemp("workflow")
    mine = write_photos(root / "mine", real=60, fake=60)
    yours = write_photos(root / "yours", real=40, fake=40, people=12, seed=1)
    for number in range(20):  # of these some fall into the test split
        (yours / "fake" / f"broken{number}.mp4").write_bytes(b"")
    config = RunConfig(
        train=f"folder:{mine}",
        model=ModelConfig(dropout=0.0, input_size=128),
        data=DataConfig(detector="none", crop_size=32),
        training=TrainingConfig(epochs=3, batch_size=8),
        scoring=ScoringConfig(batch_size=16, resamples=50),
    )
    places = Places(data_dir=root / "data", runs_dir=root / "runs", jobs=1)
    folder = train(config, places)
    cards = [evaluate(folder, f"folder:{p}", places) for p in (mine, yours)]
    return Trained(config, places, folder, *cards)
