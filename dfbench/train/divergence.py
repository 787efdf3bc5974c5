"""Trainings that no longer are any: numbers that are not finite, and what led there."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from dfbench.errors import UserError

LARGEST_LOSS = 1e6  # of a batch: a wrong logit of a million
SHOWN = 8  # clips of the batch

Rows = Int[np.ndarray, " n"]
Names = Callable[[Rows], Sequence[str]]  # of the clips that rows of the split are from


class DivergedError(UserError):
    """The training cannot go on, and neither can what is resumed with the same settings."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step that went wrong.

    Attributes:
        number: The first is 1.
        lr: The learning rate that it had.
        settings_lr: That of the settings, from which the schedule starts.
        clips: Of its batch, or of this process's share of it.
        kept: The step of the checkpoint to resume from; None where there is none.
    """

    number: int
    lr: float
    settings_lr: float
    clips: Sequence[str]
    kept: int | None


def fault_of(loss: float, grad_norm: float) -> str:
    """Return what is wrong with a step's numbers; an empty text where nothing is."""
    if not math.isfinite(loss):
        return f"the loss is {loss}"
    if not math.isfinite(grad_norm):
        return f"the norm of the gradient is {grad_norm}"
    return f"the loss is {loss:.3g}" if loss > LARGEST_LOSS else ""


def diverged(fault: str, step: Step) -> DivergedError:
    """Return the error that says what went wrong, at which step, and what to do."""
    clips = list(dict.fromkeys(step.clips))
    more = f" and {len(clips) - SHOWN} more" if len(clips) > SHOWN else ""
    kept = f"the checkpoint of step {step.kept} is kept" if step.kept else "no checkpoint yet"
    return DivergedError(
        f"{fault} at step {step.number}, learning rate {step.lr:.3g}: try a lower one (--set "
        f"optim.lr={step.settings_lr / 10:g}) or --set model.dtype=float32, and look at the clips "
        f"of the batch: {', '.join(clips[:SHOWN])}{more}; {kept}"
    )


def not_finite(state: Any) -> str:
    """Return the name of the first array of a state that holds NaN or infinity, or an empty text.

    It waits for the device where the state is there.
    """
    for path, leaf in jax.tree.leaves_with_path(jax.device_get(state)):
        if not np.isfinite(leaf).all():
            return jax.tree_util.keystr(path, simple=True, separator=".")
    return ""
