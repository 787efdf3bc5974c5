from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import pytest

import dfbench
from dfbench.results.environment import environment, machine_name, machine_text, usable_cores


def git(folder: Path, *arguments: str) -> str:
    apart = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    done = subprocess.run(
        ["git", *who, *arguments], cwd=folder, env=apart, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the package in it, which is asked instead of this one."""
    package = tmp_path / "repository" / "dfbench"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    git(package.parent, "init", "-q")
    monkeypatch.setattr(dfbench, "__file__", str(package / "__init__.py"))
    return package


def test_a_machine_has_a_name_for_files() -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
    assert f", {usable_cores()} cores, " in machine_text()
    assert re.fullmatch(rf"{usable_cores()}-cores-[a-z0-9]+(-[a-z0-9]+)*", machine_name())


def test_says_where_it_ran() -> None:
    here = environment(devices=True)
    assert here.packages["dfbench"] == dfbench.__version__
    assert here.packages["jax"] == jax.__version__
    assert here.device_count == jax.local_device_count() == 8
    assert here.device_kind == jax.local_devices()[0].device_kind
    assert here.python == ".".join(map(str, sys.version_info[:3]))
    assert here.cpu_count >= 1


def test_commit_and_uncommitted_changes(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(checkout, "add", ".")
    git(checkout, "commit", "-q", "-m", "first")
    # As inside a git hook; it speaks of another repository.
    monkeypatch.setenv("GIT_DIR", str(checkout / "elsewhere"))
    clean = environment()
    assert (clean.git_commit, clean.git_dirty) == (git(checkout, "rev-parse", "HEAD"), False)
    (checkout.parent / "notes.txt").write_text("not of the package")
    assert environment().git_dirty is False
    (checkout / "__init__.py").write_text("changed = 1\n")
    assert environment().git_dirty is True


def test_installed_inside_another_repository_is_no_checkout(checkout: Path) -> None:
    found = environment()  # the package's files are not tracked
    assert (found.git_commit, found.git_dirty) == (None, None)


def test_works_without_git(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(checkout, "add", ".")
    git(checkout, "commit", "-q", "-m", "first")
    monkeypatch.setenv("PATH", "")
    assert environment().git_commit is None


def test_does_not_import_jax_unasked() -> None:
    code = (
        "import sys\n"
        "import dfbench.results.card\n"
        "light = set(sys.modules)\n"
        "from dfbench.results.environment import environment\n"
        "found = environment()\n"
        "assert (found.device_kind, found.device_count) == ('', 0)\n"
        "assert 'jax' not in sys.modules\n"
        "assert not light & {'numpy', 'jax', 'cv2', 'pyarrow', 'matplotlib'}, light\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
