"""Targets that are typed: specs, settings, degradations, protocols, values of jobs, URLs."""

from __future__ import annotations

import json
import math
import shlex
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import tomli_w
import yaml
from fuzz.damage import NASTY, changed, damaged, joined, words
from fuzz.target import Target, read
from hypothesis import strategies as st

from dfbench import config, protocols
from dfbench.config import RunConfig, from_dict, read_toml, to_dict, write_toml
from dfbench.data.catalog import dataset_names
from dfbench.data.spec import parse_spec
from dfbench.degradations import KINDS, parse_degradations
from dfbench.launch import values
from dfbench.launch.render import quote_shell, quote_yaml
from dfbench.paths import folder_name, slug
from dfbench.storage import listing
from dfbench.storage.listing import is_safe
from dfbench.storage.stage import stage_of
from dfbench.storage.url import Url, place

# --- specs and degradations -----------------------------------------------------------------------

SPECS = joined((*dataset_names(), "folder", "sbi", "c23", "Deepfakes", ":", ":", "/", ",", "+"))


def check_spec(text: str, folder: Path) -> None:
    specs = read(parse_spec, text)
    if specs is None:
        return
    assert specs
    for one in specs:
        assert one.name in (*dataset_names(), "folder", "sbi")
        assert (one.path is None) == (one.name not in ("folder", "sbi"))
        assert list(one.manipulations) == sorted(set(one.manipulations))
    assert parse_spec(",".join(one.text for one in specs)) == specs


DEGRADATIONS = joined((*KINDS, ":", ":", ",", "+", "1", "50", "0.5", "100", ".5", "1e2"))


def check_degradation(text: str, folder: Path) -> None:
    found = read(parse_degradations, [text], "--degrade")
    if found is None:
        return
    for one in found:
        kind = KINDS[one.kind]
        assert kind.least <= one.strength <= kind.most
    assert len(set(found)) == len(found)
    assert parse_degradations([one.text for one in found], "again") == found
    assert all(folder_name(one.text) not in (".", "..") for one in found)


# --- settings and protocols -----------------------------------------------------------------------

_FULL: dict[str, Any] = {
    **to_dict(RunConfig(train="uadfv", eval=("celebdf",), degrade=("jpeg:50",))),
    "phases": [{"epochs": 1, "train": ["head.*"], "optim": {"lr": 1e-3}}],
}
_SETTINGS = [_FULL, to_dict(RunConfig()), {}]
ASSIGNMENTS = st.lists(
    st.tuples(st.sampled_from(config.setting_names()) | words, words | st.just("1e-3")).map(
        "=".join
    )
    | joined((*config.setting_names(), "=", "=", ".", "[", "]", '"', "1", "true", ",")),
    min_size=1,
    max_size=3,
)


def _finite(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_finite, value.values()))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _check_config(made: RunConfig, folder: Path) -> None:
    assert _finite(to_dict(made)), "a number that is none"
    assert from_dict(to_dict(made), "again") == made
    assert config.config_hash(made) == config.hash_values(to_dict(made))
    assert len(config.training_hash(made)) == 12
    write_toml(made, folder / "config.toml")
    assert read_toml(folder / "config.toml") == made


def check_settings(tree: Any, folder: Path) -> None:
    if isinstance(tree, dict) and (made := read(from_dict, tree, "--set")) is not None:
        _check_config(made, folder)


def check_assignments(texts: list[str], folder: Path) -> None:
    parsed = [read(config.parse_assignment, text) for text in texts]
    merged = config.merge({}, *(one for one in parsed if one is not None))
    if (made := read(from_dict, merged, "--set")) is not None:
        _check_config(made, folder)


_PROTOCOLS = [path.read_bytes() for path in protocols.shipped().values()]
_TREES = [tomllib.loads(data.decode()) for data in _PROTOCOLS]


def check_protocol(data: bytes, folder: Path) -> None:
    path = folder / "mine.toml"
    path.write_bytes(data)
    found = read(protocols.read_protocol, path)
    if found is None:
        return
    assert found.runs
    assert len(protocols.resolved_hash(found)) == 64
    _check_config(found.runs[0], folder)


