from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from dfbench import config, protocols
from dfbench.errors import UserError

P: dict[str, Any] = {
    "name": "p",
    "version": "1",
    "cells": {"train": ["a", "b"], "eval": ["a", "b"], "model": "meso4", "seed": [0, 1]},
    "settings": {"model": {"dropout": 0.1}},
}
TEXT = """name = "mine"
version = "1"
[cells]
train = "synth_swap"
eval = "synth_blend"
model = ["meso4", "xception"]
[settings.optim]
lr = 0.5
[by_model.xception.optim]
lr = 0.25
"""


def changed(**values: Any) -> dict[str, Any]:
    """Return `P` with some values replaced; None takes one out."""
    merged = config.merge(P, values)
    return {key: value for key, value in merged.items() if value is not None}


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(TEXT)
    return path


def test_expands_to_one_training_a_model_dataset_and_seed() -> None:
    protocol = protocols.parse_protocol(P, "p.toml")
    assert protocol.label == "p-1"
    assert [(c.train, c.seed) for c in protocol.runs] == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    assert all(c.model == config.ModelConfig(name="meso4", dropout=0.1) for c in protocol.runs)
    assert all(c.eval == ("a", "b") for c in protocol.runs)


def test_a_model_may_have_settings_of_its_own(mine: Path) -> None:
    protocol = protocols.read_protocol(mine)
    assert [(c.model.name, c.optim.lr) for c in protocol.runs] == [
        ("meso4", 0.5),
        ("xception", 0.25),
    ]


def test_a_changed_setting_shows_in_the_name(mine: Path) -> None:
    faster = protocols.read_protocol(mine, {"data": {"workers": 3}})
    assert faster.label == "mine-1"
    assert {c.data.workers for c in faster.runs} == {3}
    same = protocols.read_protocol(mine, {"model": {"dropout": 0.5}})
    assert same.label == "mine-1"
    other = protocols.read_protocol(mine, {"optim": {"lr": 0.5}})
    assert other.label == "mine-1 (changed)"
    assert {c.optim.lr for c in other.runs} == {0.5}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"celss": {}}, "unknown key 'celss'; did you mean 'cells'"),
        ({"name": None}, "name is missing"),
        ({"version": None}, "version is missing"),
        ({"version": 1}, "version is 1; it is a text"),
        ({"name": "../x y"}, "name is '../x y'"),
        ({"description": 3}, "description is 3"),
        ({"cells": None}, "cells.train is missing"),
        ({"cells": {"eval": []}}, "cells.eval is empty"),
        ({"cells": {"train": ""}}, "cells.train is empty"),
        ({"cells": {"trains": "a"}}, "unknown key 'cells.trains'; did you mean 'train'"),
        ({"cells": {"model": [3]}}, "cells: Expected `str`, got `int` - at `$.model[0]`"),
        ({"cells": {"seed": ["0"]}}, "cells: Expected `int`"),
        ({"cells": {"seed": [1, 1]}}, "cells.seed names 1 twice"),
        ({"cells": {"seed": [-1]}}, "seed = -1"),
        ({"cells": 3}, "'cells' is a table"),
        ({"settings": {"optm": {}}}, "unknown setting 'optm'; did you mean 'optim'"),
        ({"settings": {"seed": 3}}, "settings: seed cannot be set"),
        ({"settings": {"model": {"name": "x"}}}, "settings: model.name cannot be set"),
        ({"by_model": {"meso": {}}}, "by_model names 'meso'"),
        ({"by_model": {"meso4": 3}}, "'meso4' is a table"),
        ({"by_model": {"meso4": {"train": "b"}}}, "by_model.meso4: train cannot be set"),
        ({"by_model": {"meso4": {"optim": {"l": 1}}}}, "unknown setting 'optim.l'"),
    ],
)
def test_a_wrong_protocol_names_file_value_and_remedy(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as raised:
        protocols.parse_protocol(copy.deepcopy(changed(**change)), "p.toml")
    assert str(raised.value).startswith("p.toml: ")
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optim": {"lrr": 1}}, "--set: unknown setting 'optim.lrr'"),
        ({"train": "a"}, "--set: train cannot be set: the protocol fixes the cells"),
        ({"model": {"name": "a"}}, "--set: model.name cannot be set"),
    ],
)
def test_a_wrong_change_is_blamed_on_the_command_line(
    mine: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as raised:
        protocols.read_protocol(mine, changes)
    assert message in str(raised.value)


def test_the_name_of_a_shipped_protocol_is_taken(tmp_path: Path) -> None:
    original = protocols.find_protocol("demo")
    copied = tmp_path / "copied.toml"
    copied.write_bytes(original.read_bytes())
    assert protocols.read_protocol(copied).label == protocols.read_protocol(original).label
    other = tmp_path / "other.toml"
    other.write_text(original.read_text().replace("epochs = ", "epochs = 1"))
    with pytest.raises(UserError, match=r"other\.toml: another protocol is called demo-"):
        protocols.read_protocol(other)
    other.write_text(other.read_text().replace('version = "', 'version = "9'))
    assert protocols.read_protocol(other).version.startswith("9")


def test_finding(mine: Path) -> None:
    assert protocols.find_protocol(str(mine)) == mine
    assert protocols.find_protocol("demo").name == "demo.toml"
    with pytest.raises(UserError, match="no protocol file 'dmo'; did you mean 'demo'"):
        protocols.find_protocol("dmo")
