from __future__ import annotations

import pytest

from dfbench.data.names import ClipNames
from dfbench.data.roster import Listed
from dfbench.faces.clip import Split


def clip(
    video: str, *, dataset: str = "", split: Split = "test", path: str = "", kept: bool = True
) -> Listed:
    kind, manipulation = video.split("/")[:2]
    return Listed(
        dataset=dataset or kind,
        video=video,
        split=split,
        label=int(manipulation != "real"),
        manipulation=manipulation,
        path=path,
        kept=kept,
    )


FFPP = [
    clip("ffpp/real/000"),
    clip("ffpp/real/100", split="train"),
    *(clip(f"ffpp/{m}/000_003") for m in ("Deepfakes", "Face2Face", "FaceSwap")),
    clip("ffpp/FaceSwap/003_000"),
]


def found(names: ClipNames, clips: list[Listed], *name: str) -> str:
    match = names.find(*name)
    return clips[match.clip].key if match.clip is not None else match.problem


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("ffpp/Face2Face/000_003", "ffpp/Face2Face/000_003"),
        ("Face2Face/000_003", "ffpp/Face2Face/000_003"),
        ("manipulated_sequences/FaceSwap/c23/videos/000_003.mp4", "ffpp/FaceSwap/000_003"),
        ("C:\\data\\FaceSwap\\000_003.MP4", "ffpp/FaceSwap/000_003"),
        ("./x/deepfakes//000_003.avi", "ffpp/Deepfakes/000_003"),
        ("003_000", "ffpp/FaceSwap/003_000"),
        ("original_sequences/youtube/c23/videos/000.mp4", "ffpp/real/000"),
        ("/data/raw/000.mp4", "ffpp/real/000"),
        (" 000 ", "ffpp/real/000"),
        ("100", "ffpp/real/100"),
    ],
)
def test_a_key_or_the_end_of_a_path(name: str, key: str) -> None:
    assert found(ClipNames(FFPP), FFPP, name) == key


@pytest.mark.parametrize("name", ["", "/", "0000", "ffpp", "real", "000.mp4.part", "FaceSwap/"])
def test_what_no_clip_is_called(name: str) -> None:
    match = ClipNames(FFPP).find(name)
    assert (match.clip, match.problem) == (None, "")


def test_an_ambiguous_name_says_what_it_may_mean() -> None:
    names = ClipNames(FFPP)
    assert found(names, FFPP, "000_003.mp4") == (
        "may be 'ffpp/Deepfakes/000_003' or 'ffpp/Face2Face/000_003' or 'ffpp/FaceSwap/000_003'"
    )
    assert found(names, FFPP, "000_003", "", "FaceSwap") == "ffpp/FaceSwap/000_003"
    many = [clip(f"ffpp/M{n}/a") for n in range(5)]
    assert found(ClipNames(many), many, "a").endswith("'ffpp/M2/a' or 2 others")


def test_of_several_the_one_that_is_scored_is_meant() -> None:
    clips = [
        clip("ffpp/Deepfakes/000_003", kept=False),
        clip("ffpp/FaceSwap/000_003"),
        clip("folder/real/train/a.png", split="train"),
        clip("folder/real/test/a.png"),
    ]
    assert found(ClipNames(clips), clips, "000_003") == "ffpp/FaceSwap/000_003"
    assert found(ClipNames(clips), clips, "x/a.png") == "folder/real/test/a.png"
    assert found(ClipNames(clips, "train"), clips, "x/a.png") == "folder/real/train/a.png"
    assert found(ClipNames(clips), clips, "train/a.png") == "folder/real/train/a.png"


def test_another_manipulation_or_variant_is_not_taken_for_the_clip() -> None:
    names = ClipNames(FFPP, other_variants=("c40", "raw"))
    says = "says another manipulation or variant than '{}'"
    assert found(names, FFPP, "FaceSwap/c40/000.mp4") == says.format("ffpp/real/000")
    assert found(names, FFPP, "youtube/c40/videos/000.mp4") == says.format("ffpp/real/000")
    assert found(names, FFPP, "Deepfakes/003_000.mp4") == says.format("ffpp/FaceSwap/003_000")
    with_paths = [clip("ffpp/real/000", path="original_sequences/youtube/c23/videos/000.mp4")]
    names = ClipNames(with_paths, other_variants=("c40",))
    assert found(names, with_paths, "youtube/c40/videos/000.mp4").startswith("says another")
    assert found(names, with_paths, "youtube/c23/videos/000.mp4") == "ffpp/real/000"


def test_a_folder_above_the_part_that_names_the_clip_does_not_matter() -> None:
    clips = [clip("folder/real/a.png"), clip("folder/fake/a.png"), clip("folder/fake/b.png")]
    assert found(ClipNames(clips), clips, "/data/fake/set/real/a.png") == "folder/real/a.png"


def test_files_of_one_name_are_told_apart_by_their_endings() -> None:
    clips = [clip("folder/real/a.png"), clip("folder/real/a.jpg")]
    names = ClipNames(clips)
    assert found(names, clips, "a.jpg") == "folder/real/a.jpg"
    assert found(names, clips, "real/a.png") == "folder/real/a.png"
    assert found(names, clips, "a").startswith("may be")


def test_the_path_in_the_download_counts_too() -> None:
    clips = [
        clip("uadfv/real/0000", path="real/0000.mp4"),
        clip("uadfv/fake/0000", path="fake/0000_fake.mp4"),
    ]
    names = ClipNames(clips)
    assert found(names, clips, "0000_fake.mp4") == "uadfv/fake/0000"
    assert found(names, clips, "real/0000.mp4") == "uadfv/real/0000"
    assert found(names, clips, "0000.mp4") == "uadfv/real/0000"


def test_folders_with_the_same_names_in_them() -> None:
    clips = [
        clip("folder/real/a.png", dataset="folder:mine"),
        clip("folder/real/a.png", dataset="folder:yours"),
    ]
    names = ClipNames(clips)
    assert found(names, clips, "folder:yours/real/a.png") == "folder:yours/real/a.png"
    assert found(names, clips, "folder/real/a.png", "folder:yours") == "folder:yours/real/a.png"
    assert found(names, clips, "folder/real/a.png", "Photos").startswith("may be")


def test_the_nearest_key() -> None:
    assert ClipNames(FFPP).nearest("ffpp/Faceswap/003_000") == (
        "; did you mean 'ffpp/FaceSwap/003_000'?"
    )
    assert ClipNames(FFPP).nearest("zzzzzzzz") == ""
