"""The commands of docs/cloud.md write job files as they stand there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from support.shell import check_script

from dfbench import __version__, cli

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cloud.md"


def commands() -> list[list[str]]:
    """Return the words of each `dfbench launch` that is not `local`, which would begin to train."""
    text = PAGE.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [
        line.strip() for line in text.splitlines() if line.strip().startswith("dfbench launch")
    ]
    found = [shlex.split(line, comments=True)[1:] for line in lines]
    return [words for words in found if words[1] != "local"]


def test_the_page_has_commands_for_every_target() -> None:
    assert {words[1] for words in commands()} == {"slurm", "k8s", "tpu-vm", "skypilot"}


@pytest.mark.parametrize("words", commands(), ids=lambda words: " ".join(words[1:4]))
def test_a_command_of_the_page(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wheel = tmp_path / "dist" / f"dfbench-{__version__}-py3-none-any.whl"
    wheel.parent.mkdir()
    wheel.touch()
    assert cli.main([word for word in words if word != "--submit"]) == 0
    (submit,) = tmp_path.glob("jobs/*/submit.sh")
    check_script(submit)
    named = re.findall(r"jobs/[\w.-]+/submit\.sh", PAGE.read_text(encoding="utf-8"))
    assert named
    if "--rehearse" not in words and words[1] in ("slurm", "tpu-vm"):
        assert str(submit.relative_to(tmp_path)) in named
