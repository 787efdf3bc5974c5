"""Miniatures of every dataset's official raw layout, with small rendered clips and known traps."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from dfbench.synth.dataset import Job, render_clips

BOM = "\ufeff"
TARGETS = 12  # rendered people: a real clip of each, and fakes with the faces of two others
DONORS: tuple[Callable[[int], int], ...] = (lambda target: target ^ 1, lambda target: target ^ 2)
FOOTAGE = {"000": "shared-source", "004": "shared-source"}  # train and test of FaceForensics++


@dataclass(frozen=True)
class Pool:
    """Rendered clips that the miniatures are made of, each used at most once in a miniature.

    Reals are numbers 0 to 11, fakes 0 to 23: fake n is of the same person as real n modulo 12.
    """

    folder: Path

    def place(self, path: Path, number: int, *, fake: bool = False) -> None:
        """Put a clip at `path`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(self._clip(number, fake), path)

    def frames(self, number: int, *, fake: bool = False) -> list[np.ndarray]:
        """Return a clip's frames, RGB."""
        with av.open(str(self._clip(number, fake))) as file:
            return [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]

    def image(self, path: Path, number: int, *, fake: bool = False, frame: int = 0) -> None:
        """Write a frame of a clip as JPEG, whatever the file is called."""
        path.parent.mkdir(parents=True, exist_ok=True)
        bgr = cv2.cvtColor(self.frames(number, fake=fake)[frame], cv2.COLOR_RGB2BGR)
        good, data = cv2.imencode(".jpg", bgr)
        assert good
        path.write_bytes(data.tobytes())

    def _clip(self, number: int, fake: bool) -> Path:
        assert number < (len(DONORS) if fake else 1) * TARGETS, "used already"
        turn, target = divmod(number, TARGETS)
        donor = DONORS[turn](target)
        return self.folder / (
            f"fake/{target:03}_{donor:03}.mp4" if fake else f"real/{target:03}.mp4"
        )


def render_pool(folder: Path) -> Pool:
    """Render the clips, once for all processes of a test session."""
    if not folder.is_dir():
        work = folder.with_name(f"{folder.name}.{os.getpid()}")
        for target in range(TARGETS):
            job = Job(dataset="synth_swap", split="train", target=target, donor=None)
            swapped = [
                Job(dataset="synth_swap", split="train", target=target, donor=donor(target))
                for donor in DONORS
            ]
            render_clips((job, *swapped), work)
        try:
            work.rename(folder)
        except OSError:  # another process was first
            assert folder.is_dir()
    return Pool(folder)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def uadfv(root: Path, pool: Pool) -> None:
    """Write pairs 0000 to 0005; the fake of 0005 is missing, and a download left a copy."""
    for number in range(6):
        pool.place(root / f"real/{number:04}.mp4", number)
        if number != 5:
            pool.place(root / f"fake/{number:04}_fake.mp4", number, fake=True)
    pool.place(root / "real/0003 (1).mp4", 3)
    _write(root / "real/Thumbs.db", "junk")
    _write(root / "fake/._0000_fake.mp4", "junk")


def celebdf(
    root: Path,
    pool: Pool,
    *,
    real: int = 178,
    fake: int = 340,
    val: tuple[str, str] = ("id50", "id51"),
) -> None:
    """Write a few people; the list, with a byte-order mark, names many clips that are not there."""
    people = ["id0", "id1", *val]
    for number, person in enumerate(people):
        for take in range(2):
            pool.place(root / f"Celeb-real/{person}_000{take}.mp4", 2 * number + take)
    swaps = [("id0", "id1"), ("id1", "id0"), val, val[::-1], ("id0", val[0])]
    for number, (a, b) in enumerate(swaps):
        for take in range(2):
            name = f"Celeb-synthesis/{a}_{b}_000{take}.mp4"
            pool.place(root / name, 2 * number + take, fake=True)
    for number in range(4):
        pool.place(root / f"YouTube-real/0000{number}.mp4", 8 + number)
    listed_real = ["Celeb-real/id0_0001.mp4", "YouTube-real/00003.mp4"]
    listed_fake = [
        "Celeb-synthesis/id0_id1_0001.mp4",
        f"Celeb-synthesis/{val[1]}_{val[0]}_0001.mp4",
    ]
    listed_real += [f"Celeb-real/id2_{n:04}.mp4" for n in range(real - 2)]
    listed_fake += [f"Celeb-synthesis/id2_id3_{n:04}.mp4" for n in range(fake - 2)]
    lines = [f"1 {name}" for name in listed_real] + [f"0 {name}" for name in listed_fake]
    _write(root / "List_of_testing_videos.txt", BOM + "\r\n".join(lines) + "\r\n")


