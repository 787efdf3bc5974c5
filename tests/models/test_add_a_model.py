"""The example of docs/add-a-model.md, as another package's entry point."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from support.page import block, offer_entry_points
from support.train import NO_AUGMENT, SMALL, make_batch, train

from dfbench.config import ModelConfig
from dfbench.models import registry
from dfbench.models.registry import get_model, model_names
from dfbench.train.state import abstract_state, parameter_count

PAGE = "add-a-model.md"


@pytest.fixture
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the page's file and entry point where those of an installed package are."""
    (tmp_path / "quarter_net.py").write_text(block(PAGE, "python"))
    monkeypatch.syspath_prepend(tmp_path)
    offer_entry_points(PAGE, registry, monkeypatch)
    monkeypatch.setattr(registry, "_SPECS", dict(registry._SPECS))
    yield
    sys.modules.pop("quarter_net", None)


@pytest.mark.usefixtures("_installed")
def test_the_example_trains() -> None:
    assert "quarter_net" in model_names()
    spec = get_model("quarter_net")
    assert (spec.input_size, spec.mean, spec.std) == (64, 0.5, 0.5)
    config = replace(SMALL, model=ModelConfig(name="quarter_net"), augment=NO_AUGMENT)
    # Three kernels, scale and bias of each norm, the head.
    count = 9 * (3 * 16 + 16 * 32 + 32 * 64) + 2 * (16 + 32 + 64) + 65
    state = abstract_state(config, optimizer=False)
    assert parameter_count(state) == count
    # The names that the page gives.
    assert "kernel" in state.params["convs"][0]
    assert "bias" in state.params["head"]["output"]
    assert f"{round(count / 1000)} thousand" in spec.summary
    trained = train(config, [make_batch(16, side=64)], devices=2)
    assert np.isfinite(trained.metrics[0]["loss"])
    assert int(trained.state.step) == 1
    gradients = jax.tree.leaves(trained.state.opt_state[0].trace)
    assert all(np.any(leaf != 0) for leaf in gradients)
