"""Everything that defines a run: frozen dataclasses, TOML in and out, content hash.

The defaults stand here and nowhere else.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import tomli_w

from dfbench.config_ranges import check_ranges
from dfbench.degradations import parse_degradations
from dfbench.errors import UserError, nearest
from dfbench.files import write_text
from dfbench.paths import from_home

Balance = Literal["sampling", "loss", "none"]  # draw both classes alike, weigh them alike, neither
DetectorName = Literal["mediapipe_full", "mediapipe_short", "mtcnn", "haar", "haar_128", "none"]
# Frames to a video: mean of their probabilities; sigmoid of the mean of their logits; the highest
# probability; the median; the mean of the highest `top_k`.
Aggregate = Literal["mean", "mean_logit", "max", "median", "top_k"]
Loss = Literal["bce", "l2"]  # binary cross-entropy, squared error of P(fake)
# What a network sees: the picture; its noise by three SRM high-pass filters; its difference to the
# frame before; the picture and one of these behind it, as six channels.
Input = Literal["rgb", "srm", "diff", "rgb+srm", "rgb+diff"]


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network."""

    name: str = "meso4"
    init: str | None = None  # weights to start from: "imagenet" or a file; unset: random
    init_label: Literal["fake", "real"] | None = None  # what that file's output scores
    head: tuple[int, ...] | None = None  # widths of hidden dense layers; unset: the network's own
    head_dropout: tuple[float, ...] | None = None  # before each dense layer; unset: `dropout`
    dropout: float = 0.5
    dtype: Literal["float32", "bfloat16"] = "float32"  # of activations; parameters stay float32
    input: Input = "rgb"  # "diff" turns on data.before
    input_size: int | None = None  # px, of the side; unset: the network's own
    pooling: Literal["average", "max"] = "average"  # of the last feature maps


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which crops; `None` leaves a setting to the dataset's own recipe."""

    size: Literal["tiny", "default"] = "default"  # of the embedded datasets
    detector: DetectorName | None = None
    frames: int | None = None  # of a clip, at most
    policy: Literal["even", "first", "second", "centre"] | None = None  # which frames
    real_oversample: int | None = None  # times as many frames of real clips
    crop: Literal["face", "head"] | None = None
    margin: float | None = None
    boxes: Literal["own", "original"] | None = None  # cut a fake where its original was cut
    align: bool | None = None  # turn the eyes level
    crop_size: int | None = None  # px
    format: Literal["jpeg", "png"] | None = None  # of the stored crops
    quality: int | None = None  # of JPEG
    before: bool | None = None  # with each crop, the same place in the frame before
    split_by: Literal["clip", "crop"] | None = None  # "crop" leaks: see docs/prepare.md
    split_shares: tuple[float, float, float] | None = None  # of "crop": train, val, test
    workers: int = 0  # processes that decode for training; 0: threads, as for scoring


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """On the device, per example, in this order. Blur and noise exclude each other."""

    flip: float = 0.5  # probability
    flip_vertical: float = 0.0  # probability
    warp: float = 1.0  # probability of the next four, which are one warp
    rotate: float = 0.0  # largest angle, degrees
    shift: float = 0.0  # largest, of the side, in each direction
    shear: float = 0.0  # largest angle, degrees
    zoom: float = 0.0  # of each side: what is seen is 1 - zoom to 1 + zoom times as much
    blur: float = 0.0  # probability
    blur_sigma: tuple[float, float] = (0.3, 1.0)  # from, to; px
    noise: float = 0.0  # probability
    noise_std: tuple[float, float] = (0.01, 0.05)  # from, to; of the range [0, 1]
    contrast: float = 0.1  # largest relative change
    brightness: float = 0.1  # largest shift, of the range [0, 1]
    jpeg: float = 0.0  # probability of what JPEG loses
    jpeg_quality: tuple[int, int] = (30, 95)  # from, to


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """Optimizer and learning-rate schedule."""

    name: Literal["adam", "sgd"] = "adam"
    lr: float = 1e-3
    momentum: float = 0.9  # of sgd
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine", "step"] = "constant"
    step_epochs: int = 5  # of "step": every so many epochs ...
    step_factor: float = 0.05  # ... the rate is multiplied by this


