"""What training and evaluated data share, in words."""

from __future__ import annotations

from dfbench.results.card import Audit

# Fields of an audit, the gravest first: one and several.
_WORDS = {
    "shared_videos": ("video", "videos"),
    "exact_duplicates": ("exact duplicate", "exact duplicates"),
    "near_duplicates": ("near duplicate", "near duplicates"),
    "shared_originals": ("original", "originals"),
    "shared_footage": ("source video", "source videos"),
    "shared_identities": ("identity", "identities"),
}
COUNTS = tuple(_WORDS)


def overlap_words(audit: Audit | None) -> str:
    """Return what is shared: "2 videos, 1 identity; 3 test clips"; empty where nothing is known."""
    if audit is None:
        return ""
    counts = {name: getattr(audit, name) for name in COUNTS}
    words = [f"{n} {_WORDS[name][n != 1]}" for name, n in counts.items() if n]
    parts = [", ".join(words)] if words else []
    if audit.clips:
        parts.append(f"{audit.clips} test clip{'s' if audit.clips > 1 else ''}")
    if audit.allowed:
        parts.append("scored all the same, by --allow-leak")
    return "; ".join(parts)
