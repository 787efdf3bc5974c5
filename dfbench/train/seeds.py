"""Trainings that differ in their seed alone, each step taken together.

Each is the training that it would be alone (`train.loop.Training`), with its own order of data,
random keys, validation, patience, checkpoints and history. A step of all of them is one program:
the per-device step under `vmap` over the states, which stay on the devices with a leading axis.
What it computes is equal to rounding.

`vmap` turns each convolution into one in groups, a group a seed, which on a CPU is slower than the
convolutions one by one; and there a single training keeps all cores busy already. So on a CPU, and
with a network that fills an accelerator by itself, seeds gain nothing from each other
(`why_alone`). benchmarks/speed/seeds.py measures it.
"""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from dfbench.config import ModelConfig
from dfbench.errors import UserError
from dfbench.models.describe import abstract_model, multiply_adds
from dfbench.models.registry import get_model
from dfbench.signals import Finishing, Stopped, finishing
from dfbench.train.loop import Training
from dfbench.train.marks import Clock
from dfbench.train.parallel import pmap_train_step
from dfbench.train.state import TrainState
from dfbench.train.step import DeviceStep, Metrics
from dfbench.train.task import FitResult, Task

SMALL = 200.0  # million multiply-adds an image: above it, one training keeps a device busy

Batches = tuple[dict[str, Array], ...]


def fit_together(
    tasks: Sequence[Task], *, failed: Callable[[int, UserError], None] = lambda number, error: None
) -> list[FitResult | UserError]:
    """Train as `train.loop.fit` does, for as long as there are several, in steps of all.

    Those that stop early, or whose loss is no longer finite, leave the others going.

    Args:
        tasks: Alike but for the seed, and what follows from it.
        failed: Called at once with the position of one that ended so.

    Returns:
        What came out of each, or what ended it.

    Raises:
        UserError: Their memory does not fit the device.
        Stopped: SIGTERM or Ctrl-C came; all of them are saved.
    """
    going: list[_Seat] = []
    try:
        with finishing() as stop:
            with stop.at_once():
                clock = Clock()
                seats = [_Seat(n, task, clock, stop, failed) for n, task in enumerate(tasks)]
            for seat in seats:
                seat.go_on()
            groups: dict[int, _Group] = {}
            while going := [seat for seat in seats if seat.end is None]:
                _step_all(going, groups)
                stop.look()
                for seat in going:
                    seat.go_on()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise UserError(
            f"the device has no memory for {len(going)} seeds at once: a smaller --seeds-parallel"
        ) from error
    ends = [seat.end for seat in seats if seat.end is not None]
    if stopped := [end for end in ends if isinstance(end, Stopped)]:
        others = f"; so are {len(stopped) - 1} other seeds" if stopped[1:] else ""
        raise Stopped(f"{stopped[0]}{others}")
    return [end for end in ends if not isinstance(end, Stopped)]


def _step_all(going: Sequence[_Seat], groups: dict[int, _Group]) -> None:
    """Take the step that each wants; `groups` keeps those that step together, by phase."""
    # Phases end by their own patience, so that some may be ahead.
    for phase in sorted({seat.training.marks.phase for seat in going}):
        members = [seat for seat in going if seat.training.marks.phase == phase]
        if phase not in groups or groups[phase].members != members:
            groups[phase] = _Group(members)
        groups[phase].step()


def why_alone(config: ModelConfig) -> str:
    """Return why several seeds of a network gain nothing from each other; "" where they may."""
    if jax.default_backend() == "cpu":
        return "a training keeps all cores busy by itself"
    spec = get_model(config.name)
    millions = spec.multiply_adds or multiply_adds(abstract_model(spec), spec.input_size) / 1e6
    millions *= ((config.input_size or spec.input_size) / spec.input_size) ** 2
    return f"{config.name} keeps a device busy by itself" if millions > SMALL else ""


class _Seat:
    """A training among others: it is given a turn, and says what it wants next.

    Attributes:
        end: What came out of it, what ended it, or that it is saved, as it was asked to be; None
            as long as it goes on.
        batch: Of the step that it wants.
        metrics: Of the step that was taken for it.
    """

    def __init__(
        self,
        number: int,
        task: Task,
        clock: Clock,
        stop: Finishing,
        failed: Callable[[int, UserError], None],
    ) -> None:
        self.end: FitResult | UserError | Stopped | None = None
        self.batch: dict[str, Array] = {}
        self.metrics: Metrics | None = None
        self.failed = partial(failed, number)
        try:
            self.training = Training(task, clock, stop)
        except UserError as error:
            self._fail(error)
        else:
            self.steps = self.training.steps()

    def go_on(self) -> None:
        """Let it work on the metrics of its step until it has a batch for the next, or an end."""
        if self.end is not None:
            return
        try:
            metrics = self.metrics
            self.batch = next(self.steps) if metrics is None else self.steps.send(metrics)
        except StopIteration as end:
            self.end = end.value
        except UserError as error:
            self._fail(error)
        except Stopped as stopped:
            self.end = stopped

    def _fail(self, error: UserError) -> None:
        self.end = error
        self.failed(error)


class _Group:
    """Trainings of the same phase, with their states as one."""

    def __init__(self, members: list[_Seat]) -> None:
        self.members = members
        trainings = [seat.training for seat in members]
        self._step = pmap_train_step(together(trainings[0].device_step()))
        self._states = stack_states([training.state for training in trainings])
        for number, training in enumerate(trainings):
            training.watch.since = None  # the next step compiles
            training.held = partial(self._state, number)

    def step(self) -> None:
        """Take a step of all, without waiting for the device."""
        batches = tuple(seat.batch for seat in self.members)
        self._states, metrics = self._step(self._states, batches)
        for seat, own in zip(self.members, metrics, strict=True):
            seat.metrics = own

    def _state(self, number: int) -> TrainState:
        state: TrainState = jax.tree.map(lambda leaf: leaf[number], self._states)
        return state


def stack_states(states: Sequence[TrainState]) -> TrainState:
    """Return states as one with a leading axis, of NumPy arrays."""
    stacked: TrainState = jax.tree.map(
        lambda *leaves: np.stack(leaves), *jax.device_get(list(states))
    )
    return stacked


def together(
    step: DeviceStep,
) -> Callable[[TrainState, Batches], tuple[TrainState, list[Metrics]]]:
    """Return the per-device step of several states, as one with a leading axis."""

    def steps(states: TrainState, batches: Batches) -> tuple[TrainState, list[Metrics]]:
        stacked: dict[str, Array] = jax.tree.map(lambda *leaves: jnp.stack(leaves), *batches)
        new, metrics = jax.vmap(step)(states, stacked)
        each = [{name: values[i] for name, values in metrics.items()} for i in range(len(batches))]
        return new, each

    return steps
