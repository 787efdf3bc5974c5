from __future__ import annotations

import importlib.util
import json

import pytest

from dfbench import cli
from dfbench.classical import catalog
from dfbench.classical.catalog import CLASSICAL, is_classical, models_text, require, spec_values
from dfbench.errors import UserError
from dfbench.models.registry import model_names


def test_names_tell_features_and_classifier() -> None:
    assert CLASSICAL["landmarks_svm_rbf"].families == ("svm_rbf",)
    assert CLASSICAL["landmarks_embedding_mlp"].features == "landmarks_embedding"
    assert CLASSICAL["sift_forest"].families == ("forest",)
    assert CLASSICAL["landmarks_best"].families == ("svm_rbf", "svm_linear", "mlp", "logistic")
    assert "sift_best" not in CLASSICAL
    assert len(CLASSICAL) == 13


def test_no_name_is_a_networks() -> None:
    assert not CLASSICAL.keys() & set(model_names())
    assert is_classical("sift_svm_rbf")
    assert not is_classical("meso4")


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"'sift_forest' needs the package skops: pip install"):
        require("skops", "sift_forest")


def test_the_list_has_a_line_a_model() -> None:
    lines = models_text(CLASSICAL.values()).splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(CLASSICAL)
    assert catalog.EXTRA in lines[0]


def test_values_have_the_keys_of_networks() -> None:
    from dfbench.models import listing
    from dfbench.models.registry import get_model

    network = listing.spec_values(get_model("meso4"))
    assert spec_values(CLASSICAL["sift_forest"]).keys() <= network.keys()


def test_the_command_line_lists_and_describes_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "--json"]) == 0
    names = {model["name"] for model in json.loads(capsys.readouterr().out)}
    assert names >= {"meso4", *CLASSICAL}
    assert cli.main(["models"]) == 0
    assert "sift_forest  " in capsys.readouterr().out
    assert cli.main(["models", "landmarks_best"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("landmarks_best: grey values at 68 face landmarks; the best of")
    assert "SVM with RBF kernel, linear SVM, perceptron" in text


@pytest.mark.parametrize("command", [["models"], ["run", "--train", "synth_swap", "--model"]])
def test_a_wrong_name_is_told_the_nearest(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*command, "landmarks_svm_rfb"]) == 2
    assert "did you mean 'landmarks_svm_rbf'?" in capsys.readouterr().err
