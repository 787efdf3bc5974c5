from __future__ import annotations

from pathlib import Path

import pytest

from dfbench.data.catalog import builtin_dir, dataset_entry, dataset_names, load_builder
from dfbench.data.spec import parse_spec
from dfbench.errors import UserError


def test_plain_name() -> None:
    (spec,) = parse_spec("synth_swap")
    assert (spec.name, spec.variant, spec.path, spec.manipulations) == ("synth_swap", "", None, ())


def test_variant_and_manipulations() -> None:
    (spec,) = parse_spec("synth_swap/c23:b+a+b")
    assert (spec.name, spec.variant, spec.manipulations) == ("synth_swap", "c23", ("a", "b"))


def test_union_of_names_and_paths_with_commas() -> None:
    specs = parse_spec("folder:/a,b/c,synth_swap,sbi:x")
    assert [(s.name, s.path) for s in specs] == [
        ("folder", Path("/a,b/c")),
        ("synth_swap", None),
        ("sbi", Path("x")),
    ]


@pytest.mark.parametrize("text", ["", "  ", "folder:", "folder/x", "nosuch", "synth_swap,nosuch"])
def test_wrong_specs(text: str) -> None:
    with pytest.raises(UserError):
        parse_spec(text)


def test_every_dataset_has_the_files_of_the_layout() -> None:
    assert not (builtin_dir() / "__init__.py").exists()  # the name belongs to another package
    for name in dataset_names():
        entry = dataset_entry(name)
        assert entry.summary, f"{name}: README.md has no first paragraph"
        for file in ("README.md", "CITATIONS.bib", "TAGS.txt"):
            assert (entry.folder / file).is_file(), f"{name} lacks {file}"
        builder = load_builder(name)
        assert builder.name == name
        assert builder is load_builder(name)
