from __future__ import annotations

import pytest
from support.photos import prepare_photos, write_photos

from dfbench.data.prepared import Prepared


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """30 real and 20 fake pictures, prepared."""
    root = tmp_path_factory.mktemp("photos")
    return prepare_photos(write_photos(root / "mine"), root / "data")
