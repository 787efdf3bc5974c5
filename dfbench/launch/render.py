"""Templates to files. Whatever is put into a template is quoted here, so that none can forget it.

Shell scripts: `{{ value }}` is one word, `{{ command }}` of a tuple its words. YAML: `{{ value }}`
is that value, as JSON, which is YAML.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfbench.errors import system_errors
from dfbench.files import whole

if TYPE_CHECKING:
    import jinja2


@dataclass(frozen=True)
class JobFile:
    """A file to be written."""

    name: str  # in the folder of the job
    content: str | bytes

    @property
    def text(self) -> str:
        """The content as text."""
        return self.content if isinstance(self.content, str) else self.content.decode()


def render(template: str, **values: Any) -> str:
    """Return a template of `templates/` with values; by its name it is YAML or a shell script.

    Raises:
      ValueError: a value of a shell script that does not fit on a line.
      TypeError: a value is missing, or has no form there.
    """
    dialect = quote_yaml if template.endswith(".yaml") else quote_shell
    return _environment(dialect).get_template(template).render(values)


def _environment(dialect: Callable[[Any], str]) -> jinja2.Environment:
    import jinja2  # not before a template is wanted: every command imports this module

    return jinja2.Environment(
        loader=jinja2.PackageLoader("dfbench.launch"),
        finalize=dialect,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # that is HTML's
    )


def quote_shell(value: Any) -> str:
    """Return a value as one word of a shell command, or a tuple as its words.

    Raises:
      ValueError: it does not print: a line break would end a comment or a directive.
    """
    if isinstance(value, tuple):
        return " ".join(map(quote_shell, value))
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise TypeError(f"{value!r} has no place in a shell script")
    text = str(value)
    if not text.isprintable():
        raise ValueError(f"{text!r} has characters that do not print")
    return shlex.quote(text)


def quote_yaml(value: Any) -> str:
    """Return a value as JSON in which everything prints, which is YAML too."""
    text = json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    number = ord(character)
    return f"\\u{number:04x}" if number < 2**16 else f"\\U{number:08x}"


def write_files(out: Path, files: Sequence[JobFile]) -> list[Path]:
    """Write files into a folder, each whole; scripts may be executed.

    Raises:
      UserError: the folder cannot be written.
    """
    paths = [out / file.name for file in files]
    with system_errors(out):
        for path, file in zip(paths, files, strict=True):
            content = file.content.encode() if isinstance(file.content, str) else file.content
            with whole(path) as unfinished:
                unfinished.write_bytes(content)
                unfinished.chmod(0o755 if path.suffix == ".sh" else 0o644)
    return paths


def joined(commands: Sequence[Sequence[str]]) -> str:
    """Return commands as one line of shell that stops at the first that fails."""
    return " && ".join(quote_shell(tuple(command)) for command in commands)
