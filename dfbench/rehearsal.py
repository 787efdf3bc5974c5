"""A protocol in small, on the embedded datasets: to see it run before its datasets are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dfbench.config import PhaseConfig, RunConfig
from dfbench.data.spec import split_union
from dfbench.protocols import Protocol

DATASETS = ("synth_swap", "synth_blend")  # in the places of the first dataset, and of the others
SIDE = 96  # px, of what networks see
CROP = 128  # px


def rehearse(protocol: Protocol) -> Protocol:
    """Return a protocol whose trainings take seconds; all that it says of models stays.

    Every dataset is replaced by an embedded one, the first of the protocol by `synth_swap`, the
    others by `synth_blend`; weights to start from by random ones; of seeds, frames, epochs, sides,
    folds and grids little is left. Its numbers say nothing.
    """
    members = [
        name
        for run in protocol.runs
        for spec in (run.train, *run.eval)
        for name in split_union(spec)
    ]
    places = {name: DATASETS[min(n, 1)] for n, name in enumerate(dict.fromkeys(members))}

    def placed(spec: str) -> str:
        return ",".join(dict.fromkeys(places[name] for name in split_union(spec)))

    runs = [
        _small(run, placed(run.train), [placed(spec) for spec in run.eval]) for run in protocol.runs
    ]
    return replace(protocol, runs=tuple(dict.fromkeys(runs)), rehearsal=True)


def _small(run: RunConfig, train: str, evaluated: Sequence[str]) -> RunConfig:
    data, training = run.data, run.training
    return replace(
        run,
        seed=0,
        train=train,
        eval=tuple(dict.fromkeys(evaluated)),
        model=replace(run.model, init=None, init_label=None, input_size=SIDE),
        data=replace(
            data,
            size="tiny",
            detector="none" if data.detector == "none" else "haar",
            frames=min(data.frames or 2, 2),
            real_oversample=min(data.real_oversample or 1, 2),
            align=False,  # needs eyes, which Haar does not find
            crop_size=min(data.crop_size or CROP, CROP),
        ),
        training=replace(
            training,
            epochs=min(training.epochs, 1),
            batch_size=min(training.batch_size, 16),
            mix={},
        ),
        phases=tuple(_short(phase) for phase in run.phases),
        classical=replace(run.classical, folds=3, grid="coarse", crops=60, words=16),
        scoring=replace(run.scoring, batch_size=16, resamples=50),
    )


def _short(phase: PhaseConfig) -> PhaseConfig:
    return replace(phase, epochs=1)
