"""Kubernetes: a JobSet (data, trainings, pages), or plain indexed Jobs."""

from __future__ import annotations

import argparse
import math
import re
from dataclasses import dataclass, field, replace

from dfbench.errors import UserError
from dfbench.launch.render import JobFile, joined, quote_shell, render
from dfbench.launch.values import dns_name, is_url, optional, pairs, positive, printable
from dfbench.launch.work import Work, protocol_files, with_protocol
from dfbench.signals import STOPPED

PROTOCOL_FOLDER = "/protocol"  # in the container
PORT = 29400  # where the first process of several listens
GROUP = 10001  # of files on a claim: the number of the image's user
POLL = 30  # seconds
SPOT = "cloud.google.com/gke-spot"  # label and taint
PAGES = "leaderboard"

# A Job that fails ends its JobSet: where cells failed (3), which the log names, that would stop the
# trainings of the other slices. The shell passes on that the pod is to end.
SHARED = (
    'trap \'kill -TERM "$p"\' TERM; {script} & p=$!; wait "$p"; s=$?; '
    '[ "$s" -le 128 ] || {{ wait "$p"; s=$?; }}; [ "$s" = 3 ] || exit "$s"'
)

_TOPOLOGY = re.compile(r"[1-9][0-9]*(x[1-9][0-9]*){1,2}")


@dataclass(frozen=True, kw_only=True)
class Kubernetes:
    """What Kubernetes is asked for."""

    image: str
    namespace: str | None
    service_account: str | None
    claim: str | None  # persistent volume claim of data and results
    mount: str  # where it is seen
    secrets: tuple[str, ...]  # whose keys become variables
    queue: str | None  # of Kueue
    plain: bool  # no JobSet
    cpus: str
    memory: str
    gpus: int  # of a process
    accelerator: str | None  # TPU's, as GKE names it
    topology: str | None
    chips: int  # of a host
    selectors: tuple[tuple[str, str], ...]  # labels of nodes that train
    spot: bool
    processes: int  # that make a training together
    max_parallel: int  # trainings; 0: all
    restarts: int
    group: int = GROUP


