"""Several processes that want the same data: threads here, since locks are of open files."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from support.photos import AS_THEY_ARE, write_photos

from dfbench.data.prepare import prepare
from dfbench.data.prepared import Prepared
from dfbench.data.spec import parse_spec
from dfbench.faces.extract import extract_clips
from dfbench.progress import Reporter


def test_one_prepares_and_the_others_take_what_it_made(tmp_path: Path) -> None:
    (spec,) = parse_spec(f"folder:{write_photos(tmp_path / 'mine')}")
    extracted: list[Path] = []
    said: list[str] = []

    def extract(clips: Any, recipe: Any, work: Path, **options: Any) -> Any:
        extracted.append(work)
        return extract_clips(clips, recipe, work, **options)

    def call(_: int) -> Prepared:
        return prepare(
            spec,
            AS_THEY_ARE,
            data_dir=tmp_path / "data",
            jobs=1,
            extract=extract,
            reporter=Reporter(say=said.append),
        )

    with ThreadPoolExecutor(3) as pool:
        made = list(pool.map(call, range(3)))
    assert len(extracted) == 1
    assert {one.folder for one in made} == {made[0].folder}
    waited = [line for line in said if line.endswith(": waiting for it")]
    assert len(waited) in (1, 2)
    assert all(line.startswith(f"{spec.text} is being prepared by ") for line in waited)
    assert any(f"process {os.getpid()} on " in line for line in waited)
    assert not list((tmp_path / "data").rglob(".lock*"))
