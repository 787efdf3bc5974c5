"""Faces of the frames of a clip that are one person's: joined by the overlap of their boxes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from dfbench.faces.average_precision import Boxes, overlaps

LEAST = 0.1  # overlap of two boxes of one track: frames may be seconds apart
PATIENCE = 3  # frames in a row in which a track's face may be missing


def join_tracks(frames: Sequence[Boxes]) -> list[list[int]]:
    """Return the track of each box, by frame; tracks are numbered from 1 as they appear.

    Each frame's boxes are given to the tracks so that the overlaps with their last boxes have the
    highest sum, as SORT does (Bewley et al., Simple Online and Realtime Tracking, ICIP 2016), but
    without its model of motion, which frames that are far apart do not follow.

    Args:
      frames: The boxes of each frame that was looked at, in order; none where nobody was found.
    """
    last: dict[int, tuple[int, Boxes]] = {}  # of each track: its last frame, and the box there
    tracks: list[list[int]] = []
    count = 0
    for number, boxes in enumerate(frames):
        names = [0] * len(boxes)
        alive = [track for track, (seen, _) in last.items() if number - seen <= PATIENCE + 1]
        if alive and len(boxes):
            shared = overlaps(np.concatenate([last[track][1] for track in alive]), boxes)
            for row, column in zip(*linear_sum_assignment(shared, maximize=True), strict=True):
                if shared[row, column] >= LEAST:
                    names[column] = alive[row]
        for place, name in enumerate(names):
            if not name:
                count += 1
                names[place] = count
            last[names[place]] = (number, boxes[place : place + 1])
        tracks.append(names)
    return tracks
