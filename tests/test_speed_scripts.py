"""The scripts that compare speeds: what they count, and what they make of a side that fails."""

from __future__ import annotations

import argparse
import importlib
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from dfbench.models.registry import model_names

SPEED = Path(__file__).resolve().parents[1] / "benchmarks" / "speed"
GIB = 2**30


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Import one of the scripts, as they import each other."""
    monkeypatch.syspath_prepend(SPEED)
    return importlib.import_module


# --- processes ------------------------------------------------------------------------------------

FAKE = """
import os, sys, time
sys.path.insert(0, {speed!r})
import turns
def hang(steps): time.sleep(60)
def full(steps): raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.")
def wrong(steps): raise ValueError("first | line\\nsecond")
def die(steps): print("what killed it", file=sys.stderr); sys.stderr.flush(); os._exit(9)
def fine(steps): print("noise"); time.sleep({seconds} * steps)
runs = dict(hang=hang, full=full, wrong=wrong, die=die, fine=fine)
turns.serve(lambda: turns.Side(runs=runs, peak=lambda: 7, facts=lambda mode: dict(mode=mode)))
"""


@pytest.fixture
def fake(tmp_path: Path, script: Callable[[str], Any]) -> Iterator[Callable[[float], Any]]:
    """Return what describes a process whose steps take some seconds."""
    turns = script("turns")

    def command(seconds: float) -> tuple[list[str], dict[str, str]]:
        path = tmp_path / f"fake-{seconds}.py"
        path.write_text(FAKE.format(speed=str(SPEED), seconds=seconds))
        return [sys.executable, str(path)], {"EXTRA": "1"}

    pause, turns.PAUSE = turns.PAUSE, 0.0
    yield command
    turns.PAUSE = pause


@pytest.mark.parametrize("alone", [True, False])
def test_sides_take_turns(fake: Any, script: Callable[[str], Any], alone: bool) -> None:
    turns = script("turns")
    commands = {"quick": fake(0.1), "slow": fake(0.5)}
    modes = {"quick": ["fine", "full"], "slow": ["wrong", "fine"]}
    clock = turns.Clock(60, time.monotonic() + 60)
    found = turns.measure(commands, modes, 4, rounds=2, clock=clock, alone=alone)
    quick, slow = (found["fine"][side] for side in ("quick", "slow"))
    assert len(quick.rates) == len(slow.rates) == 2
    assert 0 < quick.median <= 41  # 4 images in a tenth of a second at least
    assert quick.facts == {"mode": "fine"}
    assert quick.peak == 7
    assert all(ratio > 1 for ratio in turns.ratios(quick, slow))
    assert found["full"]["quick"].failed == turns.OUT_OF_MEMORY
    assert found["full"]["quick"].median is None
    assert found["wrong"]["slow"].failed == "ValueError: first / line"
    assert turns.ratios(found["full"]["quick"], slow) == []


def test_a_side_that_hangs_or_dies_has_its_reason(fake: Any, script: Callable[[str], Any]) -> None:
    turns = script("turns")
    modes = {"a": ["die", "fine"], "b": ["hang", "fine"], "c": ["fine"], "d": ["fine"]}
    gone = ([sys.executable, "-c", "raise SystemExit('no such thing')"], {})
    commands = {"a": fake(0.1), "b": fake(0.1), "c": gone, "d": fake(0.1)}
    clock = turns.Clock(5, time.monotonic() + 60)
    found = turns.measure(commands, modes, 4, rounds=1, clock=clock, alone=True)
    assert found["die"]["a"].failed == "ChildProcessError: 9: what killed it"
    assert found["fine"]["a"].failed == found["die"]["a"].failed
    assert found["hang"]["b"].failed == found["fine"]["b"].failed == "no answer within 5 s"
    assert found["fine"]["c"].failed == "ChildProcessError: 1: no such thing"
    assert found["fine"]["d"].median is not None


# --- tables and verdicts --------------------------------------------------------------------------


def _comparison(script: Callable[[str], Any]) -> tuple[Any, Any, Any, argparse.Namespace]:
    compare, sides, step = script("compare"), script("sides"), script("train_step")
    options = argparse.Namespace(
        dtype="bfloat16", sides=["dfbench", "compiled"], rounds=1, forms=[], given=["xception"]
    )
    device = sides.Device(platform="gpu", kind="NVIDIA H200")
    return compare, step.COMPARISON, device, options


@pytest.mark.parametrize(
    ("name", "mode", "ours", "theirs", "met"),
    [
        ("xception", "train", 131.0, 100.0, True),
        ("xception", "train", 129.0, 100.0, False),
        ("meso4", "train", 101.0, 100.0, True),
        ("meso4", "infer", 129.0, 100.0, False),
        ("meso4", "infer", 129.0, None, None),
        ("meso4", "train", None, 100.0, False),
    ],
)
def test_targets(
    script: Callable[[str], Any],
    name: str,
    mode: str,
    ours: float | None,
    theirs: float | None,
    met: bool | None,
) -> None:
    compare, what, device, options = _comparison(script)
    turns = script("turns")

    def series(rate: float | None) -> Any:
        failed = turns.Series(failed=turns.OUT_OF_MEMORY)
        return failed if rate is None else turns.Series([rate], peak=3 * GIB)

    row = compare.Measured(name, mode, 128, {"dfbench": series(ours), "compiled": series(theirs)})
    assert row.met(what.target(mode, name)) is met
    results = compare.Results()
    compare._keep(row, what, results)
    assert compare._fine(what, results, True) is (met is not False)
    text = compare.report(what, results, options, device, None)
    verdict = {True: "met", False: "**missed**", None: "-"}[met]
    assert f"| {verdict} ({what.target(mode, name):g}) |" in text
    assert "; NVIDIA H200" in text
    assert "3.00" in text  # GiB
    assert ("out of memory" in text) is (None in (ours, theirs))


def test_what_ran_out_of_memory_is_not_tried_at_a_larger_batch(
    script: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    compare, what, device, _ = _comparison(script)
    turns, asked = script("turns"), []

    def measure(commands: Any, modes: Any, images: int, **_: Any) -> Any:
        asked.append((images, {side: modes[side] for side in commands}))
        full = turns.Series(failed=turns.OUT_OF_MEMORY)
        return {
            mode: {
                side: full if (side, mode) == ("dfbench", "train") else turns.Series([1.0])
                for side in commands
                if mode in modes[side]
            }
            for mode in what.modes
        }

    monkeypatch.setattr(turns, "measure", measure)
    sides = script("sides")
    given = ["xception", "--batches", "256", "512", "--sides", "dfbench", "--minutes", "1"]
    options, results = sides.parse("", given, ["dfbench"]), compare.Results()
    clock = turns.Clock(9, time.monotonic() + 9)
    compare.measure_all(what, options, device, clock, results)
    both = {"dfbench": ["infer", "train"]}
    assert asked == [(256, both), (512, {"dfbench": ["infer"]})]
    assert [(row.mode, row.images) for row in results.measured] == [
        ("train", 256),
        ("infer", 256),
        ("infer", 512),
    ]
    compare.measure_all(what, options, device, turns.Clock(9, time.monotonic()), results)
    assert results.notes[-1] == "xception, 512 images: the time was up"


@pytest.mark.parametrize(
    ("given", "said"),
    [(["xceptoin"], "xception"), (["meso4", "--rounds", "0"], "one at least"), (["--x"], "--x")],
)
def test_wrong_options(
    script: Callable[[str], Any],
    capsys: pytest.CaptureFixture[str],
    given: list[str],
    said: str,
) -> None:
    with pytest.raises(SystemExit) as ended:
        script("sides").parse("Some script.", given, ["dfbench"])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


# --- what is counted ------------------------------------------------------------------------------


def test_roofline_of_a_convolution_by_hand(script: Callable[[str], Any]) -> None:
    roofline = script("roofline")

    def convolve(kernel: jax.Array, batch: dict[str, jax.Array]) -> jax.Array:
        images = jnp.tanh(batch["image"]) + 1  # fused into what reads it
        return jax.lax.conv(images, kernel, (1, 1), "VALID")

    kernel = jnp.ones((8, 4, 3, 3), jnp.bfloat16)
    batch = {"image": jnp.ones((2, 4, 10, 10), jnp.bfloat16)}
    found = roofline.count(convolve, kernel, batch, kept=[jnp.ones(5)])
    outputs = 2 * 8 * 8 * 8
    assert found["flops"] == 2 * outputs * 9 * 4
    assert found["bytes"] == 2 * (kernel.size + batch["image"].size + outputs) + 2 * 5 * 4
    work = roofline.Work(**found)
    fast = roofline.Rates(flops=1e12, bandwidth=1.0)
    assert work.floor(fast) == (found["bytes"], "memory")
    assert work.floor(roofline.Rates(flops=1.0, bandwidth=1e12)) == (found["flops"], "arithmetic")


CANDIDATES = {
    ("depthwise3x3", "sums"): ((5, 7, 12), (3, 3, 1, 12), ()),
    ("grouped3x3", "sums"): ((5, 7, 12), (3, 3, 2, 12), ()),
    ("grouped3x3", "dense"): ((5, 7, 24), (3, 3, 2, 24), ()),  # of 8 channels a group
    ("pointwise", "product"): ((5, 7, 3), (1, 1, 3, 4), (("stride", 2),)),
}


@pytest.mark.slow
@pytest.mark.parametrize(("operation", "name"), CANDIDATES)
def test_candidates_are_the_same_operation(
    script: Callable[[str], Any], operation: str, name: str
) -> None:
    forms = script("forms")
    assert set(forms.FORMS[operation]) - {"lax", "shifts"} == {
        other for op, other in CANDIDATES if op == operation
    }
    use = forms.Use(operation, *CANDIDATES[operation, name])
    assert forms.error(use, name, "float32") < 1e-5


def test_a_wrong_form_is_noticed(
    script: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    forms, limit = script("forms"), script("lowerings").ERROR["bfloat16"]
    use, function = forms.Use("max_pool", (4, 4, 3), (), (("window", 2),)), forms.function
    assert forms.error(use, "shifts", "bfloat16") == 0

    def wrong(operation: str, name: str) -> Callable[..., jax.Array]:
        right = function(operation, name)
        return right if name == "lax" else lambda images, window: 1.1 * right(images, window)

    monkeypatch.setattr(forms, "function", wrong)
    assert forms.error(use, "shifts", "bfloat16") > limit


def test_uses_are_those_of_the_networks(script: Callable[[str], Any]) -> None:
    from dfbench.models import lowering

    before = lowering.depthwise3x3
    found = script("forms").uses(["xception"], "depthwise3x3")
    assert lowering.depthwise3x3 is before
    assert sum(found.values()) == 2 * 3 + 3 * 8 + 2 + 2
    middle = [use for use in found if use.image == (19, 19, 728)]
    assert [found[use] for use in middle] == [1 + 3 * 8 + 2 - 1]


def test_the_form_that_wins_is_the_fastest_over_all_uses(script: Callable[[str], Any]) -> None:
    forms, lowerings, sides = script("forms"), script("lowerings"), script("sides")
    operation = "max_pool3x3"
    often, once = (forms.Use(operation, (side, side, 3), (), ()) for side in (8, 16))
    rare = lowerings.Timed(once, 1, {("lax", "all"): 1.0, ("shifts", "all"): 2.0})
    usual = lowerings.Timed(often, 10, {("lax", "all"): 1.0, ("shifts", "all"): 0.5})
    timed = [rare, usual]
    assert lowerings.best(timed, operation, "all") == "shifts"
    gpu, cpu = sides.Device(platform="gpu"), sides.Device(platform="cpu")
    assert not lowerings.fine(timed, operation, gpu)
    assert lowerings.fine(timed, operation, cpu)
    rows = lowerings.tables({operation: timed}, gpu)[0]
    assert rows[2] == "| max_pool3x3 | lax | 11000.00 | - | 1 of 2 | yes |  |"
    assert rows[3] == "| max_pool3x3 | shifts | 7000.00 | - | 1 of 2 |  | **yes** |"
    usual.failed["shifts", "all"] = "off by 0.3"
    del usual.seconds["shifts", "all"]
    assert lowerings.best(timed, operation, "all") == "lax"


# What a machine that only measures does not have.
ABSENT = ("tensorflow_datasets", "grain", "array_record", "mediapipe", "tensorflow", "cv2", "av")
ABSENT += ("simplejpeg", "dlib")
ELSEWHERE = """
import sys
for name in {absent!r}:
    sys.modules[name] = None
