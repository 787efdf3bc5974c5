"""The command line: the table of commands, and what all of them share.

Exit status: 0 done, 1 a fault of ours, 2 the user's input, 3 a matrix some cells of which failed or
files of which none could be scored, 4 another process of the job ended, 130 interrupted.
"""

from __future__ import annotations

import argparse
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Sequence

from dfbench import __version__, options, processes
from dfbench.commands import (
    data,
    launch,
    matrix,
    pages,
    predict,
    protocols,
    report,
    runs,
    score,
    similar,
    upload,
    verify,
)
from dfbench.errors import UserError, nearest, one_line
from dfbench.storage.url import shown


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    status = _main(list(sys.argv[1:] if argv is None else argv))
    if status:
        processes.leave(status)
    return status


def _main(arguments: list[str]) -> int:
    try:
        parser = _parser()
        _suggest_command(arguments)
        args = parser.parse_args(arguments)
        if not hasattr(args, "function"):
            parser.print_help()
            return 0
        _quiet_libraries(args.verbose)
        if options.job_of(args) is not None and (ended := processes.supervise()) is not None:
            return ended
        return args.function(args) or 0
    except UserError as error:
        print(f"dfbench: {one_line(shown(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("dfbench: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `dfbench datasets | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if processes.lost_touch(error):
            print(f"dfbench: {processes.LOST_TEXT}", file=sys.stderr)
            return processes.LOST
        traceback.print_exc()
        print(
            "dfbench: this is a fault of dfbench, not of your input; please report it",
            file=sys.stderr,
        )
        return 1


def _suggest_command(arguments: Sequence[str]) -> None:
    word = next((a for a in arguments if not a.startswith("-")), None)
    if word is not None and word not in COMMANDS:
        hint = nearest(word, COMMANDS) or f"; there are {', '.join(COMMANDS)}"
        raise UserError(f"unknown command '{word}'{hint}")


def _quiet_libraries(verbose: bool) -> None:
    """Keep the C++ log lines of MediaPipe, XLA and absl from users who did not ask."""
    if verbose:
        os.environ["DFBENCH_VERBOSE"] = "1"  # for the processes that find faces
        return
    for name, value in {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "GLOG_minloglevel": "3",
        "GRPC_VERBOSITY": "NONE",
        "OPENCV_LOG_LEVEL": "SILENT",
        "OPENCV_FFMPEG_LOGLEVEL": "-8",
    }.items():
        os.environ.setdefault(name, value)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dfbench",
        description="How well does a deepfake detector trained on dataset A work on dataset B?",
        epilog="Example: dfbench run --train synth_swap --eval synth_blend --model meso4",
    )
    parser.add_argument("--version", action="version", version=f"dfbench {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, (function, summary, add_options) in COMMANDS.items():
        sub = commands.add_parser(
            name,
            help=summary,
            description=inspect.cleandoc(function.__doc__ or summary),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,  # or `run --detector x` would be its --detector-model
        )
        sub.add_argument("--verbose", action="store_true", help="let libraries log to stderr")
        add_options(sub)
        sub.set_defaults(function=function)
    return parser


Command = tuple[
    Callable[[argparse.Namespace], int | None], str, Callable[[argparse.ArgumentParser], None]
]
COMMANDS: dict[str, Command] = {
    "run": (runs.run, "train on A, score on A and B, write the leaderboard", options.run_options),
    "matrix": (
        matrix.matrix,
        "train all models on all datasets, score on all; survives a failing cell",
        matrix.add_options,
    ),
    "launch": (
        launch.launch,
        "the same on many devices or machines: SLURM, Kubernetes, TPU VMs, SkyPilot, local",
        launch.add_options,
    ),
    "protocols": (
        protocols.protocols,
        "list the protocols, or describe one",
        options.named_list_options,
    ),
    "prepare": (
        data.prepare,
        "find, crop and pack the faces of a dataset",
        options.prepare_options,
    ),
    "doctor": (
        data.doctor,
        "look through a raw download before it is prepared",
        options.doctor_options,
    ),
    "export": (
        data.export,
        "write a prepared dataset's crops as image files",
        options.export_options,
    ),
    "audit": (data.audit, "say what training and evaluated data share", options.audit_options),
    "similar": (
        similar.similar,
        "find the crops of a dataset that are most like a picture",
        similar.add_options,
    ),
    "datasets": (data.datasets, "list the datasets", options.named_list_options),
    "models": (runs.models, "list the networks", options.named_list_options),
    "train": (runs.train, "train one detector", options.training_options),
    "eval": (runs.evaluate, "score a finished training on other datasets", options.eval_options),
    "predict": (
        predict.predict,
        "score the faces of images and videos that nobody labelled",
        predict.add_options,
    ),
    "score": (
        score.score,
        "give a detector from anywhere a result card, by its scores",
        score.add_options,
    ),
    "verify": (
        verify.verify,
        "check result cards against their scores and files",
        verify.add_options,
    ),
    "report": (
        report.report,
        "draw what a run's scores show, as figures and one page",
        report.add_options,
    ),
    "leaderboard": (
        pages.leaderboard,
        "write the leaderboard from result cards",
        options.leaderboard_options,
    ),
    "upload": (
        upload.upload,
        "send prepared data or results into object storage",
        upload.add_options,
    ),
}

if __name__ == "__main__":
    sys.exit(main())
