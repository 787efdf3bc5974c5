from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest

from dfbench import cli, signals


def test_help_and_datasets_import_nothing_heavy() -> None:
    code = (
        "import sys; from dfbench.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "heavy = {'jax', 'flax', 'tensorflow_datasets', 'mediapipe', 'cv2', 'sklearn', 'grain'}\n"
        "heavy |= {'numpy'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    for arguments in (["--help"], ["run", "--help"], ["datasets"], ["datasets", "--json"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{arguments}: imported {done.stderr}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rn"], "did you mean 'run'"),
        (["zzz"], "there are run"),
        (["datasets", "synth_swp"], "did you mean 'synth_swap'"),
        (["run", "--train", "synth_swp"], "did you mean 'synth_swap'"),
        (["run", "--train", "synth_swap", "--eval", "celebfd"], "unknown dataset 'celebfd'"),
        (["run", "--train", "synth_swap", "--model", "meso5"], "did you mean 'meso4'"),
        (["run", "--train", "synth_swap", "--set", "optim.l=1"], "did you mean 'optim.lr'"),
        (["run"], "--train SPEC"),
        (["run", "--protocol", "dem"], "did you mean 'demo'"),
        (["run", "--protocol", "demo", "--train", "synth_swap"], "exclude each other"),
        (["models", "xcepton"], "did you mean 'xception'"),
        (["prepare", "synth_swap", "--detector", "mtcn"], "did you mean 'mtcnn'"),
        (["prepare", "synth_swap", "--detector", "?"], "there are mediapipe_full"),
    ],
)
def test_wrong_input_is_one_line_and_status_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_lists_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["datasets", "--json"]) == 0
    datasets = json.loads(capsys.readouterr().out)
    assert {"synth_swap", "synth_blend", "folder", "sbi"} <= {d["name"] for d in datasets}
    assert all(d["summary"] for d in datasets)
    assert cli.main(["models", "--json"]) == 0
    models = {m["name"]: m for m in json.loads(capsys.readouterr().out)}
    assert models["meso4"]["input_size"] == 256
    assert models["xception"]["input_size"] == 299


def test_a_fault_of_ours_is_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(args: object) -> None:
        raise ZeroDivisionError

    entry = cli.COMMANDS["datasets"]
    monkeypatch.setitem(cli.COMMANDS, "datasets", (broken, *entry[1:]))
    assert cli.main(["datasets"]) == 1
    assert "fault of dfbench" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (
            OSError(errno.ENOSPC, "as a library has it", "/data/x"),
            2,
            "/data/x: No space left on device; free some space, or name another folder",
        ),
        (
            RuntimeError("while it was packed"),
            2,
            "/data/y: Stale file handle; look after the disk or its network, then give the same "
            "command again",
        ),
        (signals.Stopped("saved after step 7"), signals.STOPPED, "saved after step 7"),
        (signals.Terminated(), 143, "stopped by SIGTERM"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_what_ends_a_command_is_one_line_and_a_status(
    error: BaseException,
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken(args: object) -> None:
        raise error from OSError(errno.ESTALE, "Stale file handle", "/data/y")

    entry = cli.COMMANDS["datasets"]
    monkeypatch.setitem(cli.COMMANDS, "datasets", (broken, *entry[1:]))
    assert cli.main(["datasets"]) == status
    assert capsys.readouterr().err == f"dfbench: {said}\n"


def test_help_and_the_page_list_the_exit_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    out = capsys.readouterr().out
    page = (Path(cli.__file__).parents[1] / "docs" / "faults.md").read_text(encoding="utf-8")
    for status, text in cli.STATUSES.items():
        assert f"{status:3} {text}\n" in out
        assert f"| {status} | {text} |" in page


def test_help_lists_settings_with_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["train", "--help"])
    out = capsys.readouterr().out
    assert "optim.lr = 0.001" in out
    assert "data.detector = (the dataset's own)" in out
