"""Text, data and templates to one HTML file that loads nothing and runs only what is in it."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from string import Template
from typing import Any

from dfbench.report.matrix import plain


def esc(text: object) -> str:
    """Return text that HTML shows as it is, also inside a quoted attribute, on one line."""
    return html.escape(plain(str(text)))


def esc_name(name: str) -> str:
    """Return a name as HTML shows it, which may break after its separators."""
    parts = re.split(r"(?<=[_/:,+\-.])", plain(name))
    return "<wbr>".join(html.escape(part) for part in parts if part)


def embed(data: Any) -> str:
    """Return JSON that cannot end the script element that holds it."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.translate({ord(c): f"\\u{ord(c):04x}" for c in "<>&"})


def document(parts: Mapping[str, str], data: Any) -> str:
    """Return the page.

    Its policy forbids every address and every script and style but its own, by their hashes.

    Args:
      parts: HTML for the placeholders of `index.html`; what comes from outside is escaped.
      data: What the script reads, as JSON.
    """
    style, script = tokens() + _template("style.css"), _template("script.js")
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    fixed = {"policy": policy, "style": style, "script": script, "data": embed(data)}
    return Template(_template("index.html")).substitute(parts, **fixed)


def tokens() -> str:
    """Return the style sheet of what all pages share: colours and typefaces."""
    return _template("tokens.css")


def _template(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Return what a content security policy calls a text."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
