from __future__ import annotations

import subprocess
from importlib import resources
from pathlib import Path

import jinja2
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from support.shell import HOSTILE

from dfbench.errors import UserError
from dfbench.launch import render as rendering
from dfbench.launch.render import JobFile, joined, quote_shell, quote_yaml, render, write_files

PRINTABLE = st.text(st.characters(exclude_categories=("C", "Z")) | st.just(" "), min_size=1)


@given(st.lists(PRINTABLE, min_size=1, max_size=5))
def test_words_are_what_python_takes_them_for(words: list[str]) -> None:
    import shlex

    assert shlex.split(quote_shell(tuple(words))) == words


def test_words_are_what_bash_takes_them_for(tmp_path: Path) -> None:
    words = (
        HOSTILE,
        "",
        "-n",
        "~",
        "ä",
        "$((1+1))",
        "😀",
    )
    done = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {quote_shell(words)}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\0")[:-1] == list(words)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "\x1b[0m", "\x00", "a\u2028b"])
def test_a_line_break_in_a_script_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="do not print"):
        quote_shell(text)


@pytest.mark.parametrize("value", [None, True, 1.5, ["a"], {"a": "b"}])
def test_what_has_no_form_in_a_script_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        quote_shell(value)


@given(st.recursive(st.text() | st.integers() | st.booleans() | st.none(), st.lists, max_leaves=5))
def test_yaml_reads_back(value: object) -> None:
    assert yaml.safe_load(f"key: {quote_yaml(value)}") == {"key": value}


def test_a_template_quotes_without_being_told(monkeypatch: pytest.MonkeyPatch) -> None:
    templates = {
        "a.sh": "echo {{ value }}\n{% if value %}\n{{ command }}\n{% endif %}\n",
        "a.yaml": "a: {{ value }}\nb: [{{ value }}]\n",
        "b.sh": "{{ missing }}",
    }
    monkeypatch.setattr(jinja2, "PackageLoader", lambda package: jinja2.DictLoader(templates))
    script = render("a.sh", value="$(x) 'y'", command=("ls", "a b"))
    assert script == "echo '$(x) '\"'\"'y'\"'\"''\nls 'a b'\n"
    value = "a: b # [c]\n- 'd'"
    assert yaml.safe_load(render("a.yaml", value=value)) == {"a": value, "b": [value]}
    with pytest.raises(TypeError):
        render("b.sh", value="a")


def test_commands_on_a_line() -> None:
    assert joined([("a", "b c"), ("d",)]) == "a 'b c' && d"


def test_templates_are_in_the_package() -> None:
    folder = resources.files("dfbench.launch") / "templates"
    found = [f"{t.name}/{f.name}" for t in folder.iterdir() for f in t.iterdir()]
    assert {"slurm/train.sh", "k8s/jobset.yaml", "tpu_vm/submit.sh", "skypilot/train.yaml"} <= set(
        found
    )


def test_files_are_written_whole_and_scripts_may_be_run(tmp_path: Path) -> None:
    files = [JobFile("submit.sh", "#!/bin/bash\necho ran\n"), JobFile("logs/README", b"x")]
    paths = write_files(tmp_path / "new" / "job", files)
    assert subprocess.check_output([str(paths[0])], text=True) == "ran\n"
    assert sorted(p.name for p in (tmp_path / "new" / "job").rglob("*")) == [
        "README",
        "logs",
        "submit.sh",
    ]
    write_files(tmp_path / "new" / "job", [JobFile("submit.sh", "other")])
    assert paths[0].read_text() == "other"
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file"):
        write_files(tmp_path / "file" / "job", files)


def test_jinja_is_not_imported_before_a_template_is_wanted() -> None:
    assert "jinja2" not in vars(rendering)
