from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from dfbench.report.curves import write_curves

LOSS = {"step": 10, "epoch": 1, "loss": 0.7, "lr": 1e-3, "images_per_s": None}
CHECKED = {"step": 10, "epoch": 1, "val_loss": 0.6, "val_video_auc": 0.8, "best": True}


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [LOSS],
        [LOSS, CHECKED],
        [LOSS, {**CHECKED, "val_video_auc": None}],
        [LOSS, CHECKED, {**LOSS, "step": 20}, {**CHECKED, "step": 20, "val_video_auc": 0.2}],
        [{**LOSS, "loss": math.nan}, {**LOSS, "loss": math.inf}, {**CHECKED, "val_loss": math.nan}],
        [{k: v for k, v in CHECKED.items() if k not in ("best", "epoch")}],
    ],
    ids=[
        "nothing",
        "no validation",
        "one epoch",
        "AUC undefined",
        "falling",
        "diverged",
        "no epoch named",
    ],
)
def test_every_history_gives_a_picture(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    write_curves(rows, tmp_path / "curves.png")
    image = cv2.imread(str(tmp_path / "curves.png"))
    assert image.shape[1] > 2 * image.shape[0] > 400
    assert (image != 255).any()


def test_the_kept_epoch_is_marked(tmp_path: Path) -> None:
    write_curves([LOSS, CHECKED], tmp_path / "marked.png")
    write_curves([LOSS, {**CHECKED, "best": False}], tmp_path / "plain.png")
    marked, plain = (cv2.imread(str(tmp_path / f"{n}.png")) for n in ("marked", "plain"))
    red = [(i[..., 2].astype(int) - i[..., 0] > 60).sum() for i in (marked, plain)]
    assert red[0] > red[1] == 0
    assert np.isfinite(marked).all()
