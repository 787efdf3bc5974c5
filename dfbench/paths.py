"""Where things are kept on disk."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import platformdirs


def cache_dir() -> Path:
    """Return the folder of everything that can be made again; `DFBENCH_CACHE` overrides it."""
    override = os.environ.get("DFBENCH_CACHE")
    return Path(override).expanduser() if override else platformdirs.user_cache_path("dfbench")


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


def slug(text: str, length: int = 40) -> str:
    """Return `text` as a file name: letters, digits, `.`, `_` and `-`, at most `length` long."""
    cleaned = "".join(c if (c.isalnum() and c.isascii()) or c in "._-" else "-" for c in text)
    return cleaned.strip("-.")[:length].strip("-.") or "x"


def folder_name(text: str) -> str:
    """Return `text` as a file name; where it is none itself, with a hash that keeps it unique."""
    name = slug(text)
    return name if name == text else f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
