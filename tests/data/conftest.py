from __future__ import annotations

from pathlib import Path

import pytest
from support.photos import prepare_photos, write_photos
from support.raw import MINIATURES, Pool

from dfbench.data.prepared import Prepared


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """30 real and 20 fake pictures, prepared."""
    root = tmp_path_factory.mktemp("photos")
    return prepare_photos(write_photos(root / "mine"), root / "data")


@pytest.fixture(params=sorted(MINIATURES))
def miniature(request: pytest.FixtureRequest, tmp_path: Path, pool: Pool) -> tuple[str, Path]:
    """A spec, and a miniature of its raw download."""
    MINIATURES[request.param](tmp_path / "raw", pool)
    return request.param, tmp_path / "raw"