@dataclass(frozen=True, kw_only=True)
class Job:
    """One Job, or several alike."""

    name: str
    script: str
    env: tuple[tuple[str, str], ...]
    replicas: int = 1
    completions: int = 1
    parallelism: int = 1
    apart: bool = False  # its pods have nothing to do with each other
    after: str | None = None
    requests: dict[str, str]
    limits: dict[str, str]
    selectors: dict[str, str] = field(default_factory=dict)
    tolerations: tuple[str, ...] = ()  # taints of nodes


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `launch k8s`."""
    parser.add_argument("--image", metavar="NAME", required=True, help="container with dfbench")
    for name, text in (
        ("namespace", "where the jobs go (default: kubectl's)"),
        ("service-account", "account that may read and write the storage"),
        ("pvc", "persistent volume claim for data and results (ReadWriteMany)"),
        ("queue", "queue of Kueue"),
        ("tpu-accelerator", "TPU as GKE names it, such as tpu-v5-lite-podslice"),
        ("tpu-topology", "chips of a slice, such as 2x4"),
    ):
        parser.add_argument(f"--{name}", metavar=name.rpartition("-")[2].upper(), help=text)
    for name, default, text in (
        ("gpus", 0, "GPUs of a process (default: none)"),
        ("tpu-chips", 4, "chips of a host (default: 4)"),
        ("processes", 1, "pods that make one training together (TPU: by its topology)"),
        ("max-parallel", 0, "trainings at the same time (default: all; one with --processes)"),
        ("restarts", 3, "of a pod that fails; pre-emptions do not count (default: 3)"),
    ):
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help=text)
    parser.add_argument("--cpus", default="4", metavar="N", help="of a process (default: 4)")
    parser.add_argument("--memory", default="16Gi", metavar="N", help="of a process (16Gi)")
    parser.add_argument(
        "--mount", default="/mnt/dfbench", metavar="DIR", help="of --pvc (default: /mnt/dfbench)"
    )
    parser.add_argument(
        "--secret", action="append", default=[], metavar="NAME", help="its keys become variables"
    )
    parser.add_argument(
        "--node-selector",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="label of nodes that train, such as cloud.google.com/gke-accelerator=nvidia-l4",
    )
    parser.add_argument("--spot", action="store_true", help="GKE: nodes that may be taken away")
    parser.add_argument("--plain", action="store_true", help="Jobs alone, without JobSet")


def settings(args: argparse.Namespace) -> Kubernetes:
    """Return what the arguments ask for.

    Raises:
      UserError: a value that does not fit, or values that do not fit together.
    """
    if (args.tpu_accelerator is None) != (args.tpu_topology is None):
        raise UserError("--tpu-accelerator and --tpu-topology belong together")
    if args.tpu_accelerator and args.gpus:
        raise UserError("--gpus and --tpu-accelerator exclude each other")
    for name, least in (("gpus", 0), ("max_parallel", 0), ("restarts", 0), ("processes", 1)):
        if getattr(args, name) < least:
            raise UserError(f"--{name.replace('_', '-')}: {getattr(args, name)} is too small")
    processes = args.processes
    if args.tpu_topology:
        processes = _hosts(args.tpu_topology, args.tpu_chips)
        if args.processes not in (1, processes):
            raise UserError(
                f"--processes: a slice {args.tpu_topology} of {args.tpu_chips} chips a host has "
                f"{processes} hosts"
            )
    return Kubernetes(
        image=printable(args.image, "--image"),
        namespace=optional(args.namespace, "--namespace"),
        service_account=optional(args.service_account, "--service-account"),
        claim=optional(args.pvc, "--pvc"),
        mount=printable(args.mount, "--mount"),
        secrets=tuple(printable(name, "--secret") for name in args.secret),
        queue=optional(args.queue, "--queue"),
        plain=args.plain,
        cpus=printable(args.cpus, "--cpus"),
        memory=printable(args.memory, "--memory"),
        gpus=args.gpus,
        accelerator=optional(args.tpu_accelerator, "--tpu-accelerator"),
        topology=args.tpu_topology,
        chips=args.tpu_chips,
        selectors=pairs(args.node_selector, "--node-selector", "KEY=VALUE"),
        spot=args.spot,
        processes=processes,
        max_parallel=args.max_parallel,
        restarts=args.restarts,
    )


def _hosts(topology: str, chips: int) -> int:
    """Return the number of hosts of a TPU slice."""
    if not _TOPOLOGY.fullmatch(topology):
        raise UserError(f"--tpu-topology: '{topology}' is no topology such as 2x4 or 2x2x2")
    total = math.prod(map(int, topology.split("x")))
    if total % positive(chips, "--tpu-chips"):
        raise UserError(f"--tpu-chips: {total} chips of {topology} are not hosts of {chips} each")
    return total // chips


def files(work: Work, kubernetes: Kubernetes) -> list[JobFile]:
    """Return the manifests, and the script that applies them.

    Raises:
      UserError: data or results would go with the pods.
    """
    _check_places(work, kubernetes)
    work = replace(with_protocol(work, PROTOCOL_FOLDER), name=dns_name(work.name))
    if kubernetes.processes > 1:  # a slice makes one training after another
        work = replace(work, parts=min(work.parts, kubernetes.max_parallel or 1))
    jobs = _jobs(work, kubernetes)
    values = {
        "work": work,
        "s": kubernetes,
        "name": work.name,
        "protocol_folder": PROTOCOL_FOLDER,
        "prepare": f"job/{work.name}-prepare",
        "poll": POLL,
        "stopped": STOPPED,
        "pages": not is_url(work.runs_dir),
    }
    manifests = {"jobset.yaml": jobs}
    if kubernetes.plain:
        manifests = {f"{job.name}.yaml": [job] for job in jobs if job.name in ("prepare", PAGES)}
        manifests["train.yaml"] = [job for job in jobs if job.name not in ("prepare", PAGES)]
    template = "k8s/plain.yaml" if kubernetes.plain else "k8s/jobset.yaml"
    found = []
    for name, chosen in manifests.items():
        service = kubernetes.processes > 1 and name == "train.yaml"
        found.append(JobFile(name, render(template, jobs=chosen, service=service, **values)))
    for file in protocol_files(work):
        data = {file.name: file.text}
        found.append(JobFile("protocol.yaml", render("k8s/protocol.yaml", data=data, **values)))
    return [*found, JobFile("submit.sh", render("k8s/submit.sh", **values))]


def _check_places(work: Work, kubernetes: Kubernetes) -> None:
    for option, place in (("--data-dir", work.data_dir), ("--runs-dir", work.runs_dir)):
        below = kubernetes.claim and (place + "/").startswith(kubernetes.mount.rstrip("/") + "/")
        if not (is_url(place) or below):
            raise UserError(
                f"{option}: {place} goes with the pod: give --pvc NAME, and a folder below its "
                f"--mount {kubernetes.mount}, or a folder in object storage, such as gs://BUCKET/x"
            )


def _jobs(work: Work, s: Kubernetes) -> list[Job]:
    """Return what is done, in order."""
    env = tuple((name, _literal(value)) for name, value in work.env)
    if s.claim:  # weights, programs and the detector's file, fetched or made once
        env = (("DFBENCH_CACHE", _literal(f"{s.mount.rstrip('/')}/cache")), *env)
    first = Job(
        name="prepare",
        script=_literal(joined(work.prepare)),
        env=(*env, ("JAX_PLATFORMS", "cpu")),
        requests={"cpu": s.cpus, "memory": s.memory},
        limits={"memory": s.memory},
    )
    last = replace(first, name=PAGES, script=_literal(joined([work.leaderboard])), after="train")
    training = replace(
        first,
        env=env,
        after="prepare",
        limits=first.limits | _accelerators(s),
        selectors=_selectors(s),
        tolerations=_tolerations(s),
    )
    make = _alone if s.processes == 1 else _together
    pages = [] if is_url(work.runs_dir) else [last]  # a pod would write them to its own disk
    return [first, *make(work, s, training), *pages]


def _alone(work: Work, s: Kubernetes, training: Job) -> list[Job]:
    """Return one Job whose pods make a part each."""
    command = quote_shell(work.matrix)
    script = f'exec {command} --part "$((JOB_COMPLETION_INDEX + 1))"/{work.parts}'
    return [
        replace(
            training,
            name="train",
            script=_literal(script),
            completions=work.parts,
            parallelism=min(s.max_parallel or work.parts, work.parts),
            apart=True,
        )
    ]


def _together(work: Work, s: Kubernetes, training: Job) -> list[Job]:
    """Return Jobs whose pods make each training of a part together."""
    if s.plain:
        found = {f"train-{k}": (str(k), f"train-{k}-0") for k in range(1, work.parts + 1)}
    elif work.parts == 1:
        found = {"train": ("1", "train-0-0")}
    else:
        found = {"train": ('"$((JOB_INDEX + 1))"', 'train-"$JOB_INDEX"-0')}
    jobs = []
    for name, (part, first_pod) in found.items():
        script = (
            f"{quote_shell(work.matrix)} --part {part}/{work.parts} "
            f"--coordinator {work.name}-{first_pod}.{work.name}:{PORT} "
            f'--processes {s.processes} --process "$JOB_COMPLETION_INDEX"'
        )
        shared = work.parts > 1 and not s.plain
        script = SHARED.format(script=script) if shared else f"exec {script}"
        jobs.append(
            replace(
                training,
                name=name,
                script=_literal(script),
                replicas=1 if s.plain else work.parts,
                completions=s.processes,
                parallelism=s.processes,
            )
        )
    return jobs


def _accelerators(s: Kubernetes) -> dict[str, str]:
    if s.accelerator:
        return {"google.com/tpu": str(s.chips)}
    return {"nvidia.com/gpu": str(s.gpus)} if s.gpus else {}


def _selectors(s: Kubernetes) -> dict[str, str]:
    found = dict(s.selectors)
    if s.accelerator and s.topology:
        found["cloud.google.com/gke-tpu-accelerator"] = s.accelerator
        found["cloud.google.com/gke-tpu-topology"] = s.topology
    if s.spot:
        found[SPOT] = "true"
    return found


def _tolerations(s: Kubernetes) -> tuple[str, ...]:
    taints = {"nvidia.com/gpu": s.gpus, "google.com/tpu": s.accelerator, SPOT: s.spot}
    return tuple(name for name, wanted in taints.items() if wanted)


def _literal(text: str) -> str:
    """Return text that Kubernetes leaves as it is: it would replace `$(NAME)` in commands."""
    return text.replace("$", "$$")
