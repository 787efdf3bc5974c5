"""Classical models in the same run folders as networks: features, grid search, scores."""

from __future__ import annotations

import dataclasses
import datetime
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import sklearn
from jaxtyping import Float32, Float64, Int32
from sklearn.pipeline import Pipeline

from dfbench.classical import table
from dfbench.classical.catalog import CLASSICAL, ClassicalSpec, require
from dfbench.classical.detector import Detector, Facts, load, save
from dfbench.classical.extract import extract_features
from dfbench.classical.features import FeatureRecipe, Features, Models
from dfbench.classical.files import EMBEDDING, LANDMARKS, ModelFile, find_file
from dfbench.classical.folds import make_folds, video_groups
from dfbench.classical.search import Found, search
from dfbench.classical.sift import BagOfWords
from dfbench.config import RunConfig, TrainingConfig, training_hash, write_toml
from dfbench.data.clips import clip_table
from dfbench.data.prepared import Prepared
from dfbench.data.view import SplitView, split_view
from dfbench.degradations import Degradation
from dfbench.errors import UserError
from dfbench.eval.metrics import video_auc_of
from dfbench.eval.scores import sigmoid
from dfbench.files import write_text
from dfbench.progress import SILENT, Reporter
from dfbench.results.card import TrainingSummary
from dfbench.results.environment import environment
from dfbench.results.store import hash_folder
from dfbench.workflow.alone import alone
from dfbench.workflow.mirrored import drop_run, fetch_run, keep_run
from dfbench.workflow.places import Places
from dfbench.workflow.preparation import prepare_spec
from dfbench.workflow.record import RECORD, TrainingRecord, write_record, write_seen
from dfbench.workflow.training import CONFIG, TRAINED_ON, run_name

BEST = Path("checkpoints") / "best"  # where networks have theirs
SEARCH = "search.json"  # every choice of parameters, and its AUC on each fold
TABLE = "search.md"
OF_FACES = ("landmarks", "landmarks_embedding")  # features that dlib finds
UNSEEN = 0.05  # a larger share of crops in which dlib sees no face is worth a warning


def train_classical(
    config: RunConfig, places: Places, *, overwrite: bool = False, reporter: Reporter = SILENT
) -> Path:
    """Choose, fit and keep a classical model; return the run's folder, a finished one again.

    Parameters are chosen by cross-validation on the training dataset's train split. Its val split
    chooses nothing here: it is left for the threshold and the temperature. What was interrupted
    goes on by itself, since features are kept.

    Raises:
      UserError: settings, data or model files that cannot be used.
    """
    spec = check_classical(config)
    recipe, models = needed_files(spec, config, reporter)
    datasets = prepare_spec(config.train, config.data, places, reporter)
    files = [sha for sha in (recipe.landmark_model, recipe.embedding_model) if sha]
    run_dir = places.runs_dir / run_name(config, datasets, files=files)

    def reused() -> bool:
        if overwrite or not (run_dir / RECORD).is_file():
            return False
        keep_run(places, run_dir, reporter)  # if it was not sent to its end
        reporter.say(f"reusing the finished training {run_dir}")
        return True

    if not overwrite:
        fetch_run(places, run_dir, reporter)
    if reused():
        return run_dir
    with alone(run_dir, f"{run_dir} is being trained", reporter):
        if not reused():  # another job may have trained it meanwhile
            if overwrite:
                drop_run(places, run_dir, reporter)
            _train(config, spec, (recipe, models), datasets, run_dir, places, reporter)
    return run_dir


def _train(
    config: RunConfig,
    spec: ClassicalSpec,
    features: tuple[FeatureRecipe, Models],
    datasets: Sequence[Prepared],
    run_dir: Path,
    places: Places,
    reporter: Reporter,
) -> None:
    start = time.perf_counter()
    shutil.rmtree(run_dir, ignore_errors=True)
    write_toml(config, run_dir / CONFIG)
    found, detector = _fit(config, spec, *features, datasets, places, reporter)
    auc, loss = _val(detector, features[1], datasets, places, reporter)
    save(detector, run_dir / BEST)
    table.write_search(found.candidates, run_dir / SEARCH)
    title = f"{spec.name}, trained on {config.train}"
    write_text(run_dir / TABLE, table.markdown(found.candidates, title))
    write_seen(run_dir, clip_table(datasets, TRAINED_ON))
    write_record(
        run_dir,
        TrainingRecord(
            training_hash=training_hash(config),
            datasets=tuple(d.fingerprint() for d in datasets),
            summary=TrainingSummary(
                epochs=0,
                steps=found.fits,
                best_epoch=0,
                best_val_auc=auc,
                best_val_loss=loss,
                selected_by=selected_by(config),
                stopped_early=False,
                wall_seconds=time.perf_counter() - start,
                images_per_s=None,
            ),
            environment=environment(devices=True),
            checkpoint=hash_folder(run_dir / BEST),
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        ),
    )
    keep_run(places, run_dir, reporter)
    reporter.say(table.text(found.candidates))
    reporter.say(_said(found, auc, run_dir))


