from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from dfbench import config
from dfbench.errors import UserError


def test_toml_round_trip(tmp_path: Path) -> None:
    values = {"train": "a,b", "eval": ["c"], "optim": {"lr": 1e-4}, "data": {"frames": 3}}
    written = config.from_dict(values, "test")
    config.write_toml(written, tmp_path / "c.toml")
    assert config.read_toml(tmp_path / "c.toml") == written
    assert written.data.frames == 3
    assert written.optim.lr == 1e-4


def test_the_shares_of_sources_are_a_table(tmp_path: Path) -> None:
    shares = [config.parse_assignment(f"training.mix.{t}") for t in ("catania=1", "ffpp=2.5")]
    written = config.from_dict(config.merge({}, *shares), "test")
    config.write_toml(written, tmp_path / "c.toml")
    assert config.read_toml(tmp_path / "c.toml").training.mix == {"catania": 1, "ffpp": 2.5}


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("optim.lrr=1", "did you mean 'optim.lr'"),
        ("optm.lr=1", "unknown setting 'optm'"),
        ("trainin.epochs=1", "did you mean 'training"),
        ("optim.lr=fast", "Expected `float`"),
        ("data.size=huge", "data.size = 'huge'; there are tiny, default"),
        ("data.boxes=orignal", "there are own, original; did you mean 'original'?"),
        ('phases=[{epochs=1,optim={name="sdg"}}]', "phases[0].optim.name = 'sdg'; there are adam"),
        ("optim=3", "is a section"),
        ("training.epochs=-1", "training.epochs = -1 must be 0 or more"),
        ("seed=-1", "seed = -1 must be from 0 to"),
        ("training.mix.ffpp=0", "training.mix.ffpp = 0.0 must be above 0"),
        ("model.dropout=1.5", "between 0 and 1"),
        ("model.input=rgb+dif", "there are rgb, srm, diff, rgb+srm, rgb+diff; did you mean 'rgb+"),
        ("model.input_size=0", "model.input_size = 0 must be above 0"),
        ("augment.jpeg=2", "augment.jpeg = 2.0 must be between 0 and 1"),
        ("augment.zoom=1", "augment.zoom = 1.0 must be between 0 and 0.99"),
        ("augment.rotate=-5", "augment.rotate = -5.0 must be between 0 and 180"),
        ("augment.jpeg_quality=[90,30]", "augment.jpeg_quality = [90, 30] must be two numbers"),
        ("augment.blur_sigma=[0,1]", "both from 0.01 to 5"),
        ("training.class_weights=[1]", "two numbers, the weight of real and that of fake"),
        ("training.class_weights=[0,0]", "two numbers, the weight of real and that of fake"),
    ],
)
def test_wrong_settings_name_key_and_remedy(assignment: str, message: str) -> None:
    with pytest.raises(UserError, match="--set") as raised:
        config.from_dict(config.parse_assignment(assignment), "--set")
    assert message in str(raised.value)


def test_assignment_needs_an_equals_sign() -> None:
    with pytest.raises(UserError, match="KEY=VALUE"):
        config.parse_assignment("optim.lr")


@pytest.mark.parametrize(
    ("text", "value"),
    [("a.b=1e-4", 1e-4), ("a.b=tiny", "tiny"), ('a.b="x=y"', "x=y"), ("a.b=true", True)],
)
def test_assignment_values(text: str, value: object) -> None:
    assert config.parse_assignment(text) == {"a": {"b": value}}


def test_merge_keeps_what_is_not_named() -> None:
    merged = config.merge({"a": {"x": 1, "y": 2}, "b": 3}, {"a": {"y": 4}}, {"c": 5})
    assert merged == {"a": {"x": 1, "y": 4}, "b": 3, "c": 5}


def test_training_hash_ignores_what_does_not_change_the_training() -> None:
    base = config.RunConfig(train="a")
    same = dataclasses.replace(
        base,
        eval=("b",),
        scoring=config.ScoringConfig(resamples=7),
        data=config.DataConfig(workers=3),
    )
    other = dataclasses.replace(base, optim=config.OptimConfig(lr=2e-3))
    assert config.training_hash(base) == config.training_hash(same)
    assert config.config_hash(base) != config.config_hash(same)
    assert config.training_hash(base) != config.training_hash(other)


def test_toml_errors_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.toml"):
        config.load_toml(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("a = = 1")
    with pytest.raises(UserError, match=r"bad\.toml: not a TOML file"):
        config.load_toml(tmp_path / "bad.toml")


def test_later_settings_change_no_name_until_they_are_used(tmp_path: Path) -> None:
    """These were the names of such runs before there were such settings."""
    base = config.RunConfig(train="a")
    assert config.config_hash(base) == "f967358b2728"
    phased = config.RunConfig(train="a", phases=(config.PhaseConfig(epochs=2),))
    assert config.training_hash(phased) == "e7ca5e4f1bbd"
    for assignment in (
        "model.input=srm",
        "model.input_size=64",
        "model.pooling=max",
        "augment.rotate=5",
        "augment.jpeg_quality=[30,96]",
        "training.loss=l2",
        "training.class_weights=[1,2]",
        "data.before=true",
    ):
        used = config.from_dict({"train": "a", **config.parse_assignment(assignment)}, "test")
        assert config.training_hash(used) != config.training_hash(base), assignment
        config.write_toml(used, tmp_path / "c.toml")
        assert config.read_toml(tmp_path / "c.toml") == used


def test_a_difference_turns_on_the_frames_before() -> None:
    for kind, before in (("rgb", None), ("rgb+srm", None), ("diff", True), ("rgb+diff", True)):
        found = config.from_dict({"train": "a", "model": {"input": kind}}, "test")
        assert found.data.before is before
        assert config.needs_before(found.model) == bool(before)
    with pytest.raises(UserError, match=r"model\.input = diff needs data\.before = true"):
        config.from_dict({"model": {"input": "diff"}, "data": {"before": False}}, "test")
    kept = config.from_dict({"data": {"before": True}}, "test")  # prepared so, and not looked at
    assert kept.data.before is True


def test_degradations_are_written_alike_and_are_no_part_of_the_training(tmp_path: Path) -> None:
    base = config.RunConfig(train="a")
    used = config.from_dict({"train": "a", "degrade": ["jpeg:90+50", "blur:1.50"]}, "test")
    assert used.degrade == ("jpeg:90", "jpeg:50", "blur:1.5")
    assert config.training_hash(used) == config.training_hash(base)
    assert config.config_hash(used) != config.config_hash(base)
    config.write_toml(used, tmp_path / "c.toml")
    assert config.read_toml(tmp_path / "c.toml") == used
    with pytest.raises(UserError, match=r"^test: degrade: 'jpg:1' is no degradation"):
        config.from_dict({"degrade": ["jpg:1"]}, "test")
