"""A detector's opinion of files that nobody labelled: `predict`."""

from __future__ import annotations

import argparse
from pathlib import Path

from dfbench import options
from dfbench.commands.setup import folder_of, on_this_machine, places_of, start
from dfbench.storage.url import place

NOTHING = 3  # exit status where no file has a score


def predict(args: argparse.Namespace) -> int:
    """Find all faces of images and videos, and score each by a finished training.

    Faces are found, cut and scored as in the run's own evaluations, and called fake from the
    threshold that was chosen on its training dataset's val split. Into --out go predictions.json,
    predictions.csv (a row a face), and of each file a picture or video with boxes, and of videos a
    plot over time. A face is followed over the frames of a video; it has the mean of its frames,
    and a file has the score of its highest face.

    A file without a face, or one that cannot be read, is listed with the reason. Exit status: 0
    where at least one face was scored, 3 where none was, 2 where a file does not exist.

    A score is an opinion on the kind of fakes that the detector was trained on. It proves nothing.
    """
    from dfbench.workflow.predict_model import find_detector

    detector = find_detector(
        folder_of(args.checkpoint), on_this_machine(args.runs_dir, "--runs-dir")
    )
    reporter = start(args, detector.config)
    from dfbench.report.predictions import predictions_json, predictions_text
    from dfbench.workflow.predict import CSV, JSON
    from dfbench.workflow.predict import predict as score

    predictions = score(
        args.files,
        detector,
        places_of(args),
        out=args.out,
        frames=args.frames,
        cam=args.cam,
        similar=args.similar,
        reporter=reporter,
    )
    if args.json:
        print(predictions_json(predictions).decode(), end="")
    else:
        print(predictions_text(predictions))
        print(f"tables: {args.out / JSON}, {args.out / CSV}")
    return 0 if any(one.faces for one in predictions.files) else NOTHING


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `predict`."""
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="image, video, or folder of them"
    )
    parser.add_argument(
        "--checkpoint",
        type=place,
        required=True,
        metavar="RUN",
        help="folder of a finished training, whose best epoch predicts; or the result card "
        "(*.card.json) of one that is in --runs-dir",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("predictions"),
        metavar="DIR",
        help="where to write (default: predictions); what is there by the same names is replaced",
    )
    parser.add_argument(
        "--frames",
        type=int,
        default=32,
        metavar="N",
        help="frames of a video, evenly spaced (default: 32)",
    )
    parser.add_argument(
        "--cam",
        action="store_true",
        help="also draw where in a face the network sees what speaks for fake or real (Grad-CAM)",
    )
    parser.add_argument(
        "--similar",
        metavar="SPEC",
        help="also find, show and score the clips of a dataset that are most like each face",
    )
    options.runs_option(parser)
    options.data_options(parser)
    options.list_options(parser)
