from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from jsonschema import ValidationError
from support.jobset import check_jobset
from support.launch import Fakes, Launch, Refused
from support.shell import HOSTILE, check_script

from dfbench.signals import STOPPED

BASE = ("k8s", "--protocol", "tiny", "--image", "registry/dfbench:1")
CLAIM = ("--pvc", "files")
VERSION = "1.33"  # the oldest that has all of it, without gates


def documents(path: Path) -> list[dict[str, Any]]:
    """Return what a manifest declares; Kubernetes' own kinds are held against their schemas."""
    found = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    for one in found:
        if one["kind"] == "JobSet":
            check_jobset(one)
            for job in one["spec"]["replicatedJobs"]:
                template = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x"}}
                kubernetes_validate.validate({**template, **job["template"]}, VERSION, strict=True)
        else:
            kubernetes_validate.validate(one, VERSION, strict=True)
    return found


def jobs(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the replicated jobs of a JobSet by name."""
    return {job["name"]: job for job in document["spec"]["replicatedJobs"]}


def container(job: dict[str, Any]) -> dict[str, Any]:
    spec = job.get("template", job)["spec"]["template"]["spec"]
    (only,) = spec["containers"]
    return only


def expanded(text: str, env: dict[str, str]) -> str:
    """Return what Kubernetes makes of a command or a variable: $(NAME) and $$ are replaced."""

    def value(found: re.Match[str]) -> str:
        return "$" if found[0] == "$$" else env.get(found[1], found[0])

    return re.sub(r"\$\$|\$\(([^)]*)\)", value, text)


def start(fakes: Fakes, job: dict[str, Any], **env: str) -> dict[str, Any]:
    """Run a container's command with a fake dfbench, and return its call."""
    only = container(job)
    given: dict[str, str] = {}
    for variable in only.get("env", []):
        if "value" in variable:
            given[variable["name"]] = expanded(variable["value"], given)
    command = [expanded(word, given) for word in (*only["command"], *only["args"])]
    done = fakes.run(*command, **given, **env)
    assert done.returncode == 0, done.stderr
    return fakes.calls()[-1]


def test_a_jobset_prepares_trains_and_shows(launch: Launch, fakes: Fakes) -> None:
    folder = launch(*BASE, *CLAIM, "--gpus", "1", "--max-parallel", "3", "--namespace", "ours")
    (jobset,) = documents(folder / "jobset.yaml")
    found = jobs(jobset)
    assert jobset["metadata"] == {"name": "dfbench-tiny-1", "namespace": "ours"}
    assert list(found) == ["prepare", "train", "leaderboard"]
    assert found["train"]["dependsOn"] == [{"name": "prepare", "status": "Complete"}]
    assert found["leaderboard"]["dependsOn"] == [{"name": "train", "status": "Complete"}]
    train = found["train"]["template"]["spec"]
    assert (train["completions"], train["parallelism"]) == (8, 3)
    assert container(found["train"])["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "nvidia.com/gpu" not in container(found["prepare"])["resources"]["limits"]
    fakes.add("dfbench")
    places = ["--data-dir", "/mnt/dfbench/data", "--runs-dir", "/mnt/dfbench/runs"]
    matrix = ["matrix", "--protocol", "tiny", *places]
    assert start(fakes, found["prepare"])["argv"] == [*matrix, "--prepare-only"]
    call = start(fakes, found["train"], JOB_COMPLETION_INDEX="7")
    assert call["argv"] == [*matrix, "--part", "8/8"]
    assert start(fakes, found["leaderboard"])["argv"] == ["leaderboard", "/mnt/dfbench/runs"]
    check_script(folder / "submit.sh")


def test_values_reach_dfbench_as_they_are(launch: Launch, fakes: Fakes, tmp_path: Path) -> None:
    values = [HOSTILE, "$(A) $$(A) $$", "a: [b] # c", "- x", "{{ name }}", "yes", "😀"]
    settings = [word for value in values for word in ("--set", f"model.init={value}")]
    folder = launch(
        *(*BASE, *CLAIM, *settings, "--env", "A=$(B) $$", "--env", "B=$(A)", "--name", HOSTILE),
        *("--image", HOSTILE, "--namespace", HOSTILE, "--service-account", HOSTILE),
        *("--queue", HOSTILE, "--secret", HOSTILE, "--node-selector", f"k: {{}}={HOSTILE}"),
        *("--mount", f"/{HOSTILE}", "--raw", f"synth_swap={HOSTILE}"),
    )
    (jobset,) = documents(folder / "jobset.yaml")
    found = jobs(jobset)
    fakes.add("dfbench", A='os.environ["A"]', B='os.environ["B"]')
    call = start(fakes, found["train"], JOB_COMPLETION_INDEX="0")
    argv = call["argv"]
    assert [argv[i + 1] for i, w in enumerate(argv) if w == "--set"] == settings[1::2]
    assert argv[argv.index("--data-dir") + 1] == f"/{HOSTILE}/data"
    assert (call["A"], call["B"]) == ("$(B) $$", "$(A)")
    start(fakes, found["prepare"])
    prepare, matrix = (one["argv"] for one in fakes.calls()[-2:])
    assert prepare[:4] == ["prepare", "synth_swap", "--raw", HOSTILE]
    assert matrix[-1] == "--prepare-only"
    pod = found["train"]["template"]["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"k: {}": HOSTILE}
    assert pod["serviceAccountName"] == container(found["train"])["image"] == HOSTILE
    assert jobset["metadata"]["labels"] == {"kueue.x-k8s.io/queue-name": HOSTILE}
    check_script(folder / "submit.sh")
    fakes.add("kubectl")
    assert fakes.run("bash", folder / "submit.sh").returncode == 0
    assert fakes.calls()[-1]["argv"] == ["apply", "-f", "jobset.yaml"]
    assert "x" not in {path.name for path in tmp_path.rglob("*")}


def test_the_processes_of_a_slice_find_the_first(launch: Launch, fakes: Fakes) -> None:
    tpu = ("--tpu-accelerator", "tpu-v5-lite-podslice", "--tpu-topology", "4x4")
    folder = launch(*BASE, "--data-dir", "gs://b/data", "--runs-dir", "gs://b/runs", *tpu)
    (jobset,) = documents(folder / "jobset.yaml")
    assert list(jobs(jobset)) == ["prepare", "train"]  # pages are written where they are read
    train = jobs(jobset)["train"]
    spec = train["template"]["spec"]
    assert (train["replicas"], spec["completions"], spec["parallelism"]) == (1, 4, 4)
    assert spec["template"]["spec"]["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
        "cloud.google.com/gke-tpu-topology": "4x4",
    }
    assert container(train)["resources"]["limits"]["google.com/tpu"] == "4"
    fakes.add("dfbench")
    argv = start(fakes, train, JOB_COMPLETION_INDEX="3")["argv"]
    options = dict(zip(argv[-8::2], argv[-7::2], strict=True))
    assert options == {
        "--part": "1/1",  # one training after another
        "--coordinator": "dfbench-tiny-1-train-0-0.dfbench-tiny-1:29400",
        "--processes": "4",
        "--process": "3",
    }


def test_several_slices_share_the_trainings(launch: Launch, fakes: Fakes) -> None:
    folder = launch(*BASE, *CLAIM, "--processes", "2", "--gpus", "8", "--max-parallel", "3")
    (jobset,) = documents(folder / "jobset.yaml")
    train = jobs(jobset)["train"]
    assert train["replicas"] == 3
    label = "metadata.labels['jobset.sigs.k8s.io/job-index']"
    assert {"name": "JOB_INDEX", "valueFrom": {"fieldRef": {"fieldPath": label}}} in container(
        train
    )["env"]
    fakes.add("dfbench", status=3)  # cells that failed do not stop the other slices
    argv = start(fakes, train, JOB_COMPLETION_INDEX="1", JOB_INDEX="2")["argv"]
    options = dict(zip(argv[-8::2], argv[-7::2], strict=True))
    assert options["--part"] == "3/3"
    assert options["--coordinator"] == "dfbench-tiny-1-train-2-0.dfbench-tiny-1:29400"
    only = container(train)
    command = [expanded(word, {}) for word in (*only["command"], *only["args"])]
    for status in (0, 2, STOPPED):  # which the policy of the pods knows
        fakes.add("dfbench", status=status)
        assert fakes.run(*command, JOB_INDEX="0", JOB_COMPLETION_INDEX="0").returncode == status
    fakes.add("dfbench", sleep=100)
    ends = ("timeout", "--foreground", "--preserve-status", "2")
    done = fakes.run(*ends, *command, JOB_INDEX="0", JOB_COMPLETION_INDEX="0")
    assert done.returncode == 128 + signal.SIGTERM  # of dfbench, to which the shell has passed it


@pytest.mark.parametrize("processes", [1, 2])
def test_plain_jobs(launch: Launch, fakes: Fakes, processes: int) -> None:
    several = ("--processes", processes, "--max-parallel", 2)
    folder = launch(*BASE, *CLAIM, "--plain", "--queue", "q", "--namespace", "a b", *several)
    (prepare,) = documents(folder / "prepare.yaml")
    (pages,) = documents(folder / "leaderboard.yaml")
    train = documents(folder / "train.yaml")
    assert prepare["metadata"]["name"] == "dfbench-tiny-1-prepare"
    assert pages["metadata"]["labels"] == {"kueue.x-k8s.io/queue-name": "q"}
    assert pages["spec"]["suspend"] is True
    fakes.add("dfbench")
    if processes == 1:
        (job,) = train
        assert (job["spec"]["completions"], job["spec"]["parallelism"]) == (8, 2)
        assert job["spec"]["backoffLimitPerIndex"] == 3
        argv = start(fakes, job, JOB_COMPLETION_INDEX="0")["argv"]
        assert argv[-2:] == ["--part", "1/8"]
    else:
        service, *both = train
        name = service["metadata"]["name"]
        for number, job in enumerate(both, 1):
            pod = job["spec"]["template"]
            assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
            assert pod["spec"]["subdomain"] == name
            argv = start(fakes, job, JOB_COMPLETION_INDEX="1")["argv"]
            first = f"{job['metadata']['name']}-0.{name}:29400"
            assert argv[argv.index("--part") + 1] == f"{number}/2"
            assert argv[argv.index("--coordinator") + 1] == first
    check_script(folder / "submit.sh")


def test_plain_jobs_wait_for_the_data(launch: Launch, fakes: Fakes) -> None:
    folder = launch(*BASE, *CLAIM, "--plain", "--namespace", "ours")
    fakes.add("kubectl")
    assert fakes.run("bash", folder / "submit.sh").returncode == 0
    calls = [" ".join(call["argv"]) for call in fakes.calls()]
    assert calls[0] == "apply -f prepare.yaml"
    assert calls[1].startswith("wait --namespace=ours --for=condition=complete")
    assert calls[2] == "apply -f train.yaml"


def test_the_protocol_comes_along_as_it_is(launch: Launch, fakes: Fakes, tmp_path: Path) -> None:
    text = '# "quoted" \t {{ x }} $(y)\nname = "mine"\nversion = "1"\n[cells]\n'
    text += 'train = ["uadfv"]\neval = ["celebdf"]\nmodel = ["meso4"]\n'
    (tmp_path / "mine.toml").write_text(text)
    folder = launch("k8s", "--protocol", "mine.toml", "--image", "i", *CLAIM)
    (config,) = documents(folder / "protocol.yaml")
    assert config["data"] == {"protocol.toml": text}
    (jobset,) = documents(folder / "jobset.yaml")
    fakes.add("dfbench")
    train = jobs(jobset)["train"]
    argv = start(fakes, train, JOB_COMPLETION_INDEX="0")["argv"]
    assert argv[1:3] == ["--protocol", "/protocol/protocol.toml"]
    (mount,) = [m for m in container(train)["volumeMounts"] if m["name"] == "protocol"]
    assert mount["mountPath"] == "/protocol"
    fakes.add("kubectl")
    fakes.run("bash", folder / "submit.sh")
    assert fakes.calls()[-2]["argv"] == ["apply", "-f", "protocol.yaml"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "goes with the pod: give --pvc"),
        ([*CLAIM, "--runs-dir", "/elsewhere"], "--runs-dir: /elsewhere goes with the pod"),
        ([*CLAIM, "--runs-dir", "/mnt/dfbench2"], "goes with the pod"),
        ([*CLAIM, "--tpu-topology", "2x4"], "belong together"),
        ([*CLAIM, "--tpu-topology", "8", "--tpu-accelerator", "a"], "'8' is no topology"),
        ([*CLAIM, "--tpu-topology", "1x2", "--tpu-accelerator", "a"], "2 chips of 1x2"),
        (
            [*CLAIM, "--tpu-topology", "2x4", "--tpu-accelerator", "a", "--processes", "3"],
            "has 2 hosts",
        ),
        ([*CLAIM, "--tpu-topology", "2x4", "--tpu-accelerator", "a", "--gpus", "1"], "exclude"),
        ([*CLAIM, "--restarts", "-1"], "--restarts: -1 is too small"),
        ([*CLAIM, "--name", "a\nb"], "do not print"),
        ([*CLAIM, "--node-selector", "a"], "--node-selector: 'a' is not of the form"),
    ],
)
def test_wrong_input_is_one_line_and_nothing_is_written(
    arguments: list[str], message: str, refused: Refused
) -> None:
    assert message in refused(*BASE, *arguments)


def test_the_schema_of_a_jobset_refuses_what_it_does_not_know() -> None:
    head = {"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "metadata": {}}
    job: dict[str, Any] = {"name": "a", "template": {}}
    check_jobset({**head, "spec": {"replicatedJobs": [job]}})
    for wrong in ({"dependson": []}, {"dependsOn": [{"name": "b", "status": "Completed"}]}):
        with pytest.raises(ValidationError):
            check_jobset({**head, "spec": {"replicatedJobs": [{**job, **wrong}]}})