def celebdf_v1(root: Path, pool: Pool) -> None:
    """Write the same with the shorter list of version 1."""
    celebdf(root, pool, real=38, fake=62, val=("id10", "id11"))


def ffpp_lists(root: Path) -> None:
    """Write the split lists: videos 2 k and 2 k + 1 are a pair; 0 and 1 train, 2 val, 4 test."""
    pairs = {"train": [(0, 1)], "val": [(2, 3)], "test": [(4, 5)]}
    rest = [(n, n + 1) for n in range(6, 1000, 2)]
    for split, count in {"train": 360, "val": 70, "test": 70}.items():
        while len(pairs[split]) < count:
            pairs[split].append(rest.pop())
        listed = [[f"{a:03}", f"{b:03}"] for a, b in pairs[split]]
        _write(root / f"splits/{split}.json", json.dumps(listed, indent=1))
    footage = {f"{n:03}": f"{FOOTAGE.get(f'{n:03}', f'source-{n}')} 0" for n in range(1000)}
    _write(root / "conversion_dict.json", json.dumps(footage))


def ffpp(root: Path, pool: Pool, *, compressions: Iterable[str] = ("c23", "c40")) -> None:
    """Write six videos and three manipulations: `000_001` and the like under each of them."""
    ffpp_lists(root)
    for compression in compressions:
        for number in range(6):
            folder = f"original_sequences/youtube/{compression}/videos"
            pool.place(root / folder / f"00{number}.mp4", number)
            for step, name in enumerate(("Deepfakes", "FaceSwap", "NeuralTextures")):
                folder = f"manipulated_sequences/{name}/{compression}/videos"
                fake = f"00{number}_00{number ^ 1}.mp4"
                if (name, number) != ("FaceSwap", 5):  # missing
                    pool.place(root / folder / fake, number + 6 * step, fake=True)


def dfd(root: Path, pool: Pool) -> None:
    """Write four actors' scenes."""
    people = ("01", "02", "28", "15")
    for number, person in enumerate(people):
        for step, scene in enumerate(("exit_phone_room", "talking_angry_couch")):
            name = f"original_sequences/actors/c23/videos/{person}__{scene}.mp4"
            pool.place(root / name, 2 * number + step)
            other = people[number ^ 1]
            name = f"{person}_{other}__{scene}__A1B2C3D{number}.mp4"
            folder = root / "manipulated_sequences/DeepFakeDetection/c23/videos"
            pool.place(folder / name, 2 * number + step, fake=True)


def dfdc(root: Path, pool: Pool) -> None:
    """Write two parts, one as its archive unpacks, and a test set.

    Its list, with a byte-order mark and without a header, names many more.
    """
    names = iter("abcdefghijklmnopqrstuvwxyz")
    for number, folder in enumerate(("dfdc_train_part_0", "dfdc_train_part_07/dfdc_train_part_7")):
        about: dict[str, dict[str, str | None]] = {}
        for k in range(4):
            real, fake = (f"{next(names) * 10}.mp4" for _ in range(2))
            pool.place(root / folder / real, 4 * number + k)
            pool.place(root / folder / fake, 4 * number + k, fake=True)
            about[real] = {"label": "REAL", "split": "train", "original": None}
            about[fake] = {"label": "FAKE", "split": "train", "original": real}
        about["notherexyz.mp4"] = {"label": "FAKE", "split": "train", "original": real}
        _write(root / folder / "metadata.json", json.dumps(about))
        pool.place(root / folder / f"unlisted{'ab'[number]}.mp4", 8 + number)
    rows = []
    for k in range(4):
        name = f"{next(names) * 10}.mp4"
        pool.place(root / "test" / name, 8 + k, fake=bool(k % 2))
        rows.append(f"{name},{k % 2}")
    rows += [f"{_letters(n)}.mp4,{n % 2}" for n in range(4996)]
    _write(root / "test/labels.csv", BOM + "\n".join(rows) + "\n")


