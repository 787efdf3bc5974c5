"""Size of stored crops: `python benchmarks/speed/crop_bytes.py [--faces DIR]`.

Extracts the clips of extract.py as `dfbench prepare` does by default and writes how many bytes a
crop takes to benchmarks/speed/results: what a disk needs, whatever the machine.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import sys
import tempfile
from pathlib import Path

import numpy as np
from extract import RESULTS, portraits, render

from dfbench.errors import UserError
from dfbench.faces.clip import CropRecipe
from dfbench.faces.detect import load_detector, resolve_detector
from dfbench.faces.one_clip import extract_clip
from dfbench.paths import model_files_dir


def main() -> int:
    """Render, extract, write and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=Path, help="folder of portraits; else rendered ones")
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--frames", type=int, default=64, help="of a clip")
    parser.add_argument("--height", type=int, default=1080, help="of a frame, px")
    parser.add_argument("--detector-model", type=Path, help="as of dfbench prepare")
    parser.add_argument("--output", type=Path, help="folder of the table", default=RESULTS)
    options = parser.parse_args()
    recipe = CropRecipe()
    try:
        portraits(options.faces, 1)
        choice = resolve_detector(
            recipe.detector, options.detector_model, cache_dir=model_files_dir()
        )
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    detector = load_detector(choice)
    with tempfile.TemporaryDirectory() as root:
        results = [extract_clip(c, recipe, detector) for c in render(Path(root) / "x", options)]
    sizes = np.array([len(crop.image) for result in results for crop in result.crops])
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    low, middle, high = np.percentile(sizes, [5, 50, 95]) / 1e3
    page = f"""# Size of stored crops

- {today}; dfbench {importlib.metadata.version("dfbench")}, opencv-contrib-python \
{importlib.metadata.version("opencv-contrib-python")}
- {options.clips} clips of {options.height} lines, {
        "portraits of --faces" if options.faces else "rendered portraits"
    }; `{choice.name}`
- crops of {recipe.size} px, {recipe.format} of quality {recipe.quality}

| crops | KB a crop, mean | 5 % | median | 95 % | crops a GB |
|---|---|---|---|---|---|
| {len(sizes)} | {sizes.mean() / 1e3:.1f} | {low:.1f} | {middle:.1f} | {high:.1f} | \
{1e9 / sizes.mean():,.0f} |
"""
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / f"{today}-crop-bytes.md").write_text(page, encoding="utf-8")
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
