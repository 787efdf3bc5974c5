"""Shell scripts in tests: values that want to be more than values, and commands that note calls."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HOSTILE = """it's "a" $(touch x)`touch x`;touch x & #!*?[~]{a,b} \\ $HOME %j %%"""
PLACE = HOSTILE.translate({ord(c): None for c in "?#*"})  # which no URL of a place has
_FAKE = """#!{python}
import json, os, sys, time
with open(os.environ["CALLS"], "a") as calls:
    noted = {{"argv": sys.argv[1:], "cwd": os.getcwd()}}
    {more}
    calls.write(json.dumps(noted) + "\\n")
time.sleep({sleep})
sys.exit({status})
"""


def write_fake(
    folder: Path, name: str, *, status: int = 0, sleep: float = 0, **more: str
) -> tuple[Path, Path]:
    """Write a command that notes how it is called, and return it and the file of its calls.

    The file is that of the variable CALLS; `more` are Python expressions to be noted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    lines = "\n    ".join(f"noted[{key!r}] = {value}" for key, value in more.items())
    path.write_text(_FAKE.format(python=sys.executable, status=status, sleep=sleep, more=lines))
    path.chmod(0o755)
    return path, folder / f"{name}.calls"


def check_script(path: Path) -> None:
    """Let bash and shellcheck read a script; `$` within single quotes is meant so."""
    done = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run(
        [str(shellcheck), "--norc", "--exclude=SC2016", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
