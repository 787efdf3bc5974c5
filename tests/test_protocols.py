from __future__ import annotations

import copy
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest

from dfbench import cli, config, protocols
from dfbench.classical.catalog import is_classical
from dfbench.errors import UserError
from dfbench.models.weights.catalog import available
from dfbench.selection import check_names
from dfbench.train.state import build_networks
from dfbench.workflow.classical import check_classical

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


def test_degraded_crops_are_cells_that_nothing_else_may_add(mine: Path) -> None:
    cells = {**P["cells"], "degrade": "jpeg:90+50"}
    protocol = protocols.parse_protocol({**P, "cells": cells}, "p.toml")
    assert {c.degrade for c in protocol.runs} == {("jpeg:90", "jpeg:50")}
    trainings = [config.training_hash(c) for c in protocols.parse_protocol(P, "p.toml").runs]
    assert [config.training_hash(c) for c in protocol.runs] == trainings
    with pytest.raises(UserError, match=r"p\.toml: degrade: 'jpg:50' is no degradation"):
        protocols.parse_protocol({**P, "cells": {**cells, "degrade": ["jpg:50"]}}, "p.toml")
    with pytest.raises(UserError, match="--set: degrade cannot be set"):
        protocols.read_protocol(mine, {"degrade": ["jpeg:50"]})


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
        ({"cells": {"model": []}}, "cells.model is empty"),
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


# --- the shipped ones -----------------------------------------------------------------------------

SHIPPED = protocols.shipped()
BUILT: set[Any] = set()
VERSIONS = SHIPPED["demo"].with_name("versions.json")


def fixed_hashes() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads(VERSIONS.read_text())
    return found


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_protocol_never_changes(name: str) -> None:
    protocol, fixed = protocols.read_protocol(SHIPPED[name]), fixed_hashes()
    found = {
        "content": protocols.content_hash(config.load_toml(SHIPPED[name])),
        "resolved": protocols.resolved_hash(protocol),
    }
    if protocol.label not in fixed and os.environ.get("DFBENCH_UPDATE_GOLDEN"):
        fixed |= {protocol.label: found}
        VERSIONS.write_text(json.dumps(fixed, indent=1, sort_keys=True) + "\n")
    assert protocol.label in fixed, (
        f"{protocol.label} is new: DFBENCH_UPDATE_GOLDEN=1 pytest tests/test_protocols.py writes "
        f"it into {VERSIONS.name}, after which it must not change"
    )
    assert found["content"] == fixed[protocol.label]["content"], (
        f"{name}.toml is not what {protocol.label} was: results that bear this name would no "
        "longer be comparable. Take the change back, or give the file another version, and then: "
        "DFBENCH_UPDATE_GOLDEN=1 pytest tests/test_protocols.py"
    )
    assert found["resolved"] == fixed[protocol.label]["resolved"], (
        f"{name}.toml is as it was, but a default of dfbench.config has changed or is new, and so "
        f"the settings of {protocol.label} are others. Leave the default as it was (a new setting: "
        "also name it in config._LATER), or spell the setting out in the file and give it another "
        "version"
    )


def test_another_default_shows() -> None:
    before = protocols.read_protocol(SHIPPED["demo"])
    changed = protocols.read_protocol(SHIPPED["demo"], {"optim": {"momentum": 0.8}})
    assert protocols.resolved_hash(changed) != protocols.resolved_hash(before)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_protocol_can_be_run(name: str) -> None:
    protocol = protocols.read_protocol(SHIPPED[name])
    assert protocol.name == name
    assert protocol.description
    check_names(protocol.runs)
    for run in {(run.model, run.phases): run for run in protocol.runs}.values():
        if is_classical(run.model.name):
            check_classical(run)
        elif (run.model, run.phases) not in BUILT:  # protocols share some
            build_networks(run)
            BUILT.add((run.model, run.phases))
        if run.model.init is not None:
            assert run.model.init in available(run.model.name)


@pytest.mark.parametrize("name", sorted(SHIPPED.keys() - {"demo"}))
def test_a_shipped_protocol_says_how_to_run_it_and_how_long_it_takes(name: str) -> None:
    head = SHIPPED[name].read_text().split("\nname = ")[0]
    assert f"#   dfbench matrix --protocol {name}\n" in head
    assert "# Expected time" in head


@pytest.mark.parametrize("name", sorted(SHIPPED.keys() - {"demo"}))
def test_a_shipped_protocol_leaves_no_crop_to_the_dataset(name: str) -> None:
    """A dataset's own recipe may change; the protocol's numbers must not."""
    for run in protocols.read_protocol(SHIPPED[name]).runs:
        unset = {key for key, value in dataclasses.asdict(run.data).items() if value is None}
        assert unset <= {
            "before",
            "split_by",
            "split_shares",
        }  # by model.input; of the marked split


def test_the_list_of_protocols(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["protocols"]) == 0
    out = capsys.readouterr().out
    assert "tiny-1" in out
    assert "2 models, 2 training datasets, 2 seeds, 8 trainings, 16 cells" in out
    assert cli.main(["protocols", "--json"]) == 0
    listed = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert set(listed) == set(SHIPPED)
    assert listed["full_matrix"]["cells"] == 6 * 7 * 4 * 3
    assert cli.main(["protocols", "tiny"]) == 0
    assert "[settings.augment]" in capsys.readouterr().out
    assert cli.main(["protocols", "tiny", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["runs"]) == 8
    assert cli.main(["protocols", "tyny"]) == 2
    assert "did you mean 'tiny'" in capsys.readouterr().err


SYSTEMS = """name = "mine"
version = "1"
[cells]
train = "synth_swap"
eval = []
model = ["plain", "noise", "xception"]
[settings.optim]
lr = 0.5
[systems.plain.model]
name = "meso4"
[systems.noise]
model = { name = "meso4", input = "srm" }
optim = { lr = 0.25 }
"""


def test_a_system_is_a_model_with_settings_and_a_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(SYSTEMS)
    runs = protocols.read_protocol(path).runs
    assert [(c.system, c.model.name, c.model.input, c.optim.lr) for c in runs] == [
        ("plain", "meso4", "rgb", 0.5),
        ("noise", "meso4", "srm", 0.25),
        ("", "xception", "rgb", 0.5),
    ]
    assert [config.named(c) for c in runs] == ["plain", "noise", "xception"]
    assert "system" not in config.to_dict(runs[2])  # as configurations of before
    assert config.from_dict(config.to_dict(runs[1]), "again") == runs[1]
    changed_runs = protocols.read_protocol(path, {"optim": {"lr": 0.1}})
    assert [c.optim.lr for c in changed_runs.runs] == [0.1] * 3
    assert [c.system for c in changed_runs.runs] == ["plain", "noise", ""]
    assert changed_runs.label == "mine-1 (changed)"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[systems.plain.model]", "[systems.plian.model]", "'plian', which is not in cells.model"),
        ('name = "meso4"\n[systems.noise]', "[systems.noise]", "plain does not say which model"),
        ("lr = 0.25 }", "lr = 0.25 }\nseed = 3", r"systems\.noise: seed cannot be set"),
        ("[systems.plain.model]", '[systems."a/b".model]', "a name is made of letters"),
    ],
)
def test_a_system_that_makes_no_sense(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    assert old in SYSTEMS
    path.write_text(SYSTEMS.replace(old, new))
    with pytest.raises(UserError, match=message):
        protocols.read_protocol(path)