def _toml(tree: Any) -> bytes:
    """Return a tree as TOML, or, where it has no such form, as JSON, which is none either."""
    try:
        return tomli_w.dumps(tree).encode()
    except (TypeError, ValueError, AttributeError, RecursionError):
        return json.dumps(tree).encode()


# --- jobs -----------------------------------------------------------------------------------------


def check_launch(text: str, folder: Path) -> None:
    """Whatever passes must be one word of a shell, and a text in YAML."""
    found = [
        read(values.printable, text, "--x"),
        read(values.word, text, "--x"),
        read(values.absolute, text, "--x"),
        *(read(values.directives, [text]) or ()),
        *(part for pair in read(values.variables, [text]) or () for part in pair),
        *(part for pair in read(values.pairs, [text], "--x", "A=B") or () for part in pair),
    ]
    for one in found:
        if one is not None:
            assert shlex.split(quote_shell(one)) == [one]
            assert json.loads(quote_yaml(one)) == one
            assert yaml.safe_load(quote_yaml(one)) == one
    name = read(values.dns_name, text)
    if name is not None:
        assert 0 < len(name) <= values.MOST_OF_NAME
        assert name.strip("-") == name
        assert name[0].isalpha()
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


# --- object storage -------------------------------------------------------------------------------

URLS = joined(("s3", "gs", "gcs", "file", "http", ":", "/", "//", "bucket", "runs", ".", "..", "?"))


def check_url(text: str, folder: Path) -> None:
    found = read(place, text)
    if isinstance(found, Url):
        assert place(str(found)) == found
        home = stage_of(found).home
        assert ".." not in home.parts
        assert home.parents[1].name == "remote"
        assert slug(str(found)) in home.parts[-2]


_ENTRY = {"key": "scores.parquet", "bytes": 10, "sha256": "0" * 64}
_LISTS = [
    {"version": 1, "finished": True, "files": {"scores.parquet": _ENTRY, "evals/a b.json": _ENTRY}},
    {"version": 1, "finished": False, "files": {}},
]
PATHS = joined((*NASTY[:36], "/", "/", "a", "b.json"))


def _json(tree: Any) -> bytes:
    return json.dumps(tree).encode()


def check_listing(data: bytes, folder: Path) -> None:
    found = read(listing.decode, data, "s3://bucket/x")
    if found is None:
        return
    for path, entry in found.files.items():
        _check_inside(path)
        _check_inside(entry.key)
    assert listing.decode(listing.encode(found), "again") == found


def check_path(text: str, folder: Path) -> None:
    if is_safe(text):
        _check_inside(text)
    for name in (slug(text), folder_name(text)):
        assert not {"/", "\\"} & set(name)
        assert name not in ("", ".", "..")


def _check_inside(path: str) -> None:
    for kind in (PurePosixPath, PureWindowsPath):
        there = kind("root") / path
        assert there.parts[0] == "root", path
        assert ".." not in there.parts, path


TARGETS = (
    Target(name="dataset specs", inputs=SPECS, check=check_spec),
    Target(name="degradations", inputs=DEGRADATIONS, check=check_degradation),
    Target(name="settings", inputs=changed(_SETTINGS), check=check_settings),
    Target(name="--set", inputs=ASSIGNMENTS, check=check_assignments),
    Target(
        name="protocols, TOML",
        inputs=damaged(_PROTOCOLS) | changed(_TREES).map(_toml),
        check=check_protocol,
        share=0.4,
    ),
    Target(
        name="values of jobs",
        inputs=joined(("--", "=", "a100", "NAME", "gs://b/x", " ", "'", "#")),
        check=check_launch,
    ),
    Target(name="storage URLs", inputs=URLS, check=check_url),
    Target(name="storage paths", inputs=PATHS, check=check_path),
    Target(
        name="storage listings",
        inputs=damaged([_json(one) for one in _LISTS]) | changed(_LISTS).map(_json),
        check=check_listing,
    ),
)
