from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.train import small_models


@pytest.fixture(scope="module", autouse=True)
def _small_models() -> Iterator[None]:
    with small_models():
        yield