def check_classical(config: RunConfig) -> ClassicalSpec:
    """Return what a model's name stands for; whatever is wrong shows before data are prepared.

    Raises:
      UserError: a setting that only networks have, or a package that is not installed.
    """
    spec = CLASSICAL[config.model.name]
    for_networks = {
        "model.init (--init)": config.model.init,
        "phases": config.phases,
        "training.mix": config.training.mix,
        "model.input": config.model.input != "rgb",
    }
    for name, value in for_networks.items():
        if value:
            raise UserError(
                f"{name} is for networks; '{spec.name}' is a classical model without it"
            )
    require("skops", spec.name)
    if spec.features in OF_FACES:
        require("dlib", spec.name)
    return spec


def selected_by(config: RunConfig) -> str:
    """Return what chose the parameters, as the card has it."""
    kind = "videos" if config.classical.folds_by == "video" else "crops"
    return f"mean AUC of {config.classical.folds} folds of the training {kind}"


def needed_files(
    spec: ClassicalSpec, config: RunConfig, reporter: Reporter
) -> tuple[FeatureRecipe, Models]:
    """Return the recipe of crops that are scored, and the files that it needs."""
    if spec.features == "sift":
        return FeatureRecipe(name="sift", keypoints=config.classical.keypoints), Models()
    if spec.features == "nothing":
        return FeatureRecipe(name="nothing"), Models()
    landmarks, hashed = find_file(LANDMARKS, reporter)
    recipe = FeatureRecipe(name=spec.features, landmark_model=hashed.sha256)
    if spec.features == "landmarks":
        return recipe, Models(landmarks=landmarks)
    embedding, other = find_file(EMBEDDING, reporter)
    recipe = FeatureRecipe(
        name=spec.features, landmark_model=hashed.sha256, embedding_model=other.sha256
    )
    return recipe, Models(landmarks=landmarks, embedding=embedding)


def _fit(
    config: RunConfig,
    spec: ClassicalSpec,
    recipe: FeatureRecipe,
    models: Models,
    datasets: Sequence[Prepared],
    places: Places,
    reporter: Reporter,
) -> tuple[Found, Detector]:
    view, settings = split_view(datasets, "train"), config.classical
    rows = np.arange(len(view))
    if 0 < settings.crops < len(view):
        rng = np.random.default_rng(config.seed)
        rows = np.sort(rng.choice(len(view), settings.crops, replace=False))
    labels = view.labels[rows]
    grouped = settings.folds_by == "video"
    folds = make_folds(
        labels,
        video_groups(view)[rows] if grouped else None,
        folds=settings.folds,
        seed=config.seed,
    )
    reporter.say(f"{spec.name}: {len(rows)} of {len(view)} training crops of {config.train}")
    own = recipe
    if config.augment.blur + config.augment.noise > 0:
        own = dataclasses.replace(recipe, augment=config.augment, seed=config.seed)
    features = extract_features(
        view, rows, own, models, data_dir=places.data_dir, jobs=places.jobs, reporter=reporter
    )
    if not features.seen.any():
        what = "keypoints" if spec.features == "sift" else "a face (dlib's detector)"
        raise UserError(
            f"{config.train}: none of {len(rows)} training crops shows {what}; "
            f"'{spec.name}' needs crops of faces: `dfbench prepare` says where to look at them"
        )
    values, first = _first(features, spec, config)
    found = search(
        spec.families,
        values,
        labels,
        folds,
        weights=crop_weights(labels, config.training),
        pca=spec.features in OF_FACES,
        coarse=settings.grid == "coarse",
        seed=config.seed,
        jobs=places.jobs,
        reporter=reporter,
    )
    facts = Facts(
        model=spec.name,
        family=found.best.family,
        recipe=recipe,
        scikit_learn=sklearn.__version__,
    )
    return found, Detector(facts, Pipeline([*first, *found.pipeline.steps]))


