"""Where things are kept on disk."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import platformdirs

from dfbench.errors import UserError


def cache_dir() -> Path:
    """Return the folder of everything that can be made again; `DFBENCH_CACHE` overrides it."""
    override = os.environ.get("DFBENCH_CACHE")
    return expanded(override) if override else platformdirs.user_cache_path("dfbench")


def expanded(text: str) -> Path:
    """Return the path that a user names; `~` is the home folder, and `~nobody` is as it stands."""
    try:
        return Path(text).expanduser()
    except RuntimeError:  # no such user
        return Path(text)


def from_home(text: str) -> str:
    """Return a spec or path with the user's home folder in it as `~`, which `expanded` knows.

    So what stands in cards names no user, and two users' equal settings are equal.
    """
    home = str(expanded("~"))
    if home in ("/", "~"):  # there is none
        return text
    return re.sub(rf"(?<![\w./~-]){re.escape(home)}(?![\w.-])", "~", text)


def default_data_dir() -> Path:
    """Return the folder of prepared datasets."""
    return cache_dir() / "data"


def model_files_dir() -> Path:
    """Return the folder of downloaded detector models."""
    return cache_dir() / "detectors"


def lists_dir() -> Path:
    """Return the folder of downloaded official lists."""
    return cache_dir() / "lists"


def weights_dir() -> Path:
    """Return the folder of downloaded pretrained weights."""
    return cache_dir() / "weights"


def compile_cache_dir() -> Path:
    """Return the folder of XLA's compiled programs."""
    return cache_dir() / "xla"


def own_folder(folder: Path, name: str) -> Path:
    """Return where our files go in a folder that may come from somebody else.

    Raises:
      UserError: a link is in its place, which leads to whatever its author wanted overwritten.
    """
    found = folder / name
    if found.is_symlink():
        raise UserError(f"{found}: a link, which is not written through; name a folder by --out")
    return found


def slug(text: str, length: int = 40) -> str:
    """Return `text` as a file name: letters, digits, `.`, `_` and `-`, at most `length` long."""
    cleaned = "".join(c if (c.isalnum() and c.isascii()) or c in "._-" else "-" for c in text)
    return cleaned.strip("-.")[:length].strip("-.") or "x"


def folder_name(text: str) -> str:
    """Return `text` as a file name; where it is none itself, with a hash that keeps it unique."""
    name = slug(text)
    return name if name == text else f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
