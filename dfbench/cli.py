"""The command line: the table of commands, and what all of them share."""

from __future__ import annotations

import argparse
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Sequence

from dfbench import __version__, options, processes, signals
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
from dfbench.errors import UserError, nearest, one_line, refusal, refused
from dfbench.selection import job_of
from dfbench.storage.url import shown

STATUSES = {
    0: "done",
    1: "a fault of dfbench",
    2: "your input, or a disk that is full, gone or not yours",
    3: "some cells, parts, files or cards failed, and are named",
    processes.LOST: "another process of the job has ended",
    signals.STOPPED: "a training was stopped by a signal, and saved: --resume goes on",
    signals.INTERRUPTED: "stopped at once by Ctrl-C",
    signals.TERMINATED: "stopped at once by SIGTERM",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    status = _main(list(sys.argv[1:] if argv is None else argv))
    if argv is None and status in (signals.STOPPED, signals.INTERRUPTED, signals.TERMINATED):
        signals.end(status)  # libraries would wait for their threads and processes
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
        if job_of(args) is not None and (ended := processes.supervise()) is not None:
            return ended
        with signals.sigterm_interrupts():
            return args.function(args) or 0
    except UserError as error:
        return _said(shown(error), 2)
    except signals.Stopped as stopped:
        return _said(shown(stopped), signals.STOPPED)
    except signals.Terminated:
        return _said("stopped by SIGTERM", signals.TERMINATED)
    except KeyboardInterrupt:
        return _said("interrupted", signals.INTERRUPTED)
    except BrokenPipeError:  # `dfbench datasets | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if processes.lost_touch(error):
            return _said(processes.LOST_TEXT, processes.LOST)
        if (found := refused(error)) and found.filename:
            return _said(shown(refusal(found)), 2)
        traceback.print_exc()
        print(
            "dfbench: this is a fault of dfbench, not of your input; please report it",
            file=sys.stderr,
        )
        return 1


def _said(text: str, status: int) -> int:
    print(f"dfbench: {one_line(text)}", file=sys.stderr)
    return status


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
        epilog="Example: dfbench run --train synth_swap --eval synth_blend --model meso4\n\n"
        "exit status:\n" + "\n".join(f"  {n:3} {text}" for n, text in STATUSES.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
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
