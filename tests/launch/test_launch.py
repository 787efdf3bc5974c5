"""What all targets have in common."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.launch import Fakes, Launch, Refused
from support.shell import check_script

from dfbench import cli
from dfbench.protocols import shipped

BUCKET = ["--data-dir", "gs://b", "--runs-dir", "gs://b"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["slurm"], "no protocol: --protocol NAME"),
        (["slurm", "--protocol", "dem"], "did you mean 'demo'"),
        (["slurm", "--protocol", "demo", "--set", "optim.l=1"], "did you mean 'optim.lr'"),
        (["slurm", "--protocol", "demo", "--parts", "0"], "--parts: 0 is less than 1"),
        (["slurm", "--protocol", "demo", "--name", "a\nb"], "do not print"),
        (["slurm", "--protocol", "demo", "--env", "A-B=c"], "no name of a variable"),
        (["slurm", "--protocol", "demo", "--time", "1 h"], "--time: '1 h' has more than"),
        (["slurm", "--protocol", "demo", "--extra=-C a"], "is no directive"),
        (["slurm", "--protocol", "demo", "--out", "50%"], "another meaning"),
        (["slurm", "--protocol", "demo", "--setup", "no.sh"], "no.sh: no such file"),
        (["slurm", "--protocol", "demo", "--gpus", "-1"], "--gpus: -1 is less than 0"),
        (["slurm", "--protocol", "demo", "--raw", "synth_swap"], "NAME=DIR"),
        (["slurm", "--protocol", "demo", "--rehearse", "--raw", "a=b"], "needs no download"),
        (["slurm", "--protocol", "demo", "--raw", "a=b", "--set", "data.frames=2"], "by hand"),
        (["slurm", "--protocol", "demo", "--data-dir", ""], "--data-dir: is empty"),
        (["local", "--protocol", "demo", "--workers", "999"], "--workers: 999 are more than"),
    ],
)
def test_wrong_input_writes_nothing(
    arguments: list[str], message: str, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dfbench.launch.local.find_devices", lambda: ("cpu", 1))
    assert message in refused(*arguments)


@pytest.mark.parametrize(
    ("target", "tool", "options"),
    [
        ("slurm", "sbatch", []),
        ("k8s", "kubectl", ["--image", "i", *BUCKET]),
        ("skypilot", "sky", BUCKET),
        (
            "tpu-vm",
            "gcloud",
            [*BUCKET, "--zone", "z", "--accelerator-type", "a", "--runtime-version", "v"],
        ),
    ],
)
def test_without_the_tool_the_files_are_there_and_the_command_is_named(
    target: str,
    tool: str,
    options: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cli.main(["launch", target, "--protocol", "demo", *options, "--submit"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    script = tmp_path / "jobs" / f"{target}-dfbench-demo-1" / "submit.sh"
    assert f"{tool} is not installed here" in line
    assert f"type bash {script}" in line
    assert script.is_file()


def test_a_tool_that_refuses_is_said(
    launch: Launch,
    fakes: Fakes,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    fakes.add("sbatch", status=1)
    monkeypatch.setenv("PATH", f"{fakes.folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(fakes.folder / "calls"))
    with pytest.raises(AssertionError):  # the status is not 0
        launch("slurm", "--protocol", "demo", "--submit")
    err = capfd.readouterr().err
    assert "sbatch has not taken all jobs (exit status 1;" in err
    assert len(fakes.calls()) == 1


def test_a_job_is_written_anew_over_an_earlier_one(launch: Launch) -> None:
    first = (launch("slurm", "--protocol", "tiny") / "train.sh").read_text()
    second = (launch("slurm", "--protocol", "tiny", "--parts", "3") / "train.sh").read_text()
    assert "#SBATCH --array=1-8\n" in first
    assert "#SBATCH --array=1-3\n" in second


@pytest.mark.parametrize("nodes", [1, 2])
def test_scripts_for_slurm_are_sound(launch: Launch, tmp_path: Path, nodes: int) -> None:
    (tmp_path / "modules.sh").write_text("")
    options = ("--time", "1-0", "--partition", "gpu", "--cpu-partition", "cpu", "--account", "us")
    options += ("--gpus", "4", "--cpus", "8", "--mem", "64G", "--max-parallel", "2")
    options += ("--setup", "modules.sh", "--env", "A=b c", "--nodes", str(nodes))
    folder = launch("slurm", "--protocol", "tiny", *options)
    for script in folder.glob("*.sh"):
        check_script(script)
    train = (folder / "train.sh").read_text()
    assert "#SBATCH --partition=gpu\n" in train
    assert "#SBATCH --array=1-8%2\n" in train
    assert ("srun " in train) == (nodes > 1)
    assert ("#SBATCH --ntasks-per-node=4\n" in train) == (nodes > 1)  # a process a GPU
    prepare = (folder / "prepare.sh").read_text()
    assert "#SBATCH --partition=cpu\n" in prepare
    assert "gpus" not in prepare


def test_a_shipped_protocol_is_named_and_another_is_copied(launch: Launch, tmp_path: Path) -> None:
    named = launch("slurm", "--protocol", str(shipped()["tiny"]))
    assert "--protocol tiny " in (named / "train.sh").read_text()
    text = shipped()["tiny"].read_text(encoding="utf-8").replace('"tiny"\n', '"mine"\n', 1)
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    copied = launch("slurm", "--protocol", "mine.toml")
    assert (copied / "protocol.toml").read_text(encoding="utf-8") == text
    assert f"--protocol {copied / 'protocol.toml'} " in (copied / "train.sh").read_text()
