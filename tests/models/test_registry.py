from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest
from flax import nnx

from dfbench.config import ModelConfig
from dfbench.errors import UserError
from dfbench.models import registry
from dfbench.models.registry import all_models, get_model, model_names, register


@pytest.fixture(autouse=True)
def _registry_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    all_models()  # a module registers its model once, when it is first imported
    monkeypatch.setattr(registry, "_SPECS", dict(registry._SPECS))


def _register(name: str) -> None:
    @register(name=name, summary="one", input_size=8, paper="none")
    def build(config: ModelConfig, rngs: nnx.Rngs) -> nnx.Module:
        raise AssertionError("to list and to look up a model builds none")


def _offer(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """Let another package offer a model."""
    point = EntryPoint(name=name, value=value, group=registry.ENTRY_POINTS)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])


def test_models_of_the_package() -> None:
    assert {"meso4", "xception"} <= set(model_names())
    assert [spec.name for spec in all_models()] == sorted(model_names())
    assert all(spec.summary and spec.paper for spec in all_models())
    # The small network is of a report that is published nowhere else.
    assert all("arXiv" in spec.paper for spec in all_models() if spec.name != "small_cnn")


@pytest.mark.parametrize(
    ("name", "size", "mean", "std"), [("meso4", 256, 0.0, 1.0), ("xception", 299, 0.5, 0.5)]
)
def test_what_a_model_wants_to_see(name: str, size: int, mean: float, std: float) -> None:
    spec = get_model(name)
    assert (spec.input_size, spec.mean, spec.std) == (size, mean, std)


def test_unknown_name_says_the_nearest() -> None:
    with pytest.raises(UserError, match=r"'xcepton'; did you mean 'xception'\?.*meso4"):
        get_model("xcepton")


def test_a_taken_name_is_refused() -> None:
    _register("mine")
    with pytest.raises(ValueError, match=r"'mine' is registered already"):
        _register("mine")
    get_model("meso4")
    with pytest.raises(ValueError, match="meso4"):
        _register("meso4")


def test_listing_names_imports_no_jax() -> None:
    code = (
        "import sys; from dfbench.models.registry import model_names; names = model_names(); "
        "print(*names, *({'jax', 'flax', 'tensorflow'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert {"meso4", "midway_xception", "xception"} <= set(done.stdout.split())
    assert not {"jax", "flax", "tensorflow"} & set(done.stdout.split())


def test_a_model_of_another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    # Loading the entry point, here this function, registers the model.
    _offer(monkeypatch, "foreign", f"{__name__}:irrelevant")
    monkeypatch.setattr(EntryPoint, "load", lambda point: _register(point.name))
    assert "foreign" in model_names()
    assert get_model("foreign").name == "foreign"


def test_a_broken_model_of_another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    _offer(monkeypatch, "broken", "no_such_package_at_all:model")
    assert "broken" in model_names()
    with pytest.raises(UserError, match=r"'broken'.*no_such_package_at_all.*cannot be loaded"):
        get_model("broken")
    assert get_model("meso4").name == "meso4"


def test_an_entry_point_that_registers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    _offer(monkeypatch, "empty", "json")
    with pytest.raises(UserError, match=r"'empty'.*registers no model of that name"):
        get_model("empty")