@dataclass(frozen=True, kw_only=True)
class PhaseConfig:
    """A part of the training: what changes in it, and how.

    Patterns are of parameter names as `dfbench models NAME` lists them: `head.*`, `blocks.11.*`.
    """

    epochs: int
    train: tuple[str, ...] = ("*",)  # what changes ...
    freeze: tuple[str, ...] = ()  # ... but for this
    # Statistics of batch norm. "follow": a layer that is frozen keeps its running ones and
    # normalises by them, as in Keras; "train": no layer does; "frozen": every layer does.
    batch_norm: Literal["follow", "train", "frozen"] = "follow"
    optim: OptimConfig = field(default_factory=OptimConfig)  # what is not said: as `optim`


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """The loop."""

    epochs: int = 10  # without phases; those have their own. 0: the first weights are scored
    batch_size: int = 32  # over all devices
    balance: Balance = "sampling"
    loss: Loss = "bce"
    class_weights: tuple[float, ...] = ()  # of real and fake in the loss; (): by `balance`
    # Of a union, or a dataset made of several: how often each source is drawn, `catania = 1`.
    # None given: as often as it has crops.
    mix: dict[str, float] = field(default_factory=dict, hash=False)  # configurations are keys
    patience: int = 5  # epochs without a better val AUC before stopping; 0: never
    checkpoint_steps: int = 0  # also save every so many steps; 0: at the end of an epoch only


@dataclass(frozen=True, kw_only=True)
class ScoringConfig:
    """Scoring and its intervals."""

    batch_size: int = 64  # over all devices
    aggregate: Aggregate = "mean"  # frames to a video
    top_k: int = 5  # frames of a video that count in "top_k"
    resamples: int = 1000
    confidence: float = 0.95


@dataclass(frozen=True, kw_only=True)
class ClassicalConfig:
    """Classical models (`landmarks_*`, `sift_*`); of `augment` they take blur and noise alone."""

    folds: int = 5  # of the cross-validation that chooses the parameters
    # What stays in one fold: a video, with the one it was made from; or nothing but the crop.
    folds_by: Literal["video", "crop"] = "video"
    grid: Literal["full", "coarse"] = "full"  # parameters tried
    crops: int = 5000  # to train on, at most, drawn at random; 0: all
    keypoints: int = 200  # of a crop, at most (SIFT)
    words: int = 256  # of the vocabulary (SIFT)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One training and its evaluations."""

    system: str = ""  # what a protocol calls this configuration
    train: str = ""  # dataset spec
    eval: tuple[str, ...] = ()  # dataset specs
    degrade: tuple[str, ...] = ()  # "jpeg:50": scored so, too; see docs/robustness.md
    seed: int = 0
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    scoring: ScoringConfig = field(default_factory=ScoringConfig)
    classical: ClassicalConfig = field(default_factory=ClassicalConfig)
    phases: tuple[PhaseConfig, ...] = ()  # one after the other; none: one of training.epochs


def named(config: RunConfig) -> str:
    """Return what a person calls the detector: its system in a protocol, or its model."""
    return config.system or config.model.name


def phases_of(config: RunConfig) -> tuple[PhaseConfig, ...]:
    """Return the phases of a training: at least one."""
    return config.phases or (PhaseConfig(epochs=config.training.epochs, optim=config.optim),)


def total_epochs(config: RunConfig) -> int:
    """Return the epochs of all phases, at most."""
    return sum(phase.epochs for phase in phases_of(config))


def from_dict(values: Mapping[str, Any], origin: str) -> RunConfig:
    """Build a configuration from nested plain values; what is not named keeps its default.

    Raises:
      UserError: an unknown key (with the nearest one) or a value of the wrong type; the message
        names `origin`.
    """
    _check_keys(values, RunConfig, "", origin)
    values = _with_whole_phases(values, origin)
    try:
        config = msgspec.convert(values, RunConfig)
    except msgspec.ValidationError as error:
        raise UserError(f"{origin}: {_reason(error)}") from error
    check_ranges(config, origin)
    degrade = tuple(one.text for one in parse_degradations(config.degrade, f"{origin}: degrade"))
    config = dataclasses.replace(config, degrade=degrade)
    return _with_frames_before(_without_user(config), origin)


