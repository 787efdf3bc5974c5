from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.launch import Fakes, Launch, Refused
from support.shell import HOSTILE, PLACE, check_script

from dfbench.launch import tpu_vm

BASE = ("tpu-vm", "--protocol", "tiny", "--zone", "us-west4-a", "--accelerator-type", "v5e-8")
BASE = (*BASE, "--runtime-version", "v2-alpha", "--spot")
PLACES = ("--data-dir", "gs://bucket/data", "--runs-dir", "gs://bucket/runs")

# Google's side: a queued resource that takes a while, of two hosts, which is this machine.
GCLOUD = """#!{python}
import json, os, pathlib, shutil, subprocess, sys
here = pathlib.Path(sys.argv[0]).parent
with (here / "gcloud.log").open("a") as log:
    log.write(" ".join(sys.argv[1:5]) + "\\n")
states, words = here / "states", sys.argv[1:]
if "describe" in words:
    if not states.exists():
        sys.exit(1)
    now, *later = states.read_text().split()
    states.write_text(" ".join(later or [now]))
    print(now)
elif "create" in words:
    (here / "created").write_text(json.dumps(words))
    states.write_text("WAITING_FOR_RESOURCES PROVISIONING ACTIVE")
elif "delete" in words:
    states.unlink()
elif "scp" in words:
    shutil.copytree(".", here / "home" / "dfbench-job", dirs_exist_ok=True)
elif "ssh" in words:
    (command,) = [word[10:] for word in words if word.startswith("--command=")]
    hosts = 2 if "--worker=all" in words else 1
    env = {{**os.environ, "HOME": str(here / "home")}}
    run = lambda: subprocess.run(["bash", "-c", command], cwd=here / "home", env=env).returncode
    status = max(run() for _ in range(hosts))
    taken = here / "taken-away"
    if "train" in command and taken.exists():
        taken.unlink()
        states.write_text("SUSPENDED")
        sys.exit(255)
    sys.exit(status)
"""


@pytest.fixture
def google(fakes: Fakes, monkeypatch: pytest.MonkeyPatch) -> Fakes:
    """Commands in the places of gcloud, and of what the hosts have."""
    monkeypatch.setattr(tpu_vm, "POLL", 0)
    fakes.folder.mkdir()
    gcloud = fakes.folder / "gcloud"
    gcloud.write_text(GCLOUD.format(python=sys.executable))
    gcloud.chmod(0o755)
    for name in ("sudo", "uv"):
        fakes.add(name)
    hosts = Fakes(fakes.folder / "home" / "dfbench-env" / "bin")
    hosts.add("python")
    hosts.add("dfbench", A='os.environ.get("A")', PLATFORM='os.environ.get("JAX_PLATFORMS")')
    return fakes


def run(google: Fakes, folder: Path) -> subprocess.CompletedProcess[str]:
    return google.run("bash", folder / "submit.sh")


def of_dfbench(google: Fakes) -> list[list[str]]:
    words = ("matrix", "prepare", "leaderboard")
    return [call["argv"] for call in google.calls() if call["argv"][0] in words]


MATRIX = ["matrix", "--protocol", "tiny", *PLACES]


def test_a_slice_is_rented_trained_on_and_given_back(launch: Launch, google: Fakes) -> None:
    folder = launch(*BASE, *PLACES, "--project", "ours")
    for script in folder.glob("*.sh"):
        check_script(script)
    done = run(google, folder)
    assert done.returncode == 0, done.stderr
    assert of_dfbench(google) == [[*MATRIX, "--prepare-only"], MATRIX, MATRIX]
    assert not (google.folder / "states").exists()
    created = (google.folder / "created").read_text()
    for word in ("--spot", "--zone=us-west4-a", "--project=ours", "--accelerator-type=v5e-8"):
        assert f'"{word}"' in created
    packages = [c["argv"][-1] for c in google.calls() if c["argv"][:2] == ["pip", "install"]]
    assert len(packages) == 2
    assert packages[0].startswith("dfbench[gcs,tpu]==")


def test_one_that_is_taken_away_is_rented_again(launch: Launch, google: Fakes) -> None:
    folder = launch(*BASE, *PLACES)
    (google.folder / "taken-away").touch()
    done = run(google, folder)
    assert done.returncode == 0, done.stderr
    assert "was taken away, attempt 1 of" in done.stderr
    log = (google.folder / "gcloud.log").read_text()
    assert log.count("queued-resources create") == log.count("queued-resources delete") == 2


def test_a_job_that_fails_is_not_tried_again(launch: Launch, google: Fakes) -> None:
    folder = launch(*BASE, *PLACES)
    Fakes(google.folder / "home" / "dfbench-env" / "bin").add("dfbench", status=3)
    assert run(google, folder).returncode == 3
    assert of_dfbench(google) == [[*MATRIX, "--prepare-only"]]
    assert not (google.folder / "states").exists()


def test_values_reach_dfbench_as_they_are(launch: Launch, google: Fakes, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'name = "mine"\nversion = "1"\n[cells]\ntrain = ["uadfv"]\neval = []\nmodel = ["meso4"]\n'
    )
    wheel = tmp_path / "dfbench-9-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    folder = launch(
        *("tpu-vm", "--protocol", "mine.toml", "--set", f"model.init={HOSTILE}"),
        *("--zone", HOSTILE, "--accelerator-type", HOSTILE, "--runtime-version", HOSTILE),
        *("--data-dir", f"gs://{PLACE}", "--runs-dir", "s3://b", "--env", f"A={HOSTILE}"),
        *("--name", HOSTILE, "--package", wheel),
    )
    for script in folder.glob("*.sh"):
        check_script(script)
    done = run(google, folder)
    assert done.returncode == 0, done.stderr
    first = of_dfbench(google)[0]
    assert first[:3] == ["matrix", "--protocol", "./protocol.toml"]
    assert first[first.index("--set") + 1] == f"model.init={HOSTILE}"
    assert first[first.index("--data-dir") + 1] == f"gs://{PLACE}"
    calls = [call for call in google.calls() if call["argv"][0] == "matrix"]
    assert {call["A"] for call in calls} == {HOSTILE}
    assert [call["PLATFORM"] for call in calls] == ["cpu", None, None]
    assert (Path(calls[0]["cwd"]) / "protocol.toml").read_text().startswith('name = "mine"')
    assert (Path(calls[0]["cwd"]) / wheel.name).read_bytes() == b"wheel"
    package = next(c["argv"][-1] for c in google.calls() if c["argv"][:2] == ["pip", "install"])
    assert package == f"./{wheel.name}[gcs,s3,tpu]"
    assert "x" not in {path.name for path in tmp_path.rglob("*")}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--data-dir: the disk of a machine of tpu-vm goes with it"),
        (["--data-dir", "gs://b"], "--runs-dir: the disk"),
        ([*PLACES, "--package", "no.whl"], "no.whl: No such file"),
        ([*PLACES, "--zone", ""], "--zone: is empty"),
    ],
)
def test_wrong_input(arguments: list[str], message: str, refused: Refused) -> None:
    assert message in refused(*BASE, *arguments)
