"""What the page on scale says, and that planning stays flat."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from support.scripts import load_script

from dfbench.data.catalog import load_builder
from dfbench.data.packing import CROP_COLUMNS, Pack, count_packs, files_of, frame_table
from dfbench.data.prepared import clips_sha256
from dfbench.faces.clip import Clip, CropRecipe
from dfbench.faces.extract import plan
from dfbench.faces.hashing import BYTES

ROOT = Path(__file__).resolve().parents[1]
scale = load_script(ROOT / "benchmarks" / "scale.py")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / "scale.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_page_shows_what_the_script_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert scale.main([]) == 0
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    shown = page.partition(scale.BEGIN)[2].partition(scale.END)[0]
    assert shown.strip() == capsys.readouterr().out.strip(), (
        "run `python benchmarks/scale.py --write`"
    )


def test_sizes_are_the_official_ones() -> None:
    for spec, size in scale.SIZES.items():
        name, _, variant = spec.partition("/")
        parts = load_builder(name).parts(variant)
        if all(part.count for part in parts):
            assert size.all == sum(part.count for part in parts), spec
    readme = (ROOT / "datasets" / "dfdc" / "README.md").read_text(encoding="utf-8")
    row = re.search(r"the 50 training parts \| ([\d,]+) \| ([\d,]+) \|", readme)
    assert row is not None
    parts = sum(int(cell.replace(",", "")) for cell in row.groups())
    assert (scale.SIZES["dfdc"].all - parts, scale.SIZES["dfdc"].test) == (5000, 5000)
    ffpp = scale.clips_of("ffpp/c23:Deepfakes+FaceSwap")
    assert (ffpp.train, ffpp.val, ffpp.test) == (2160, 420, 420)
    assert scale.clips_of("uadfv,dfd/c23").test == 28 + 3431


def test_figures_follow_from_the_tables() -> None:
    seconds = scale.extraction().number("s a clip")
    row = next(line for line in scale.prepared_table() if "`dfdc`" in line)
    hours = float(row.split("|")[3])
    assert hours == pytest.approx(124_154 * seconds / 3600, abs=0.05)
    (uadfv,) = [w for w in scale.work_of("full_matrix", lambda r: r.train) if w.what == "uadfv"]
    assert uadfv.trained == 12 * 56 * 16 * 10  # 4 models, 3 seeds; 16 frames, 10 epochs
    tests = 28 + 518 + 700 + 5000 + 777 + 240 + 3431
    assert uadfv.scored == 12 * 16 * (14 * 11 + tests)


def test_figures_of_your_own_gpu() -> None:
    done = run("--images-per-s", "1000", "--scored-per-s", "4000", "--dollars-per-hour", "3")
    assert done.returncode == 0, done.stderr
    row = next(line for line in done.stdout.splitlines() if line.startswith("| `uadfv`"))
    trained, scored, hours = (
        float(cell.replace(",", "")) for cell in row.strip("| ").split(" | ")[2:5]
    )
    assert hours == pytest.approx((trained / 1000 + scored / 4000) / 3600, abs=0.005)
    assert "dollars" in done.stdout
    assert " / N" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images-per-s", "0"], "'0' is not above 0"),
        (["--dollars-per-hour", "2"], "go with --images-per-s"),
        (["--write", "--images-per-s", "2"], "do not go into the page"),
    ],
)
def test_wrong_figures(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        scale.main(arguments)
    assert message in capsys.readouterr().err


# --- planning -------------------------------------------------------------------------------------

FEW, MANY, CROPS = 1_000, 8_000, 4


def clips(count: int) -> list[Clip]:
    return [
        Clip(
            path=Path(f"/raw/part_{n % 50}/{n}.mp4"),
            label=int(n % 6 > 0),
            split=("train", "val", "test")[n % 3],  # type: ignore[arg-type]
            video=f"dfdc/part_{n % 50}/{n}",
            manipulation="DFDC" if n % 6 else "real",
            original=f"dfdc/part_{n % 50}/{n - n % 6}" if n % 6 else "",
        )
        for n in range(count)
    ]


def crops_of(count: int) -> pa.Table:
    rows = count * CROPS
    columns: dict[str, Any] = {
        "frame": np.arange(rows) % CROPS,
        "time_s": np.zeros(rows),
        "content": np.arange(rows),
        "phash": [bytes(BYTES)] * rows,
        "side": np.ones(rows),
    }
    arrays = [pa.array(columns[field.name]).cast(field.type) for field in CROP_COLUMNS]
    return pa.Table.from_arrays(arrays, schema=CROP_COLUMNS)


def prepared(count: int, folder: Path) -> Callable[[], None]:
    """Return what plans and packs so many clips, without the files of crops."""
    found, table = clips(count), crops_of(count)
    recipe = CropRecipe(boxes="original")

    def work() -> None:
        shards, first, second = plan(found, recipe, folder)
        assert len(first) + len(second) == len(shards) == count
        packs = [
            Pack(clip=clip, wanted=4, shard=shard, crops=range(CROPS), row=CROPS * n, size=50_000)
            for n, (clip, shard) in enumerate(zip(found, shards, strict=True))
        ]
        assert sum(map(len, files_of(packs))) == count
        count_packs(packs)
        clips_sha256([pack.clip for pack in packs])
        assert len(frame_table(packs, table)) == count * CROPS

    return work


def test_time_and_memory_of_planning_grow_with_the_clips(tmp_path: Path) -> None:
    seconds, memory = {}, {}
    for count in (FEW, MANY):
        work = prepared(count, tmp_path)
        times = []
        for _ in range(3):
            start = time.process_time()
            work()
            times.append(time.process_time() - start)
        seconds[count] = min(times)
        tracemalloc.start()
        try:
            work()
            memory[count] = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    # Eight times the clips: quadratic work would take 64 times as long.
    assert seconds[MANY] < 24 * seconds[FEW]
    assert memory[MANY] / MANY < 1.5 * memory[FEW] / FEW
    assert memory[MANY] / MANY < 6_000  # bytes a clip


@pytest.mark.slow
def test_planning_of_100_000_clips(tmp_path: Path) -> None:
    script = ROOT / "benchmarks" / "speed" / "planning.py"
    sizes = ["--clips", "1000", "100000", "--work", str(tmp_path), "--output", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, str(script), *sizes], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (page,) = tmp_path.glob("*-planning-*.md")
    rows = [
        line.split("|")[1].strip() for line in page.read_text().splitlines() if ",000 |" in line
    ]
    assert rows == ["1,000", "100,000"]
