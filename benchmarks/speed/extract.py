"""Throughput of face extraction: `python benchmarks/speed/extract.py [--faces DIR]`.

Renders 1080p clips (H.264, a portrait before a background that moves) and works on them in turns:
decoding alone (all frames decoded, the wanted ones made to pictures), dfbench's extraction of the
same frames, and, where `dlib` is installed, the same with the field's usual detector: dlib's HOG,
the frame upsampled once. Each is one thread of work on one core, as in a pool of one process a
core; a ratio is of neighbours in time. Then `dfbench prepare` of the clips, twice, as a command.
Writes a table to benchmarks/speed/results; the exit status is 1 where a limit is missed.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import importlib.util
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np

from dfbench.config import DetectorName
from dfbench.errors import UserError
from dfbench.faces.clip import Clip, CropRecipe
from dfbench.faces.detect import load_detector, resolve_detector
from dfbench.faces.face import Detector, Face
from dfbench.faces.images import IMAGE_SUFFIXES, RGB, read_image
from dfbench.faces.one_clip import extract_clip
from dfbench.faces.video import read_frames
from dfbench.paths import model_files_dir
from dfbench.results.environment import machine_name, machine_text
from dfbench.synth.face import build_head
from dfbench.synth.identity import make_identity
from dfbench.synth.scene import Camera, expose, make_scene, render_moment
from dfbench.synth.video import FPS, h264, write_video

RESULTS = Path(__file__).resolve().parent / "results"
MOST_OVER_DECODING, LEAST_OVER_DLIB, MOST_SECOND_PREPARE = 1.25, 10.0, 2.0  # times, times, s
PART = 0.6  # of the frame's height that a portrait fills
# Of 255, standard deviation: about 1 Mbit/s. Most video has more, which only the decoder feels.
NOISE = 3.0
FIELDS = 8  # of noise, in turn

DECODING, OURS, DLIB = "decoding alone", "dfbench", "dlib HOG, upsampled once"
Side = Callable[[Clip], tuple[int, int]]  # frames looked at, and faces found


# --- clips ----------------------------------------------------------------------------------------


class Shot(Sequence[RGB]):
    """Frames of a portrait that sways before a background that pans; made when asked for."""

    def __init__(self, portrait: RGB, frames: int, height: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._frames, self._height, self._width = frames, height, 16 * height // 9 // 2 * 2
        tall = round(PART * height)
        size = (round(tall * portrait.shape[1] / portrait.shape[0]), tall)
        self._portrait = cv2.resize(portrait, size, interpolation=cv2.INTER_CUBIC)
        self._room = _room(rng, 2 * height, 2 * self._width)
        shape = (FIELDS, height, self._width, 1)
        self._noise = np.rint(NOISE * rng.standard_normal(shape, np.float32)).astype(np.int16)

    def __len__(self) -> int:
        return self._frames

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < self._frames:
            raise IndexError(index)
        time_s = index / FPS
        x, y = round(self._width / 2 * time_s / 20), round(self._height / 4)
        frame = self._room[y : y + self._height, x : x + self._width].copy()
        tall, wide = self._portrait.shape[:2]
        left = round((self._width - wide) * (0.5 + 0.2 * np.sin(0.7 * time_s)))
        top = round((self._height - tall) * (0.5 + 0.2 * np.sin(1.1 * time_s)))
        frame[top : top + tall, left : left + wide] = self._portrait
        return np.clip(frame + self._noise[index % FIELDS], 0, 255).astype(np.uint8)


def _room(rng: np.random.Generator, height: int, width: int) -> RGB:
    """Return coarse and fine colour noise, in which no detector sees a face."""
    room = np.zeros((height, width, 3), np.float32)
    for cells, weight in ((6, 0.7), (40, 0.2), (200, 0.1)):
        small = rng.uniform(0, 255, (cells, 2 * cells, 3)).astype(np.float32)
        room += weight * cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(room, 0, 255), np.uint8)


def portraits(folder: Path | None, count: int) -> list[RGB]:
    """Return pictures of faces: of a folder, or rendered ones."""
    if folder is None:
        return [_rendered(seed) for seed in range(count)]
    files = sorted(f for f in folder.glob("*") if f.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise UserError(f"{folder}: no image in this folder (--faces)")
    return [read_image(files[i * len(files) // count]) for i in range(count)]


def _rendered(seed: int) -> RGB:
    scene = make_scene(np.random.default_rng(seed), 1)
    frame, _ = render_moment(scene, build_head(make_identity(seed)), scene.moments[0])
    camera = Camera(blur=0, noise=0, grain=0, gains=(1, 1, 1), gamma=1, sharpen=0)
    return np.asarray(np.clip(expose(frame, camera), 0, 255), np.uint8)


def render(root: Path, options: argparse.Namespace) -> list[Clip]:
    """Write the clips as a folder dataset: `root/real/*.mp4` and `root/fake/*.mp4`."""
    clips = []
    for number, portrait in enumerate(portraits(options.faces, options.clips)):
        kind = "fake" if number % 2 else "real"
        path = root / kind / f"{number}.mp4"
        write_video(path, Shot(portrait, options.frames, options.height, number), h264(23))
        clips.append(
            Clip(path=path, label=number % 2, split="test", video=path.name, manipulation=kind)
        )
    return clips


# --- turns ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Turn:
    """One side's work on one clip."""

    seconds: float
    looked: int
    found: int


