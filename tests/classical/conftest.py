from __future__ import annotations

from pathlib import Path

import pytest
from support.landmarks import train_predictor
from support.onnx import write_embedder


@pytest.fixture(scope="session")
def landmark_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shape predictor for rendered faces."""
    pytest.importorskip("dlib", reason="needs dfbench[classical]: dlib")
    return train_predictor(tmp_path_factory.mktemp("dlib") / "rendered.dat", range(60))


@pytest.fixture(scope="session")
def embedding_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network in SFace's place."""
    return write_embedder(tmp_path_factory.mktemp("onnx") / "embedder.onnx")
