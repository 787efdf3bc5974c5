"""The steps of the Dockerfile without an engine: `python tests/container/replay.py [FOLDER]`.

The stages share one folder, which stands for the root of the image: /opt/dfbench is
FOLDER/opt/dfbench. Commands run by this machine's Python and shell; what changes a system (apt-get,
users) and other images are not replayed, and named.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("opt", "src", "cache", "work")  # of the image, that stand below the folder
SYSTEM = ("apt-get", "useradd")  # commands that need another system than this one


@dataclasses.dataclass(frozen=True)
class Step:
    """One instruction, with its lines joined."""

    line: int
    word: str
    text: str

    def __str__(self) -> str:
        """Return the instruction in short."""
        text = " ".join(self.text.split())
        return f"{self.line}: {self.word} {text if len(text) < 70 else text[:67] + '...'}"


@dataclasses.dataclass
class Image:
    """What the steps of the last stage say of a container."""

    env: dict[str, str] = dataclasses.field(default_factory=dict)
    user: str = "0"
    workdir: str = "/"
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    left_out: list[str] = dataclasses.field(default_factory=list)


def steps_of(text: str) -> list[Step]:
    """Read a Dockerfile: comments, continued lines and instructions."""
    found: list[Step] = []
    joined, first = "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith("#") or not (line.strip() or joined):
            continue
        first = first if joined else number
        joined += line.removesuffix("\\")
        if not line.endswith("\\"):
            word, _, rest = joined.strip().partition(" ")
            found.append(Step(first, word.upper(), rest.strip()))
            joined = ""
    if joined:
        raise ValueError(f"line {first}: the last instruction does not end")
    return found


def stages_of(steps: Sequence[Step], args: Mapping[str, str]) -> dict[str, list[Step]]:
    """Return the steps of each stage by its name, with ARGs put in; `FROM` comes first."""
    known: dict[str, str] = {}
    stages: dict[str, list[Step]] = {}
    stage: list[Step] = []
    for step in steps:
        if step.word == "ARG":
            name, _, default = step.text.partition("=")
            known[name] = args.get(name, default)
            continue
        if step.word != "RUN":  # the shell puts them in there
            step = dataclasses.replace(step, text=_filled(step.text, known))
        if step.word == "FROM":
            stage = stages[step.text.split()[-1]] = []
        stage.append(step)
    return stages


def _filled(text: str, values: Mapping[str, str]) -> str:
    return re.sub(r"\$\{(\w+)\}", lambda m: values.get(m[1], m[0]), text)


def needed(stages: Mapping[str, Sequence[Step]], target: str) -> list[str]:
    """Return the stages that a target is made of, in the file's order."""
    wanted, found = [target], set()
    while wanted:
        name = wanted.pop()
        if name in stages and name not in found:
            found.add(name)
            wanted.append(stages[name][0].text.split()[0])
            wanted += re.findall(r"--from=(\S+)", " ".join(s.text for s in stages[name]))
    return [name for name in stages if name in found]


def sent(path: PurePosixPath, patterns: Sequence[str]) -> bool:
    """Return whether .dockerignore lets the engine have a file: the last match decides."""
    given = True
    for pattern in patterns:
        plain = pattern.removeprefix("!").removeprefix("**/")
        parts = [path, *path.parents][:-1]
        names = [p.name for p in parts] if "**/" in pattern else [str(p) for p in parts]
        if any(fnmatch.fnmatchcase(name, plain) for name in names):
            given = pattern.startswith("!")
    return given