def _first(
    features: Features, spec: ClassicalSpec, config: RunConfig
) -> tuple[Float32[np.ndarray, "n features"], list[tuple[str, BagOfWords]]]:
    """Return what the classifiers see, and the steps that come before them.

    The vocabulary is found once, on all training crops: it knows no labels.
    """
    if spec.features != "sift":
        return features.matrix(), []
    crops, settings = features.ragged(), config.classical
    try:
        words = BagOfWords(settings.words, random_state=config.seed).fit(crops)
    except ValueError as error:
        raise UserError(f"{config.train}: {error}; fewer words: --set classical.words=N") from error
    return words.transform(crops), [("words", words)]


def crop_weights(
    labels: Int32[np.ndarray, " n"], settings: TrainingConfig
) -> Float64[np.ndarray, " n"] | None:
    """Return the weight of each crop in training; None: all alike.

    Where networks draw both classes equally often, both weigh the same here.
    """
    if settings.class_weights:
        return np.array([settings.class_weights[label] for label in labels])
    if settings.balance == "none":
        return None
    return np.asarray((len(labels) / (2 * np.bincount(labels, minlength=2)))[labels], np.float64)


def _val(
    detector: Detector,
    models: Models,
    datasets: Sequence[Prepared],
    places: Places,
    reporter: Reporter,
) -> tuple[float | None, float]:
    """Return video AUC and log loss on the source's val split."""
    view = split_view(datasets, "val")
    logits, _ = _score(detector, models, view, places, reporter)
    signed = np.where(view.labels == 1, -logits, logits).astype(np.float64)
    auc = video_auc_of(view.labels, sigmoid(logits), view.video_codes)
    return auc, float(np.logaddexp(0.0, signed).mean())


def score_classical(
    run_dir: Path,
    view: SplitView,
    places: Places,
    reporter: Reporter = SILENT,
    degradation: Degradation | None = None,
) -> tuple[Float32[np.ndarray, " n"], tuple[str, ...]]:
    """Score the crops of a split, degraded if asked for, by a finished training.

    Returns:
      One logit a crop, and what a reader of the scores has to know.

    Raises:
      UserError: no such training, or a model file that is not the one it was trained with.
    """
    return _score(*load_classical(run_dir, reporter), view, places, reporter, degradation)


def load_classical(run_dir: Path, reporter: Reporter = SILENT) -> tuple[Detector, Models]:
    """Read a finished training, and find the model files that its features need.

    Raises:
      UserError: no such training, or a model file that is not the one it was trained with.
    """
    detector = load(run_dir / BEST)
    spec, recipe = CLASSICAL[detector.facts.model], detector.facts.recipe
    if spec.features not in OF_FACES:
        return detector, Models()
    require("dlib", spec.name)
    models = Models(
        landmarks=_same_file(LANDMARKS, recipe.landmark_model, reporter),
        embedding=_same_file(EMBEDDING, recipe.embedding_model, reporter),
    )
    return detector, models


def _same_file(wanted: ModelFile, sha256: str, reporter: Reporter) -> Path | None:
    if not sha256:
        return None
    path, found = find_file(wanted, reporter)
    if found.sha256 != sha256:
        raise UserError(
            f"{path}: not the file of {wanted.what} that the model was trained with (SHA-256 "
            f"{sha256[:12]}...); name that one with {wanted.variable}"
        )
    return path


def _score(
    detector: Detector,
    models: Models,
    view: SplitView,
    places: Places,
    reporter: Reporter,
    degradation: Degradation | None = None,
) -> tuple[Float32[np.ndarray, " n"], tuple[str, ...]]:
    features = extract_features(
        view,
        np.arange(len(view)),
        detector.facts.recipe,
        models,
        degradation=degradation,
        data_dir=places.data_dir,
        jobs=places.jobs,
        reporter=reporter,
    )
    blind = int((~features.seen).sum())
    notes: tuple[str, ...] = ()
    if blind > UNSEEN * len(features):
        what = "keypoints" if detector.facts.recipe.name == "sift" else "a face that dlib sees"
        notes = (f"{blind} of {len(features)} crops are without {what}",)
    return detector.logits(features), notes


def _said(found: Found, auc: float | None, run_dir: Path) -> str:
    best = found.best
    share = "" if best.pca is None else f" after PCA to {best.pca:.0%} of variance"
    note = f"; {found.note}" if found.note else ""
    val = "undefined" if auc is None else f"{auc:.3f}"
    return (
        f"chose {best.family}{share} of {len(found.candidates)} choices: AUC {best.mean:.3f} over "
        f"the folds, val video AUC {val}{note}; {run_dir}"
    )