def _without_user(config: RunConfig) -> RunConfig:
    """Name what lies in the home folder from there: settings stand in cards, which others read."""
    init = config.model.init
    return dataclasses.replace(
        config,
        train=from_home(config.train),
        eval=tuple(map(from_home, config.eval)),
        model=dataclasses.replace(config.model, init=init and from_home(init)),
    )


def needs_before(model: ModelConfig) -> bool:
    """Return whether a network sees the frame before."""
    return "diff" in model.input.split("+")


def _with_frames_before(config: RunConfig, origin: str) -> RunConfig:
    """Ask for the frames before, if the network sees them: so they are in the recipe and hash."""
    if not needs_before(config.model):
        return config
    if config.data.before is False:
        raise UserError(
            f"{origin}: model.input = {config.model.input} needs data.before = true, which it "
            "turns on by itself"
        )
    return dataclasses.replace(config, data=dataclasses.replace(config.data, before=True))


def _reason(error: msgspec.ValidationError) -> str:
    """Say what is wrong with a value; of a choice, what there is to choose from."""
    found = re.fullmatch(r"Invalid enum value '(.*)' - at `\$\.(.*)`", str(error), re.DOTALL)
    if not found:
        return str(error)
    value, place = found.groups()
    hint: Any = RunConfig
    for name in re.sub(r"\[\d+\]", "", place).split("."):
        hint = get_type_hints(hint)[name]
        if get_origin(hint) is tuple:
            hint = get_args(hint)[0]
    choices = [c for part in (get_args(hint) or ()) for c in (get_args(part) or (part,))]
    known = [str(choice) for choice in choices if choice is not type(None)]
    return f"{place} = '{value}'; there are {', '.join(known)}{nearest(value, known)}"


def _with_whole_phases(values: Mapping[str, Any], origin: str) -> Mapping[str, Any]:
    """Check the keys of phases, and let their optimizers start from the setting of all."""
    phases = values.get("phases")
    if phases is None:
        return values
    if not isinstance(phases, list | tuple) or not all(isinstance(p, Mapping) for p in phases):
        raise UserError(
            f"{origin}: 'phases' is a list of tables, [[settings.phases]] in a protocol"
        )
    whole = []
    for number, phase in enumerate(phases):
        _check_keys(phase, PhaseConfig, f"phases[{number}].", origin)
        optim = phase.get("optim", {})
        if not isinstance(optim, Mapping):
            raise UserError(f"{origin}: 'phases[{number}].optim' is a table")
        _check_keys(optim, OptimConfig, f"phases[{number}].optim.", origin)
        whole.append({**phase, "optim": merge(values.get("optim", {}), optim)})
    return {**values, "phases": whole}


def _check_keys(values: Mapping[str, Any], cls: type, prefix: str, origin: str) -> None:
    known = {f.name: f for f in dataclasses.fields(cls)}
    for key, value in values.items():
        path = f"{prefix}{key}"
        if key not in known:
            hint = nearest(path, [prefix + k for k in known]) or nearest(path, setting_names())
            raise UserError(f"{origin}: unknown setting '{path}'{hint}")
        section = _SECTIONS.get(path)
        if section is not None:
            if not isinstance(value, Mapping):
                raise UserError(f"{origin}: '{path}' is a section; set one of its keys")
            _check_keys(value, section, f"{path}.", origin)


_SECTIONS: dict[str, type] = {
    "model": ModelConfig,
    "data": DataConfig,
    "augment": AugmentConfig,
    "optim": OptimConfig,
    "training": TrainingConfig,
    "scoring": ScoringConfig,
    "classical": ClassicalConfig,
}


