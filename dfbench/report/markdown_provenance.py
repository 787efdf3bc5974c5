"""What the numbers were made from, as tables in markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from dfbench.report.markdown_text import code, escape, relative, table_text, target
from dfbench.results.card import DatasetFingerprint, ResultCard
from dfbench.results.store import SUFFIX, StoredCard


def unique_data(cards: Iterable[ResultCard]) -> list[DatasetFingerprint]:
    """Return every dataset that the cards speak of, each once, by name."""
    found = {str(d): d for c in cards for d in (*c.datasets.train, *c.datasets.eval)}
    return sorted(found.values(), key=lambda d: (d.name, d.version, d.variant, str(d)))


def data_table(data: Sequence[DatasetFingerprint]) -> str:
    """Return a row a dataset: what it is, and how its crops were made."""
    head = ["data", "dataset", "version", "variant", "clips", "clip list", "detector", "crops"]
    body = []
    for number, d in enumerate(data, start=1):
        used = d.recipe.get("detector", "?")
        recipe = ", ".join(f"{k} {v}" for k, v in sorted(d.recipe.items()) if k != "detector")
        body.append(
            [
                f"D{number}",
                *(escape(text) for text in (d.name, d.version, d.variant)),
                f"{sum(c.clips_with_crops for c in d.counts.values())} of "
                f"{sum(c.clips for c in d.counts.values())} with a face",
                f"`{code(d.clips_sha256)[:8]}`",
                escape(f"{used} ({d.detector_note})" if d.detector_note else str(used)),
                escape(recipe),
            ]
        )
    return table_text(head, body)


def provenance_table(
    cards: Iterable[StoredCard], out: Path, data: Sequence[DatasetFingerprint]
) -> str:
    """Return a row a card, with a link from the folder `out`; datasets by their place in `data`."""
    head = ["card", "trained on", "scored on", "configuration", "protocol"]
    head += ["software", "commit", "device", "date (UTC)"]

    def numbers(datasets: Iterable[DatasetFingerprint]) -> str:
        return ", ".join(f"D{data.index(d) + 1}" for d in datasets)

    body = []
    for stored in cards:
        card, ran, where = stored.card, stored.card.environment, relative(stored.path, out)
        versions = {"python": ran.python, **ran.packages}
        shown = [f"{k} {versions[k]}" for k in ("dfbench", "jax", "python") if k in versions]
        body.append(
            [
                f"[{escape(stored.path.name.removesuffix(SUFFIX))}]({target(where)})",
                numbers(card.datasets.train),
                numbers(card.datasets.eval),
                f"`{code(card.config_hash)}`",
                escape(card.protocol) if card.protocol else "-",
                escape(", ".join(shown)),
                _commit(card),
                escape(f"{ran.device_count} x {ran.device_kind}"),
                escape(card.times.created[:16].replace("T", " ")),
            ]
        )
    return table_text(head, body)


def _commit(card: ResultCard) -> str:
    commit, dirty = card.environment.git_commit, card.environment.git_dirty
    if commit is None:
        return "no checkout"
    return f"`{code(commit)[:10]}`" + (" + uncommitted changes" if dirty else "")