def context() -> list[PurePosixPath]:
    """Return the files that the engine would be sent."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    there = [PurePosixPath(name) for name in files if (ROOT / name).is_file()]
    return [path for path in there if sent(path, patterns)]


class Replay:
    """Does the steps of a target below a folder."""

    def __init__(self, root: Path, target: str, args: Mapping[str, str]) -> None:
        text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
        self.root, self.args = root, dict(args)
        self.stages = stages_of(steps_of(text), args)
        self.order = needed(self.stages, target)
        self.context = context()
        self.image = Image()

    def __call__(self) -> Image:
        """Do them; a step that fails ends it."""
        images: dict[str, Image] = {}
        for name in self.order:
            first, *steps = self.stages[name]
            base = images.get(first.text.split()[0])
            left_out = self.image.left_out
            if base is None:
                base = Image(env={"PATH": self._python()})
                left_out.append(f"{first} (this machine stands for the image)")
            env = dict(base.env)
            self.image = images[name] = dataclasses.replace(base, env=env, left_out=left_out)
            for step in steps:
                print(step, flush=True)
                getattr(self, f"_{step.word.lower()}")(step)
        return self.image

    def _leave(self, step: Step, why: str) -> None:
        self.image.left_out.append(f"{step} ({why})")

    def _python(self) -> str:
        """Return a PATH on which `python` is this machine's own, as it is in the base image."""
        folder = self.root / "bin"
        folder.mkdir(exist_ok=True)
        script = folder / "python"
        own = getattr(sys, "_base_executable", sys.executable)
        script.write_text(f'#!/bin/sh\nexec {shlex.quote(own)} "$@"\n')
        script.chmod(0o755)
        return f"{folder}:/usr/bin:/bin"

    def place(self, path: str) -> Path:
        """Return where a path of the image lies."""
        return self.root / PurePosixPath(self.image.workdir, path).relative_to("/")

    def moved(self, text: str) -> str:
        """Return a command with the image's folders below the root."""
        return re.sub(rf"(?<![\w.$}}])/(?=(?:{'|'.join(FOLDERS)})\b)", f"{self.root}/", text)

    def _run(self, step: Step) -> None:
        if any(re.search(rf"(^|\s){command}\s", step.text) for command in SYSTEM):
            self._leave(step, "it changes the system")
            for folder in re.findall(r"/(?:cache|work)\b", step.text):
                self.place(folder).mkdir(exist_ok=True)
                self.place(folder).chmod(0o1777)
            return
        env = {**self._environment(), **self.args}
        command = ["/bin/sh", "-euc", self.moved(step.text)]
        subprocess.run(command, check=True, cwd=self.place("."), env=env)

    def _environment(self) -> dict[str, str]:
        """Return the image's, and how this machine reaches the package index."""
        there = {k: v for k, v in os.environ.items() if k.startswith(("PIP_", "SSL_", "HTTP"))}
        return {**there, "HOME": "/tmp", **self.image.env}

    def _copy(self, step: Step) -> None:
        *sources, target = step.text.split()
        if sources[0].startswith("--from="):
            stage = sources.pop(0).removeprefix("--from=")
            if self.stages[stage][0].text.split()[0] not in self.stages and stage != "build":
                self._leave(step, "of another image")
            elif sources != [target] or not self.place(target).exists():
                raise ValueError(f"{step}: stages share a folder, so both paths must be one")
            return
        for source in sources:
            files = [
                f
                for f in self.context
                if f == PurePosixPath(source) or PurePosixPath(source) in f.parents
            ]
            if not files:
                raise ValueError(f"{step}: .dockerignore keeps '{source}' back, or it is not there")
            whole = len(sources) == 1 and (ROOT / source).is_dir()
            for file in files:
                inside = file.relative_to(source) if whole else PurePosixPath(file.name)
                at = self.place(target) / inside
                at.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / file, at)

    def _workdir(self, step: Step) -> None:
        self.image.workdir = step.text
        self.place(".").mkdir(parents=True, exist_ok=True)

    def _env(self, step: Step) -> None:
        for pair in shlex.split(step.text):
            name, _, value = pair.partition("=")
            self.image.env[name] = self.moved(value).replace("$PATH", self.image.env["PATH"])

    def _user(self, step: Step) -> None:
        self.image.user = step.text

    def _entrypoint(self, step: Step) -> None:
        self.image.entrypoint = tuple(json.loads(step.text))

    def _cmd(self, step: Step) -> None:
        self.image.command = tuple(json.loads(step.text))

    def _volume(self, step: Step) -> None:
        for path in json.loads(step.text):
            if not self.place(path).is_dir():
                raise ValueError(f"{step}: {path} is not there")

    def _healthcheck(self, step: Step) -> None:
        if step.text != "NONE":
            raise ValueError(f"{step}: not known here")

    def start(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the entry point as the image's user, where this machine allows that."""
        user = int(self.image.user) if not self.why_not_the_user() else None
        return subprocess.run(
            [*self.image.entrypoint, *(arguments or self.image.command)],
            check=False,
            capture_output=True,
            text=True,
            cwd=self.place("."),
            env={**self.image.env, "HOME": str(self.place("."))},
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )

    def why_not_the_user(self) -> str:
        """Return why commands run as the user who replays, or nothing."""
        if os.geteuid() != 0:
            return "only root may become another user; this one is not root either"
        own = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
        closed = [p for p in (*own.parents, *self.root.parents) if not p.stat().st_mode & 0o001]
        return f"{closed[0]} is closed to other users" if closed else ""


def main(given: Sequence[str]) -> int:
    """Replay the image for CPUs and start its command; name what was left out."""
    with tempfile.TemporaryDirectory(prefix="dfbench-container-") as temporary:
        root = Path(given[0]).absolute() if given else Path(temporary)
        root.mkdir(parents=True, exist_ok=True)
        root.chmod(0o755)
        replay = Replay(root, "dfbench", {"ACCELERATOR": "cpu"})
        image = replay()
        for arguments in ((), ("--version",), ("datasets",), ("prepare", "synth_swap")):
            done = replay.start(*arguments)
            print(f"dfbench {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}")
            if done.returncode:
                return 1
        left = [*image.left_out]
        if why := replay.why_not_the_user():
            left.append(f"USER {image.user} ({why})")
        size = sum(f.lstat().st_size for f in (root / "opt/dfbench").rglob("*") if f.is_file())
        print(f"/opt/dfbench: {size / 1e6:.0f} MB")
        print("not replayed:", *left, sep="\n  ")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