def setting_names() -> list[str]:
    """Return every settable name, dotted."""
    top = [f.name for f in dataclasses.fields(RunConfig) if f.name not in _SECTIONS]
    nested = [
        f"{section}.{f.name}" for section, cls in _SECTIONS.items() for f in dataclasses.fields(cls)
    ]
    return top + nested


_MOST_PARTS = 20  # of a setting's name


def parse_assignment(text: str) -> dict[str, Any]:
    """Parse `optim.lr=1e-4` to nested values; the value is TOML, or else a bare string.

    Raises:
      UserError: no `=` in the text, or a name of more parts than any setting has.
    """
    key, equals, value = text.partition("=")
    parts = key.strip().split(".")
    if not equals or not key.strip() or len(parts) > _MOST_PARTS:
        raise UserError(f"--set {text}: expected KEY=VALUE, for example optim.lr=1e-4")
    nested: Any = value.strip()
    with contextlib.suppress(ValueError):
        table = _parse_toml(f"value = {value.strip()}")
        nested = table["value"] if len(table) == 1 else nested  # or more lines than one
    for part in reversed(parts):
        nested = {part: nested}
    result: dict[str, Any] = nested
    return result


def merge(base: Mapping[str, Any], *changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merge nested values; later ones win."""
    result = dict(base)
    for change in changes:
        for key, value in change.items():
            old = result.get(key)
            both = isinstance(old, Mapping) and isinstance(value, Mapping)
            result[key] = merge(old, value) if both else value  # type: ignore[arg-type]
    return result


# Settings that there were not from the beginning. With their default they are left out of what is
# written and hashed, so that results from before them keep their name and their row: such a default
# must never change.
_LATER: dict[str, tuple[str, ...]] = {
    "": ("system", "degrade"),  # of no section
    "model": ("input", "pooling"),
    "augment": (
        *("flip_vertical", "warp", "rotate", "shift", "shear", "zoom"),
        *("blur_sigma", "noise_std", "jpeg", "jpeg_quality"),
    ),
    "training": ("loss", "class_weights"),
    "classical": tuple(f.name for f in dataclasses.fields(ClassicalConfig)),
}


def to_dict(config: RunConfig) -> dict[str, Any]:
    """Return nested plain values; unset ones, and later ones at their default, are left out."""

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: clean(v) for k, v in value.items() if v is not None}
        return [clean(v) for v in value] if isinstance(value, tuple) else value

    cleaned: dict[str, Any] = clean(dataclasses.asdict(config))
    for section, names in _LATER.items():
        written = cleaned[section] if section else cleaned
        used = getattr(config, section) if section else config
        default = type(used)()
        for name in names:
            if getattr(used, name) == getattr(default, name):
                del written[name]
        if not written:
            del cleaned[section]
    return cleaned


def write_toml(config: RunConfig, path: Path) -> None:
    """Write a configuration that `read_toml` reads back."""
    write_text(path, tomli_w.dumps(to_dict(config)))


def read_toml(path: Path) -> RunConfig:
    """Read a configuration.

    Raises:
      UserError: no such file, no TOML, or wrong settings.
    """
    return from_dict(load_toml(path), str(path))


def load_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file to nested values.

    Raises:
      UserError: no such file or no TOML.
    """
    try:
        return _parse_toml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        raise UserError(f"{path}: not a TOML file: {error}") from error


def _parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML.

    Raises:
      ValueError: no TOML, a number of thousands of digits, or lists in lists without end.
    """
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def config_hash(config: RunConfig) -> str:
    """Return 12 hex digits that name the whole configuration."""
    return hash_values(to_dict(config))


def training_hash(config: RunConfig) -> str:
    """Return 12 hex digits that name what a training depends on: all but evals and scoring."""
    values = to_dict(dataclasses.replace(config, eval=(), degrade=()))
    del values["scoring"]
    values["data"].pop("workers", None)  # changes the speed alone
    return hash_values(values)


def hash_values(values: Mapping[str, Any]) -> str:
    """Return 12 hex digits that name nested plain values, such as the configuration in a card."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]