sys.path.insert(0, {speed!r})
import gpu, inference, lowerings, train_step, sides
setup = sides.Setup(name="small_cnn", side="dfbench", images=2, dtype="bfloat16", count=True)
for script in (train_step, inference):
    side = script.our_side(setup)
    mode = list(side.runs)[-1]
    print(script.__name__, mode, side.facts(mode)["flops"])
"""


def test_scripts_need_no_data_sets_and_no_detectors(tmp_path: Path) -> None:
    text = ELSEWHERE.format(absent=ABSENT, speed=str(SPEED))
    environment = {**os.environ, "DFBENCH_CACHE": str(tmp_path), "JAX_NUM_CPU_DEVICES": "1"}
    environment.pop("XLA_FLAGS")
    done = subprocess.run(
        [sys.executable, "-c", text], check=False, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [row[:2] for row in rows] == [["train_step", "infer"], ["inference", "predict"]]
    for row in rows:  # 2 images, as the network declares its multiply-adds
        assert float(row[2]) / 2 / 2 / 1e6 == pytest.approx(43.8, abs=0.1)


# --- all of them on a GPU -------------------------------------------------------------------------


def test_stages_measure_every_network(script: Callable[[str], Any], tmp_path: Path) -> None:
    gpu, sides = script("gpu"), script("sides")
    stages = gpu.stages(torch=True)
    assert len({stage.name for stage in stages}) == len(stages)
    assert {*gpu.FIRST, *gpu.OTHERS} == set(model_names())
    for stage in stages:
        command = stage.command(2.5, tmp_path)
        assert Path(command[1]).is_file()
        assert command[-2:] == ["--label", stage.name]
        if stage.script != "lowerings.py":
            options = sides.parse("", command[2:], list(sides.SIDES))
            assert options.device == "gpu"
            assert math.isclose(options.minutes, 2.5)


def test_a_stage_that_fails_is_not_the_end(
    script: Callable[[str], Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpu = script("gpu")
    page = "import sys; open(sys.argv[sys.argv.index('--output') + 1] + '/day-{}-x.md', 'w');"
    for name, text in {
        "good": page.format("good"),
        "bad": page.format("bad") + "raise SystemExit(1)",
        "worse": "raise SystemExit(7)",
        "long": "import time; time.sleep(60)",
    }.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setattr(gpu, "HERE", tmp_path)

    def measure(minutes: float, *names: str) -> tuple[dict[str, list[str]], bool]:
        stages = [gpu.Stage(name, "what", f"{name}.py", []) for name in names]
        rows, well = gpu.measure(stages, minutes, tmp_path)
        assert f"| {names[0]} | what |" in gpu.summary(rows)
        return {row[0]: [row[2], row[4]] for row in rows}, well

    assert measure(1, "worse", "bad", "good") == (
        {
            "worse": ["**failed (7)**", "-"],
            "bad": ["**missed**", "day-bad-x.md"],
            "good": ["met", "day-good-x.md"],
        },
        False,
    )
    assert measure(1, "good")[1]
    monkeypatch.setattr(gpu, "GRACE", 0.2)
    late = {"long": ["**ended, out of time**", "-"], "late": ["not begun", "-"]}
    assert measure(0.001, "long", "late") == (late, False)


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there may be a GPU here")
def test_without_a_gpu_there_is_one_line(script: Callable[[str], Any], capsys: Any) -> None:
    assert script("gpu").main(["targets"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
