"""The result card: everything about one cell, as plain frozen dataclasses."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from dfbench.paths import folder_name, slug

SCHEMA_VERSION = 2
ClassName = Literal["real", "fake"]
Role = Literal["within", "across", "unknown"]  # unknown: what it was trained on is not known


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A number with its interval.

    An undefined one is None, and `reason` says why: it is never 0 or 0.5. `reason` with a value
    says why there is no interval.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0  # videos or frames counted
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One entry of the benchmark."""

    model: str
    train: str  # dataset spec, as the user wrote it; of a foreign detector what it claims, or ""
    eval: str  # dataset spec
    seed: int
    degrade: str = ""  # what was done to the crops before they were scored: "jpeg:50"

    @property
    def scored(self) -> str:
        """What was scored, for a reader: `celebdf`, or degraded `celebdf@jpeg:50`."""
        if not self.degrade:
            return self.eval
        whole = f"({self.eval})" if "," in self.eval else self.eval  # of a union all
        return f"{whole}@{self.degrade}"


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Clips and frames of one class in one split."""

    clips: int
    clips_with_crops: int
    frames_wanted: int
    frames: int


@dataclass(frozen=True, kw_only=True)
class Coverage(Counts):
    """How much of one class of the evaluated split could be scored."""

    reasons: dict[str, int] = field(default_factory=dict)  # why clips gave no crop -> clips

    def __add__(self, other: Coverage) -> Coverage:
        """Return the coverage of two datasets together."""
        reasons = Counter(self.reasons) + Counter(other.reasons)
        return Coverage(
            clips=self.clips + other.clips,
            clips_with_crops=self.clips_with_crops + other.clips_with_crops,
            frames_wanted=self.frames_wanted + other.frames_wanted,
            frames=self.frames + other.frames,
            reasons=dict(sorted(reasons.items())),
        )


@dataclass(frozen=True, kw_only=True)
class DatasetFingerprint:
    """What a prepared dataset was made from, and how."""

    name: str
    version: str
    variant: str
    recipe: dict[str, Any]  # of the face crops
    detector_note: str  # why another detector than the one asked for was used
    clips_sha256: str  # of the clips' names, labels and splits
    counts: dict[str, Counts]  # "train/fake/Deepfakes": split, class, manipulation
    crops_sha256: str = ""  # of the crops' bytes


@dataclass(frozen=True, kw_only=True)
class Datasets:
    """Both sides of a cell; each is a tuple, since a spec may be a union."""

    train: tuple[DatasetFingerprint, ...]
    eval: tuple[DatasetFingerprint, ...]


@dataclass(frozen=True, kw_only=True)
class TrainingSummary:
    """How the scored checkpoint came about."""

    epochs: int
    steps: int
    best_epoch: int
    best_val_auc: float | None
    best_val_loss: float | None
    selected_by: str  # what chose the epoch, on the training dataset's val split
    stopped_early: bool
    wall_seconds: float
    images_per_s: float | None  # None: too short to be timed


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What the training data (train and val) and the evaluated split share."""

    shared_videos: int
    shared_identities: int
    shared_footage: int = 0  # longer videos that clips of both were cut from
    shared_originals: int = 0  # real clips that fakes of one were made from, and that both show
    exact_duplicates: int = 0  # evaluated clips whose bytes were trained on
    near_duplicates: int = 0  # evaluated clips that look like one that was trained on
    clips: int = 0  # evaluated clips concerned by any of these
    note: str = ""  # an example
    allowed: bool = False  # clips that were trained on are scored, as --allow-leak asked for


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Where it ran."""

    python: str
    platform: str
    cpu_count: int
    packages: dict[str, str]  # name -> version
    device_kind: str
    device_count: int
    git_commit: str | None  # None: not a checkout
    git_dirty: bool | None


@dataclass(frozen=True, kw_only=True)
class Times:
    """When, how long and how fast it was scored."""

    created: str  # UTC, ISO 8601
    scoring_seconds: float | None  # None: scored elsewhere
    images_per_s: float | None


@dataclass(frozen=True, kw_only=True)
class FileHash:
    """A file that the card speaks of."""

    sha256: str
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Videos by their class and what they were called at a threshold."""

    threshold: float  # of P(fake); a video at it is called fake
    fake_as_fake: int
    fake_as_real: int
    real_as_fake: int
    real_as_real: int


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What was chosen on the training dataset's val split, for all evaluated datasets alike."""

    threshold: float | None  # of P(fake), with the highest balanced accuracy over val videos
    temperature: float | None  # logits are divided by it, for the lowest log loss over val frames
    videos: int  # of the val split
    reason: str = ""  # why one is None


@dataclass(frozen=True, kw_only=True)
class OracleGap:
    """What choosing the checkpoint on the evaluated data would have gained; never ranked by."""

    epoch: int  # with the highest video AUC on the evaluated data
    video_auc: float | None  # of that epoch
    gain: float | None  # over the epoch that was chosen on the source's val split
    epochs: int  # that were compared


@dataclass(frozen=True, kw_only=True)
class ResultCard:
    """One cell's result and all that is needed to judge and recompute it."""

    cell: Cell
    role: Role
    config: dict[str, Any]  # nested plain values
    config_hash: str
    training_hash: str
    datasets: Datasets
    metrics: dict[str, Metric]
    coverage: dict[ClassName, Coverage]  # of the evaluated split
    training: TrainingSummary | None  # None: trained elsewhere
    audit: Audit | None  # None: the training data are not known
    environment: Environment
    times: Times
    files: dict[str, FileHash]  # "scores", "val_scores", "checkpoint", "init"
    warnings: tuple[str, ...] = ()  # what a reader of the number has to know of its data
    protocol: str | None = None
    # "manipulation/Deepfakes" -> metrics of those fakes against all reals
    breakdown: dict[str, dict[str, Metric]] = field(default_factory=dict)
    confusion: dict[str, Confusion] = field(default_factory=dict)  # "fixed", "source_val"
    calibration: Calibration | None = None  # None: no scores of a source val split
    oracle: OracleGap | None = None  # None: not asked for
    origin: Literal["run", "scores"] = "run"  # trained here, or scores that were handed in
    status: Literal["complete"] = "complete"
    schema_version: int = SCHEMA_VERSION


def role_of(cell: Cell) -> Role:
    """Return "within" where a model is scored on (the test split of) what it was trained on."""
    if not cell.train:
        return "unknown"
    return "within" if cell.train == cell.eval else "across"


def card_name(cell: Cell) -> str:
    """Return the file name of a cell's card."""
    parts = [slug(cell.model), slug(cell.train or "unknown"), slug(cell.eval)]
    parts += [slug(cell.degrade)] if cell.degrade else []
    return "--".join((*parts, f"s{cell.seed}")) + ".card.json"


def eval_folder(cell: Cell) -> str:
    """Return the name of the folder of a cell's card below its run.

    No spec gives a name with `@`, so that of degraded crops is no other's.
    """
    clean = folder_name(cell.eval)
    return f"{clean}@{slug(cell.degrade)}" if cell.degrade else clean
