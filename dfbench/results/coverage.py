"""Coverage that depends on the class: a face detector that finds fewer faces in fakes is a bias."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dfbench.results.card import DatasetFingerprint

TOLERANCE = 0.02  # share of frames


def coverage_warnings(
    datasets: Iterable[DatasetFingerprint], splits: Sequence[str]
) -> tuple[str, ...]:
    """Say where real and fake frames gave face crops at rates that differ by over 2 points."""
    found = []
    for data in datasets:
        for split in splits:
            share = {name: _share(data, f"{split}/{name}/") for name in ("real", "fake")}
            real, fake = share["real"], share["fake"]
            if real is not None and fake is not None and abs(real - fake) > TOLERANCE:
                found.append(
                    f"{data.name}, {split}: {100 * real:.1f} % of the frames of real clips gave a "
                    f"face crop and {100 * fake:.1f} % of the fake"
                )
    return tuple(found)


def _share(data: DatasetFingerprint, prefix: str) -> float | None:
    counts = [c for key, c in data.counts.items() if key.startswith(prefix)]
    wanted = sum(c.frames_wanted for c in counts)
    return sum(c.frames for c in counts) / wanted if wanted else None