def _letters(number: int) -> str:
    return "q" + "".join(chr(97 + int(digit)) for digit in f"{number:04}")


def dfdc_preview(root: Path, pool: Pool) -> None:
    """Write three people by two methods; the list names a clip that is not there."""
    about = {}
    for number, person in enumerate((1001, 1002, 1003)):
        other = 1001 + (number + 1) % 3
        which = {
            "set": "test" if number == 2 else "train",
            "augmentations": [],
            "target_id": person,
        }
        name = f"original_videos/{person}/{person}_A_001.mp4"
        pool.place(root / name, number)
        about[name] = {"label": "real", "swapped_id": None} | which
        for step, method in enumerate("AB"):
            name = f"method_{method}/{person}_{other}/{person}_{other}_{method}_001.mp4"
            pool.place(root / name, number + 4 * step, fake=True)
            about[name] = {"label": "fake", "swapped_id": other} | which
    for n in range(777 - 3):
        about[f"method_A/9_9/9_9_A_{n:03}.mp4"] = {"label": "fake", "set": "test", "target_id": 9}
    _write(root / "dataset.json", json.dumps(about))


def dftimit(root: Path, pool: Pool) -> None:
    """Write four people; real videos are folders of JPEG files without an ending."""
    people = ("fadg0", "fram1", "mccs0", "mgwt0")
    for number, person in enumerate(people):
        for step, said in enumerate(("sa1", "si649")):
            for quality in ("higher_quality", "lower_quality"):
                name = f"DeepfakeTIMIT/{quality}/{person}/{said}-video-{people[number ^ 1]}.avi"
                pool.place(root / name, 2 * number + step, fake=True)
            if (person, said) != ("mgwt0", "si649"):  # missing
                for frame in range(4):
                    name = f"VidTIMIT/{person}/video/{said}/{frame + 1:03}"
                    pool.image(root / name, 2 * number + step, frame=frame)
    pool.image(root / "VidTIMIT/mbdg0/video/sa1/001", 9)  # nobody swapped with
    pool.image(root / "VidTIMIT/fadg0/video/head/001", 10)


def catania(root: Path, pool: Pool) -> None:
    """Write images of two real sources and three generators."""
    for step, name in enumerate(("CelebA", "FFHQ", "AttGAN", "StarGAN", "StyleGAN2")):
        for number in range(8):
            path = root / name / f"{name.lower()}_{number}.{'png' if step % 2 else 'jpg'}"
            pool.image(path, number + 8 * max(step - 2, 0), fake=step > 1, frame=step)


def cvcs_dfd(root: Path, pool: Pool) -> None:
    """Write both of its members, one of them as a link."""
    catania(root / "catania", pool)
    ffpp(root.with_name(f"{root.name}-elsewhere"), pool)
    (root / "ffpp").symlink_to(root.with_name(f"{root.name}-elsewhere"), target_is_directory=True)


MINIATURES: dict[str, Callable[[Path, Pool], None]] = {
    "uadfv": uadfv,
    "celebdf": celebdf,
    "celebdf_v1": celebdf_v1,
    "ffpp/c23": ffpp,
    "ffpp/c40": ffpp,
    "dfd": dfd,
    "dfdc": dfdc,
    "dfdc_preview": dfdc_preview,
    "dftimit/hq": dftimit,
    "dftimit/lq": dftimit,
    "catania": catania,
    "cvcs_dfd": cvcs_dfd,
}


# --- odd videos -----------------------------------------------------------------------------------


def write_frames(path: Path, frames: list[np.ndarray], *, times: list[int] | None = None) -> None:
    """Write frames as H.264; `times` in hundredths of a second where they are not regular."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 100)
        for number, image in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            picture.pts = times[number] if times else 4 * number
            picture.time_base = Fraction(1, 100)
            file.mux(stream.encode(picture))
        file.mux(stream.encode(None))


def lay_on_side(path: Path) -> None:
    """Set the rotation of an MP4 file to 90 degrees, as phones do, in its track header's matrix."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 40  # after version, flags, times, id and the like
    turned = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    data[start : start + 36] = b"".join(n.to_bytes(4, "big", signed=True) for n in turned)
    path.write_bytes(bytes(data))
