"""What `dfbench models` prints."""

from __future__ import annotations

import json

import pytest

from dfbench import cli
from dfbench.classical.catalog import CLASSICAL
from dfbench.models.registry import model_names


def test_the_list_of_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "--json"]) == 0
    listed = {values["name"]: values for values in json.loads(capsys.readouterr().out)}
    assert set(listed) == set(model_names()) | set(CLASSICAL)
    assert listed["midway_xception"]["parameters"] == 25_270_002
    assert listed["resnet34"]["mean"] == [0.485, 0.456, 0.406]
    assert cli.main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("xception "))
    for text in ("299 px", "[-1, 1]", "20,811,050", "8,355 M", "imagenet"):
        assert text in lines[at]
    assert "arXiv:1610.02357" in lines[at + 1]
    assert any(line.startswith("keras:NAME, any of ") for line in lines)
    assert lines[-1].startswith("sift_svm_rbf ")


def test_the_layers_of_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "meso4"]) == 0
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if line.startswith("convs.2 ")] == [
        "convs.2        Conv       64x64x16        3,216  bias kernel"
    ]
    assert "convs.0.bias" in out
    assert cli.main(["models", "meso4", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["layers"][-1] == {
        "path": "head.output",
        "kind": "Linear",
        "output": [1],
        "count": 17,
        "parameters": {"bias": [1], "kernel": [16, 1]},
    }
