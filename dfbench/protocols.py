"""Protocols: TOML files that fix the cells of a benchmark and all settings.

    name = "tiny"                # with the version: what cards call it, `tiny-1`
    version = "1"
    description = "One line."

    [cells]                      # every model on every training dataset with every seed
    train = ["uadfv", "dftimit/hq"]
    eval = ["celebdf"]           # besides the test split of the training dataset
    model = ["meso4", "xception"]
    seed = [0, 1, 2]
    degrade = ["jpeg:50"]        # each dataset once more with degraded crops (default: none)

    [settings.optim]             # the same tree that --set changes
    lr = 1e-3

    [by_model.xception.optim]    # where one model needs another setting
    lr = 2e-4

    [systems.vgg16_srm.model]    # a name in `cells.model` that stands for a model and its settings
    name = "keras:VGG16"
    input = "srm"

A shipped protocol never changes: another content is another version (`versions.json`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from dfbench.config import RunConfig, from_dict, load_toml, merge, to_dict
from dfbench.errors import UserError, nearest
from dfbench.paths import from_home

_KEYS = ("name", "version", "description", "cells", "settings", "by_model", "systems")
_FIXED = ("train", "eval", "seed", "degrade", "system", "model.name")  # by the cells
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, kw_only=True)
class Cells:
    """The axes of a matrix of cells."""

    train: tuple[str, ...]  # dataset specs
    eval: tuple[str, ...]  # dataset specs, besides the one trained on
    model: tuple[str, ...]  # or names of systems
    seed: tuple[int, ...] = (0,)
    degrade: tuple[str, ...] = ()  # of the scored crops, besides clean


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A protocol that was read."""

    name: str
    version: str
    description: str
    cells: Cells
    runs: tuple[RunConfig, ...]  # one a training
    changed: bool = False  # `runs` differ from what the file says
    rehearsal: bool = False  # ... and are in small, on other datasets

    @property
    def label(self) -> str:
        """What cards call it: `tiny-1`."""
        end = " (rehearsal)" if self.rehearsal else " (changed)" if self.changed else ""
        return f"{self.name}-{self.version}{end}"


def shipped() -> dict[str, Path]:
    """Return the files of the protocols that come with the package, by name."""
    package = Path(__file__).resolve().parent
    checkout = package.parent / "benchmarks" / "protocols"
    folder = checkout if checkout.is_dir() else package / "_protocols"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def find_protocol(text: str) -> Path:
    """Find a protocol by path or by the name of a shipped one.

    Raises:
      UserError: neither.
    """
    if Path(text).is_file():
        return Path(text)
    found = shipped()
    if text not in found:
        hint = nearest(text, found) or f"; shipped ones: {', '.join(found)}"
        raise UserError(f"no protocol file '{text}'{hint}")
    return found[text]


def read_protocol(path: Path, changes: Mapping[str, Any] | None = None) -> Protocol:
    """Read a protocol, with some settings changed.

    Raises:
      UserError: no such file, a wrong protocol, or one that bears the name and version of a shipped
        one and says something else.
    """
    values = load_toml(path)
    protocol = parse_protocol(values, str(path))
    original = shipped().get(protocol.name)
    if original is not None and original.resolve() != path.resolve():
        theirs = load_toml(original)
        if theirs.get("version") == protocol.version and content_hash(theirs) != content_hash(
            values
        ):
            raise UserError(
                f"{path}: another protocol is called {protocol.label} ({original}); give this one "
                "another name or version"
            )
    if not changes:
        return protocol
    from_dict(changes, "--set")  # so that the message for a wrong one says where it stands
    refuse_fixed(changes, "--set", "the protocol fixes the cells")
    changed = merge(values.get("settings", {}), changes)
    own_settings = {**values.get("by_model", {}), **values.get("systems", {})}
    by_model = {m: merge(own, changes) for m, own in own_settings.items()}
    runs = expand(protocol.cells, changed, str(path), by_model)
    same = [_result(run) for run in runs] == [_result(run) for run in protocol.runs]
    return replace(protocol, runs=tuple(runs), changed=not same)


def _result(run: RunConfig) -> RunConfig:
    """Leave out what changes the speed alone."""
    return replace(run, data=replace(run.data, workers=0))


