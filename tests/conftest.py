"""Settings of every test: fake devices, strict numerics, no cache of the user's."""

from __future__ import annotations

import os

# Before anything imports JAX.
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_NUMPY_DTYPE_PROMOTION"] = "strict"
os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.raw import Pool

REPO = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.delenv("DFBENCH_DETECTOR_MODEL", raising=False)


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Real photographs and model files beside the checkout, where there are any."""
    path = REPO.parent / "shared"
    if not (path / "data").is_dir():
        pytest.skip(
            "the folder shared/ with real photographs and model files is not beside the checkout"
        )
    return path


@pytest.fixture(scope="session")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    """Clips of rendered faces, made once for all processes."""
    from support.raw import DONORS, render_pool

    from dfbench.synth.dataset import SYNTH_VERSION

    name = f"rendered-{SYNTH_VERSION}-{len(DONORS)}"
    return render_pool(tmp_path_factory.getbasetemp().parent / name)
