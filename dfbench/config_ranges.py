"""What numbers the settings of a run may be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfbench.errors import UserError

if TYPE_CHECKING:
    from dfbench.config import AugmentConfig, RunConfig


def check_ranges(config: RunConfig, origin: str) -> None:
    """Check the numbers of a configuration.

    Raises:
      UserError: one that is out of its range; the message begins with `origin`.
    """
    positive = {
        "training.batch_size": config.training.batch_size,
        "scoring.batch_size": config.scoring.batch_size,
        "scoring.resamples": config.scoring.resamples,
        "scoring.top_k": config.scoring.top_k,
        "optim.lr": config.optim.lr,
        "optim.step_epochs": config.optim.step_epochs,
        **{f"phases[{i}].epochs": phase.epochs for i, phase in enumerate(config.phases)},
        **{f"phases[{i}].optim.lr": phase.optim.lr for i, phase in enumerate(config.phases)},
        "data.frames": config.data.frames,
        "data.real_oversample": config.data.real_oversample,
        "data.quality": config.data.quality,
        "data.crop_size": config.data.crop_size,
        "data.margin": config.data.margin,
        "model.head": min(config.model.head, default=None) if config.model.head else None,
        "model.input_size": config.model.input_size,
        **{f"training.mix.{name}": share for name, share in config.training.mix.items()},
    }
    for name, value in positive.items():
        if value is not None and not value > 0:
            raise UserError(f"{origin}: {name} = {value} must be above 0")
    for name, least in {"folds": 2, "crops": 0, "keypoints": 1, "words": 2}.items():
        value = getattr(config.classical, name)
        if value < least:
            raise UserError(f"{origin}: classical.{name} = {value} must be {least} or more")
    if config.training.epochs < 0:
        raise UserError(f"{origin}: training.epochs = {config.training.epochs} must be 0 or more")
    _check_augment(config.augment, origin)
    shares = config.data.split_shares
    if shares and (min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6):
        raise UserError(
            f"{origin}: data.split_shares = {list(shares)} must be three numbers above 0 that make "
            "1: the shares of train, val and test"
        )
    weights = config.training.class_weights
    if weights and (len(weights) != 2 or min(weights) < 0 or not sum(weights) > 0):
        raise UserError(
            f"{origin}: training.class_weights = {list(weights)} must be two numbers, the weight "
            "of real and that of fake examples"
        )
    if not 0 <= config.seed < 2**31:
        raise UserError(f"{origin}: seed = {config.seed} must be from 0 to {2**31 - 1}")
    fractions = {
        "model.dropout": config.model.dropout,
        **{
            f"model.head_dropout[{i}]": rate
            for i, rate in enumerate(config.model.head_dropout or ())
        },
        "optim.momentum": config.optim.momentum,
        "scoring.confidence": config.scoring.confidence,
    }
    for name, value in fractions.items():
        if not 0 <= value <= 1:
            raise UserError(f"{origin}: {name} = {value} must be between 0 and 1")


def _check_augment(augment: AugmentConfig, origin: str) -> None:
    rates = {name: getattr(augment, name) for name in ("flip", "flip_vertical", "warp", "jpeg")}
    rates |= {name: getattr(augment, name) for name in ("blur", "noise", "shift")}
    rates |= {"blur + augment.noise": augment.blur + augment.noise}
    for name, value in rates.items():
        if not 0 <= value <= 1:
            raise UserError(f"{origin}: augment.{name} = {value} must be between 0 and 1")
    # At 1 of zoom a whole row would show one pixel; more would turn the picture over.
    limits = {"rotate": 180.0, "shear": 180.0, "zoom": 0.99}
    for name, limit in limits.items():
        if not 0 <= getattr(augment, name) <= limit:
            value = getattr(augment, name)
            raise UserError(f"{origin}: augment.{name} = {value} must be between 0 and {limit:g}")
    ranges = {"blur_sigma": (0.01, 5.0), "noise_std": (0.0, 1.0), "jpeg_quality": (1, 100)}
    for name, (least, most) in ranges.items():
        low, high = getattr(augment, name)
        if not least <= low <= high <= most:
            raise UserError(
                f"{origin}: augment.{name} = {[low, high]} must be two numbers, the first not "
                f"above the second, both from {least:g} to {most:g}"
            )