def parse_protocol(values: Mapping[str, Any], origin: str) -> Protocol:
    """Check a protocol's values and expand its cells.

    Raises:
      UserError: an unknown key (with the nearest one), one that is missing, or a wrong value; the
        message names `origin`.
    """
    for key in values:
        if key not in _KEYS:
            raise UserError(f"{origin}: unknown key '{key}'{nearest(key, _KEYS)}")
    for key in ("name", "version"):
        value = values.get(key)
        if not isinstance(value, str) or not _WORD.fullmatch(value):
            problem = "is missing" if value is None else f"is {value!r}"
            raise UserError(
                f"{origin}: {key} {problem}; it is a text of letters, digits, '_', '.' and '-', "
                f'such as {key} = "{"mine" if key == "name" else "1"}"'
            )
    description = values.get("description", "")
    if not isinstance(description, str):
        raise UserError(f"{origin}: description is {description!r}; it is a text")
    settings, by_model, systems = (
        _table(values, key, origin) for key in ("settings", "by_model", "systems")
    )
    cells = _cells(_table(values, "cells", origin), origin)
    refuse_fixed(settings, f"{origin}: settings", "[cells] does that")
    for model in by_model:
        if model not in cells.model:
            hint = nearest(model, cells.model)
            raise UserError(
                f"{origin}: by_model names '{model}', which is not in cells.model{hint}"
            )
        own = _table(by_model, model, f"{origin}: by_model")
        refuse_fixed(own, f"{origin}: by_model.{model}", "[cells] does that")
    for system in systems:
        _check_system(system, _table(systems, system, f"{origin}: systems"), cells, origin)
    return Protocol(
        name=values["name"],
        version=values["version"],
        description=description,
        cells=cells,
        runs=tuple(expand(cells, settings, origin, {**by_model, **systems})),
    )


def _check_system(name: str, own: Mapping[str, Any], cells: Cells, origin: str) -> None:
    if not _WORD.fullmatch(name):
        raise UserError(
            f"{origin}: systems.{name}: a name is made of letters, digits, '_', '.' and '-'"
        )
    if name not in cells.model:
        raise UserError(
            f"{origin}: systems names '{name}', which is not in cells.model"
            f"{nearest(name, cells.model)}"
        )
    if not isinstance(_table(own, "model", f"{origin}: systems.{name}").get("name"), str):
        raise UserError(
            f"{origin}: systems.{name} does not say which model it is: [systems.{name}.model] "
            'name = "meso4"'
        )
    settings = {**own, "model": {k: v for k, v in own["model"].items() if k != "name"}}
    refuse_fixed(settings, f"{origin}: systems.{name}", "[cells] does that")


def expand(
    cells: Cells,
    settings: Mapping[str, Any],
    origin: str,
    by_model: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[RunConfig]:
    """Return one configuration a training: models x training datasets x seeds.

    What `by_model` has for an entry of `cells.model` names the model too, if that is a system.

    Raises:
      UserError: wrong settings; the message names `origin`.
    """
    found = []
    for model in cells.model:
        own = (by_model or {}).get(model, {})
        is_system = "name" in own.get("model", {})
        named = {"system": model} if is_system else {"model": {"name": model}}
        fixed = {**named, "eval": cells.eval, "degrade": cells.degrade}
        found += [
            from_dict(merge(settings, own, fixed, {"train": train, "seed": seed}), origin)
            for train in cells.train
            for seed in cells.seed
        ]
    return found


def _cells(values: Mapping[str, Any], origin: str) -> Cells:
    axes = Cells.__dataclass_fields__
    for key in values:
        if key not in axes:
            raise UserError(f"{origin}: unknown key 'cells.{key}'{nearest(key, axes)}")
    for axis in ("train", "eval", "model"):
        if axis not in values:
            raise UserError(f"{origin}: cells.{axis} is missing")
    try:
        cells = msgspec.convert({axis: _listed(value) for axis, value in values.items()}, Cells)
    except msgspec.ValidationError as error:
        raise UserError(f"{origin}: cells: {error}") from error
    for axis in axes:
        entries = getattr(cells, axis)
        twice = [entry for entry, count in Counter(entries).items() if count > 1]
        if twice:
            raise UserError(f"{origin}: cells.{axis} names {twice[0]} twice")
        if "" in entries or not (entries or axis in ("eval", "degrade")):
            raise UserError(f"{origin}: cells.{axis} is empty")
    train, evaluated = (tuple(map(from_home, specs)) for specs in (cells.train, cells.eval))
    return replace(cells, train=train, eval=evaluated)  # as settings and cards have them


def refuse_fixed(settings: Mapping[str, Any], origin: str, why: str) -> None:
    """Raise UserError where settings name what the cells fix; `why` says what does."""
    for name in _FIXED:
        section, _, key = name.rpartition(".")
        place = settings.get(section) if section else settings
        if isinstance(place, Mapping) and key in place:
            raise UserError(f"{origin}: {name} cannot be set: {why}")


def _table(values: Mapping[str, Any], key: str, origin: str) -> Mapping[str, Any]:
    value = values.get(key, {})
    if not isinstance(value, Mapping):
        raise UserError(f"{origin}: '{key}' is a table, [{key}]")
    return value


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str) else [value]


def content_hash(values: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what a protocol's file says, without comments and layout."""
    return _sha256(values)


def resolved_hash(protocol: Protocol) -> str:
    """Return the SHA-256 of all settings of all its trainings, those of the defaults too."""
    return _sha256([to_dict(run) for run in protocol.runs])


def _sha256(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
