"""An error message or a right answer, whatever is read; `make fuzz` tries many more inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fuzz import files, weights, words
from fuzz.target import Target
from hypothesis import HealthCheck, given, settings

# The same inputs every time: what is found by chance is found by `make fuzz`.
QUICK = settings(
    max_examples=40,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize(
    "target",
    [*words.TARGETS, *files.TARGETS, *weights.TARGETS],
    ids=lambda target: target.name.replace(" ", "-"),
)
def test_an_error_message_or_a_right_answer(target: Target, tmp_path: Path) -> None:
    @QUICK
    @given(target.inputs)
    def holds(drawn: Any) -> None:
        target.check(drawn, tmp_path)

    holds()
