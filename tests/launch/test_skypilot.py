from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from support.launch import Fakes, Launch
from support.shell import HOSTILE, PLACE, check_script

from dfbench import cli

PLACES = ("--data-dir", "s3://bucket/data", "--runs-dir", "s3://bucket/runs")
BASE = ("skypilot", "--protocol", "tiny")
MATRIX = ["matrix", "--protocol", "tiny", *PLACES]


def task(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def start(fakes: Fakes, path: Path, **env: str) -> list[str]:
    """Run what a task runs with a fake dfbench, and return the call."""
    home = fakes.folder / "home"
    Fakes(home / "dfbench-env" / "bin").add("dfbench")
    run = task(path)["run"]
    done = fakes.run("bash", "-c", f"cd {str(path.parent)!r}\n{run}", HOME=str(home), **env)
    assert done.returncode == 0, done.stderr
    argv: list[str] = fakes.calls()[-1]["argv"]
    return argv


def test_data_first_then_a_job_for_each_part(launch: Launch, fakes: Fakes) -> None:
    folder = launch(*BASE, *PLACES, "--accelerators", "A100:1", "--parts", "3")
    train = task(folder / "train.yaml")
    assert train["resources"]["accelerators"] == "A100:1"
    assert train["resources"]["use_spot"] is True
    assert train["resources"]["job_recovery"]["strategy"] == "EAGER_NEXT_REGION"
    assert "num_nodes" not in train
    assert start(fakes, folder / "train.yaml", PART="2") == [*MATRIX, "--part", "2/3"]
    assert start(fakes, folder / "prepare.yaml") == [*MATRIX, "--prepare-only"]
    for script in folder.glob("*.sh"):
        check_script(script)
    fakes.add("sky")
    done = fakes.run("bash", folder / "submit.sh")
    assert done.returncode == 0, done.stderr
    sent = [call["argv"] for call in fakes.calls() if call["argv"][:2] == ["jobs", "launch"]]
    assert [argv[-1] for argv in sent] == ["prepare.yaml"] + ["train.yaml"] * 3
    assert [argv[argv.index("--name") + 1] for argv in sent] == [
        "dfbench-tiny-1-prepare",
        *(f"dfbench-tiny-1-{part}" for part in (1, 2, 3)),
    ]
    assert "--detach-run" not in sent[0]
    assert sent[2][sent[2].index("--env") + 1] == "PART=2"


def test_no_training_before_the_data(launch: Launch, fakes: Fakes) -> None:
    folder = launch(*BASE, *PLACES)
    fakes.add("sky", status=100)
    assert fakes.run("bash", folder / "submit.sh").returncode == 100
    assert len(fakes.calls()) == 1


def test_several_nodes_find_the_first(launch: Launch, fakes: Fakes) -> None:
    folder = launch(*BASE, *PLACES, "--nodes", "2", "--accelerators", "H100:8", "--on-demand")
    train = task(folder / "train.yaml")
    assert train["num_nodes"] == 2
    assert train["resources"]["use_spot"] is False
    addresses = {"SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2", "SKYPILOT_NUM_NODES": "2"}
    argv = start(fakes, folder / "train.yaml", PART="1", SKYPILOT_NODE_RANK="1", **addresses)
    options = dict(zip(argv[-8::2], argv[-7::2], strict=True))
    assert options == {
        "--part": "1/8",
        "--coordinator": "10.0.0.1:29400",
        "--processes": "2",
        "--process": "1",
    }


def test_values_reach_dfbench_as_they_are(launch: Launch, fakes: Fakes, tmp_path: Path) -> None:
    folder = launch(
        *(*BASE, "--set", f"model.init={HOSTILE}", "--name", HOSTILE, "--package", HOSTILE),
        *("--data-dir", f"gs://{PLACE}", "--runs-dir", f"gs://{PLACE}"),
        *("--accelerators", HOSTILE, "--infra", HOSTILE, "--cpus", HOSTILE),
    )
    for script in folder.glob("*.sh"):
        check_script(script)
    resources = task(folder / "train.yaml")["resources"]
    assert resources["accelerators"] == resources["infra"] == HOSTILE
    assert task(folder / "prepare.yaml")["resources"]["cpus"] == HOSTILE
    argv = start(fakes, folder / "train.yaml", PART="1")
    assert argv[argv.index("--set") + 1] == f"model.init={HOSTILE}"
    assert argv[argv.index("--runs-dir") + 1] == f"gs://{PLACE}"
    fakes.add("sky")
    assert fakes.run("bash", folder / "submit.sh").returncode == 0
    assert "x" not in {path.name for path in tmp_path.rglob("*")}


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--accelerators", "A100:8", "--infra", "gcp/us-central1"),
        ("--accelerators", "L4:1", "--nodes", "2", "--on-demand"),
    ],
)
def test_skypilot_takes_the_tasks(
    launch: Launch, options: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # where it would keep what it knows
    sky = pytest.importorskip(
        "sky", reason="SkyPilot has an environment of its own: make skypilot", exc_type=ImportError
    )
    folder = launch(*BASE, *PLACES, *options)
    for name in ("prepare", "train"):
        read = sky.Task.from_yaml(str(folder / f"{name}.yaml"))
        assert read.name.startswith("dfbench-tiny-1")
        (resources,) = read.resources
        assert resources.use_spot == ("--on-demand" not in options)
        assert resources.job_recovery is not None
    assert read.num_nodes == (2 if "--nodes" in options else 1)
    assert read.envs["PART"] == "1"


def test_tpus_are_for_other_targets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["launch", *BASE, *PLACES, "--accelerators", "tpu-v5e-8"]) == 2
    assert "launch tpu-vm" in capsys.readouterr().err
