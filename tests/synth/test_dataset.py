"""Bytes, manifest and index of the embedded datasets."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import av
import pytest

from dfbench.errors import UserError
from dfbench.faces.clip import SPLITS, Clip
from dfbench.synth import dataset
from dfbench.synth.dataset import NAMES, SYNTH_VERSION, index_rendered, render_dataset


def digests(raw_dir: Path) -> dict[str, str]:
    return {
        str(path.relative_to(raw_dir)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(raw_dir.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two identities a split: enough for what does not look at pixels."""
    monkeypatch.setitem(dataset._CLIPS, "tiny", dict.fromkeys(SPLITS, 4))


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("name", NAMES)
def test_bytes_do_not_depend_on_the_number_of_processes(name: str, tmp_path: Path) -> None:
    assert render_dataset(name, "tiny", tmp_path / "one", jobs=1)
    assert render_dataset(name, "tiny", tmp_path / "two", jobs=2)
    one, two = digests(tmp_path / "one"), digests(tmp_path / "two")
    assert one == two
    assert len(set(one.values())) == len(one) == 14  # 12 clips, manifest, version


@pytest.mark.usefixtures("few")
def test_an_interrupted_rendering_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[tuple[int, int]] = []

    def progress(done: int, total: int, note: str = "") -> None:
        counts.append((done, total))

    assert render_dataset("synth_swap", "tiny", tmp_path, jobs=1, progress=progress)
    assert counts[-1] == (12, 12)
    before = digests(tmp_path)
    assert not render_dataset("synth_swap", "tiny", tmp_path)  # all there: nothing is done

    (tmp_path / "clips.json").unlink()
    (tmp_path / "fake" / "000_001.mp4").unlink()
    kept = (tmp_path / "real" / "000.mp4").stat().st_mtime_ns
    write_video, written = dataset.write_video, []

    def spy(path: Path, *rest: object) -> None:
        assert not (tmp_path / "clips.json").exists()  # the manifest comes last
        written.append(path.name)
        write_video(path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(dataset, "write_video", spy)
    assert render_dataset("synth_swap", "tiny", tmp_path, jobs=1)
    assert written == ["000_001.mp4"]
    assert digests(tmp_path) == before
    assert (tmp_path / "real" / "000.mp4").stat().st_mtime_ns == kept


@pytest.mark.usefixtures("few")
def test_clips_of_another_renderer_are_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    render_dataset("synth_blend", "tiny", tmp_path, jobs=1)
    clip = tmp_path / "real" / "000.mp4"
    clip.write_bytes(b"of an older version")
    monkeypatch.setattr(dataset, "SYNTH_VERSION", "next")
    assert render_dataset("synth_blend", "tiny", tmp_path, jobs=1)
    assert clip.stat().st_size > 1000
    assert json.loads((tmp_path / "clips.json").read_text())["version"] == "next"
    assert SYNTH_VERSION != "next"


def test_clips_of_tiny_are_among_those_of_default() -> None:
    for name in NAMES:
        assert set(dataset.list_jobs(name, "tiny")) < set(dataset.list_jobs(name, "default"))


@pytest.mark.parametrize(("size", "counts"), [("tiny", (48, 12, 20)), ("default", (160, 40, 80))])
def test_sizes_and_balance(size: dataset.Size, counts: tuple[int, ...]) -> None:
    for name in NAMES:
        jobs = dataset.list_jobs(name, size)
        for split, count in zip(SPLITS, counts, strict=True):
            fakes = [job.donor is not None for job in jobs if job.split == split]
            assert (len(fakes), sum(fakes)) == (count, count // 2)


def test_index(rendered: dict[str, list[Clip]]) -> None:
    owners: dict[str, tuple[str, str]] = {}
    for name, clips in rendered.items():
        by_video = {clip.video: clip for clip in clips}
        assert len(by_video) == len(clips)
        for clip in clips:
            assert clip.path.is_file()
            assert clip.video == f"{name}/{clip.manipulation}/{clip.path.stem}"
            for person in filter(None, (clip.identity, clip.source_identity)):
                assert owners.setdefault(person, (name, clip.split)) == (name, clip.split)
            if clip.label == 0:
                assert (clip.manipulation, clip.source_identity, clip.original) == ("real", "", "")
            else:
                original = by_video[clip.original]
                assert clip.manipulation == name.removeprefix("synth_")
                assert (original.label, original.identity) == (0, clip.identity)
                assert original.split == clip.split
                assert clip.source_identity not in ("", clip.identity)


def test_codec_and_frames(rendered: dict[str, list[Clip]]) -> None:
    for name, codec in zip(NAMES, ("h264", "mpeg4"), strict=True):
        for clip in rendered[name][:4]:
            with av.open(str(clip.path)) as file:
                stream = file.streams.video[0]
                assert stream.codec_context.name == codec
                assert stream.average_rate == 25
                assert sum(1 for _ in file.decode(video=0)) == dataset.FRAMES


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", '{"dataset": "synth_blend", "clips": []}', '{"dataset": "synth_swap"}',
     '{"dataset": "synth_swap", "clips": [{"split": "dev", "target": 1, "donor": null}]}'],
)  # fmt: skip
def test_garbled_manifest(content: str, tmp_path: Path) -> None:
    (tmp_path / "clips.json").write_text(content)
    with pytest.raises(UserError, match=r"clips\.json cannot be read"):
        index_rendered(tmp_path, "synth_swap")


def test_missing_manifest_and_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="prepare synth_blend"):
        index_rendered(tmp_path, "synth_blend")
    with pytest.raises(UserError, match="did you mean 'synth_swap'"):
        render_dataset("synth_swp", "tiny", tmp_path)
    with pytest.raises(UserError, match="unknown size 'huge'"):
        render_dataset("synth_swap", "huge", tmp_path)  # type: ignore[arg-type]