def sides(options: argparse.Namespace, recipe: CropRecipe) -> dict[str, Side]:
    """Return what is compared, as functions of a clip."""

    def decode(clip: Clip) -> tuple[int, int]:
        return len(read_frames(clip.path, recipe.frames, recipe.policy)), 0

    def extraction(detector: Detector) -> Side:
        def extract(clip: Clip) -> tuple[int, int]:
            result = extract_clip(clip, recipe, detector)
            return result.wanted, len(result.crops)

        return extract

    choice = resolve_detector(recipe.detector, options.detector_model, cache_dir=model_files_dir())
    if choice.note:
        raise UserError(choice.note)
    found = {DECODING: decode, OURS: extraction(load_detector(choice))}
    if importlib.util.find_spec("dlib"):
        found[DLIB] = extraction(_dlib())
    else:
        print("dlib is not installed: it is left out", file=sys.stderr)
    return found


def _dlib() -> Detector:
    import dlib

    find = dlib.get_frontal_face_detector()

    def detect(image: RGB) -> list[Face]:
        return [
            Face((r.left(), r.top(), r.right() + 1, r.bottom() + 1), 1.0) for r in find(image, 1)
        ]

    return detect


def measure(clips: list[Clip], work: dict[str, Side], rounds: int) -> dict[str, list[Turn]]:
    """Let all sides take turns at each clip; a first round is not counted."""
    turns: dict[str, list[Turn]] = {name: [] for name in work}
    for number in range(rounds + 1):
        for clip in clips if number else clips[:1]:
            for name, side in work.items():
                start = time.perf_counter()
                looked, found = side(clip)
                if number:
                    turns[name].append(Turn(time.perf_counter() - start, looked, found))
    return turns


@contextmanager
def one_core() -> Iterator[bool]:
    """Keep this process on one core, where the system can; tell whether it does."""
    cv2.setNumThreads(1)  # as in the processes of `dfbench prepare`
    if not hasattr(os, "sched_setaffinity"):
        yield False
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield True
    finally:
        os.sched_setaffinity(0, before)


def prepare_seconds(root: Path, recipe: CropRecipe, options: argparse.Namespace) -> list[float]:
    """Prepare the clips by the command line; return the seconds of each later call."""
    command = [sys.executable, "-m", "dfbench.cli", "prepare", f"folder:{root}"]
    command += ["--data-dir", str(root.parent / "data"), "--detector", recipe.detector]
    if options.detector_model:
        command += ["--detector-model", str(options.detector_model)]
    seconds = []
    for _ in range(options.rounds + 1):
        start = time.perf_counter()
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        seconds.append(time.perf_counter() - start)
        if done.returncode:
            raise UserError(f"dfbench prepare failed: {done.stderr.strip()}")
    return seconds[1:]


# --- page -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Check:
    """A figure and what it is to be."""

    what: str
    values: list[float]
    limit: float
    unit: str
    at_least: bool

    @property
    def median(self) -> float:
        """The figure."""
        return statistics.median(self.values)

    @property
    def good(self) -> bool:
        """Whether it is what it is to be."""
        return self.median >= self.limit if self.at_least else self.median <= self.limit

    def row(self) -> str:
        """Return the row of the table."""
        how = "at least" if self.at_least else "at most"
        spread = f"{min(self.values):.2f}-{max(self.values):.2f}"
        return (
            f"| {self.what} | {self.median:.2f}{self.unit} | {spread} | "
            f"{how} {self.limit:g}{self.unit} | {'yes' if self.good else '**no**'} |"
        )


