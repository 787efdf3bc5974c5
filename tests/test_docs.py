"""What the pages show works as it stands there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from dfbench.config import total_epochs
from dfbench.models.registry import keras_names
from dfbench.protocols import parse_protocol
from dfbench.train.state import build_networks

DOCS = Path(__file__).resolve().parents[1] / "docs"


def test_the_protocol_of_the_page_on_transfer_learning() -> None:
    if not keras_names():
        pytest.skip("the example is a network of Keras, which is not installed")
    page = (DOCS / "transfer-learning.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (config,) = parse_protocol(tomllib.loads(text), "page").runs
    assert total_epochs(config) == 18
    assert [phase.optim.name for phase in config.phases] == ["adam", "sgd"]
    head, block = (build_networks(config, phase=phase).trained for phase in (0, 1))
    assert head == {
        f"head.{layer}.{leaf}"
        for layer in ("hidden.0", "hidden.1", "output")
        for leaf in ("kernel", "bias")
    }
    assert block - head == {
        f"backbone.block5_conv{i}.{leaf}" for i in range(1, 5) for leaf in ("kernel", "bias")
    }


def test_the_protocol_of_the_page_on_protocols() -> None:
    page = (DOCS / "protocols.md").read_text(encoding="utf-8")
    text, more = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    protocol = parse_protocol(tomllib.loads(text), "page")
    assert protocol.label == "mine-1"
    assert len(protocol.runs) == 8
    assert {(run.model.name, run.model.init, run.optim.lr) for run in protocol.runs} == {
        ("meso4", None, 1e-3),
        ("resnet18", "imagenet", 2e-4),
    }
    (system,) = tomllib.loads(more)["systems"]
    named = text.replace('"resnet18"]', f'"resnet18", "{system}"]') + more
    last = parse_protocol(tomllib.loads(named), "page").runs[-1]
    assert (last.system, last.model.name, last.model.input) == ("noise", "meso4", "srm")
