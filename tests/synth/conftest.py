"""Both datasets in size tiny, rendered once."""

from __future__ import annotations

import pytest

from dfbench.faces.clip import Clip
from dfbench.synth.dataset import NAMES, index_rendered, render_dataset


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Clip]]:
    root = tmp_path_factory.mktemp("synth")
    for name in NAMES:
        render_dataset(name, "tiny", root / name, jobs=1)
    return {name: index_rendered(root / name, name) for name in NAMES}