def checks(turns: dict[str, list[Turn]], second: list[float]) -> list[Check]:
    """Return the figures that have a limit."""

    def ratios(above: str, below: str) -> list[float]:
        pairs = zip(turns[above], turns[below], strict=True)
        return [one.seconds / other.seconds for one, other in pairs]

    found = [
        Check("dfbench / decoding alone", ratios(OURS, DECODING), MOST_OVER_DECODING, "x", False)
    ]
    if DLIB in turns:
        found.append(Check("dlib HOG / dfbench", ratios(DLIB, OURS), LEAST_OVER_DLIB, "x", True))
    found.append(Check("second `dfbench prepare`", second, MOST_SECOND_PREPARE, " s", False))
    return found


def report(
    today: str,
    options: argparse.Namespace,
    recipe: CropRecipe,
    turns: dict[str, list[Turn]],
    found: list[Check],
    clips: str,
    pinned: bool,
) -> str:
    """Return the page: what, on what, how, and the tables."""
    packages = ["dfbench", "mediapipe", "opencv-contrib-python", "av"]
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    if DLIB in turns:
        import dlib

        versions += f", dlib {dlib.__version__}"
    core = "one core" if pinned else "all cores (this system has no affinity)"
    lines = [
        "# Face extraction",
        "",
        f"- {today}; {machine_text()}",
        f"- Python {platform.python_version()}, {versions}",
        f"- {clips}",
        f"- `{recipe.detector}`, {recipe.frames} frames a clip, crops of {recipe.size} px as "
        f"{recipe.format.upper()}",
        f"- one process on {core} for each side; {options.rounds} rounds in which the sides take "
        "turns at each clip; ratios are of neighbours in time: median, lowest-highest",
        "",
        "| what | s a clip | clips a minute | faces in frames |",
        "|---|---|---|---|",
    ]
    for name, one in turns.items():
        seconds = statistics.median(turn.seconds for turn in one)
        faces = f"{sum(turn.found for turn in one)} of {sum(turn.looked for turn in one)}"
        cells = [name, f"{seconds:.2f}", f"{60 / seconds:.1f}", "-" if name == DECODING else faces]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| figure | median | range | limit | met |", "|---|---|---|---|---|"]
    return "\n".join([*lines, *(check.row() for check in found)]) + "\n"


def _described(clips: list[Clip], options: argparse.Namespace) -> str:
    rate = sum(clip.path.stat().st_size for clip in clips) * 8 * FPS / options.frames / len(clips)
    faces = "portraits of --faces" if options.faces else "rendered faces"
    return (
        f"{len(clips)} clips of {options.frames} frames, {16 * options.height // 9 // 2 * 2}x"
        f"{options.height}, H.264, {rate / 1e6:.1f} Mbit/s, {faces}"
    )


def _options(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=Path, help="folder of portraits; else rendered ones")
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--frames", type=int, default=300, help="of a clip")
    parser.add_argument("--height", type=int, default=1080, help="of a frame, px")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--detector", choices=get_args(DetectorName), default=CropRecipe().detector)
    parser.add_argument("--detector-model", type=Path, help="as of dfbench prepare")
    parser.add_argument("--output", type=Path, help="folder of the table", default=RESULTS)
    options = parser.parse_args(given)
    for name in ("clips", "frames", "height", "rounds"):
        if getattr(options, name) < 1:
            parser.error(f"--{name}: one at least")
    if options.clips < 2:
        parser.error("--clips: two at least, a real one and a fake one")
    return options


def main() -> int:
    """Render, measure, write and print the table."""
    options = _options(sys.argv[1:])
    recipe = CropRecipe(detector=options.detector)
    try:
        with tempfile.TemporaryDirectory() as temporary:
            root = Path(temporary) / "clips"
            clips = render(root, options)
            described = _described(clips, options)
            with one_core() as pinned:
                turns = measure(clips, sides(options, recipe), options.rounds)
            second = prepare_seconds(root, recipe, options)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    found = checks(turns, second)
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    page = report(today, options, recipe, turns, found, described, pinned)
    print(page)
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / f"{today}-extract-{machine_name()}.md"
    path.write_text(page, encoding="utf-8")
    print(f"written: {path}")
    return 0 if all(check.good for check in found) else 1


if __name__ == "__main__":
    sys.exit(main())
