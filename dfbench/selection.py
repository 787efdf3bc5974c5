"""What the options of a command line stand for: configurations, ways to prepare, a job."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from dfbench import config, processes
from dfbench.degradations import parse_degradations
from dfbench.errors import UserError, nearest
from dfbench.protocols import find_protocol, read_protocol

if TYPE_CHECKING:
    from dfbench.data.spec import Spec


@dataclass(frozen=True)
class Selection:
    """The trainings, and with them the cells, that a command line stands for."""

    configs: tuple[config.RunConfig, ...]
    protocol: str | None = None  # as cards name it


def selection(args: argparse.Namespace) -> Selection:
    """Return the training of the args, or those of a protocol; names are checked.

    Raises:
      UserError: a wrong setting or protocol, or an unknown dataset or network.
    """
    refuse_rehearsal(args)
    if args.protocol:
        return protocol_selection(args, ("train", "eval", "degrade", "model", "init", "seed"))
    chosen: dict[str, Any] = {
        name: value
        for name, value in (("train", args.train), ("seed", args.seed))
        if value is not None
    }
    if evals := getattr(args, "eval", []):
        chosen["eval"] = evals
    if degrade := parse_degradations(getattr(args, "degrade", []), "--degrade"):
        chosen["degrade"] = [one.text for one in degrade]
    model = {"name": args.model, "init": args.init}
    chosen["model"] = {name: value for name, value in model.items() if value is not None}
    one = config.from_dict(config.merge(assignments(args.set), chosen), "--set")
    if not one.train:
        raise UserError("no training dataset: --train SPEC (`dfbench datasets` lists the names)")
    check_names([one])
    return Selection((one,))


def refuse_rehearsal(args: argparse.Namespace) -> None:
    """Raise UserError where `--rehearse` has no protocol to rehearse."""
    if args.rehearse and not args.protocol:
        raise UserError("--rehearse is of a protocol: --protocol NAME --rehearse")


def protocol_selection(args: argparse.Namespace, excluded: Sequence[str]) -> Selection:
    """Return the trainings of `--protocol`, which excludes options that name cells.

    Raises:
      UserError: one of those options is there, or as for `selection`.
    """
    for name in excluded:
        if getattr(args, name, None) not in (None, []):
            raise UserError(
                f"--{name} and --protocol exclude each other: the protocol fixes the cells"
            )
    path = find_protocol(args.protocol)
    protocol = read_protocol(path, assignments(args.set))
    if args.rehearse:
        from dfbench.rehearsal import rehearse

        protocol = rehearse(protocol)
    check_names(protocol.runs, f"{path}: ")
    return Selection(protocol.runs, protocol.label)


def check_names(configs: Sequence[config.RunConfig], origin: str = "") -> None:
    """Raise UserError where a dataset or network is unknown; the message begins with `origin`."""
    from dfbench.classical.catalog import CLASSICAL
    from dfbench.data.spec import parse_spec
    from dfbench.models.registry import check_name

    try:
        for spec in dict.fromkeys(spec for one in configs for spec in (one.train, *one.eval)):
            parse_spec(spec)
        for name in dict.fromkeys(one.model.name for one in configs):
            check_name(name, others=CLASSICAL)
    except UserError as error:
        raise UserError(f"{origin}{error}") from error


def assignments(texts: Sequence[str]) -> dict[str, Any]:
    """Merge `KEY=VALUE` texts to nested values; later ones win."""
    return config.merge({}, *(config.parse_assignment(text) for text in texts))


def prepare_settings(args: argparse.Namespace) -> config.RunConfig:
    """Return the settings of `prepare`.

    Raises:
      UserError: a wrong setting, or an unknown detector.
    """
    changes = assignments(args.set)
    if args.detector is not None:
        known = get_args(config.DetectorName)
        if args.detector not in known:
            hint = nearest(args.detector, known) or f"; there are {', '.join(known)}"
            raise UserError(f"--detector: unknown detector '{args.detector}'{hint}")
        changes = config.merge(changes, {"data": {"detector": args.detector}})
    return config.from_dict(changes, "--set")


def preparations(args: argparse.Namespace, spec: Spec) -> list[config.DataConfig]:
    """Return the ways in which `prepare` prepares a dataset: one, or those of a protocol.

    Raises:
      UserError: a wrong setting or protocol, or a protocol without this dataset.
    """
    settings = prepare_settings(args)
    if args.protocol is None:
        return [settings.data]
    if args.set or args.detector:
        raise UserError("--protocol says how to prepare: leave out --set and --detector")
    from dfbench.data.spec import parse_spec

    protocol = read_protocol(find_protocol(args.protocol))
    found: dict[config.DataConfig, None] = {}
    names: dict[str, None] = {}
    for run in protocol.runs:
        for one in (one for text in (run.train, *run.eval) for one in parse_spec(text)):
            names[one.name + (f"/{one.variant}" if one.variant else "")] = None
            if (one.name, one.variant) == (spec.name, spec.variant):
                found[run.data] = None
    if not found:
        raise UserError(f"{protocol.label} has no {spec.text}; it has {', '.join(names)}")
    return list(found)


def job_of(args: argparse.Namespace) -> processes.Job | None:
    """Return the job of several processes that a command is part of, if any.

    Raises:
      UserError: options that do not fit together.
    """
    if not hasattr(args, "coordinator"):
        return None
    return processes.find_job(args.coordinator, args.processes, args.process)
