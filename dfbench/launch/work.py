"""What a job does, on whatever engine: prepare, train by parts, write pages."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from dfbench.errors import system_errors
from dfbench.launch.render import JobFile

PROTOCOL = "protocol.toml"  # the user's, as it was at launch


@dataclass(frozen=True, kw_only=True)
class Work:
    """A protocol, its settings, and where data and results lie."""

    name: str
    folder: str  # of the job's files, here
    protocol: str  # name of a shipped one, or the file's path where the job runs
    protocol_file: Path | None = None  # here; None: a shipped one
    rehearse: bool = False
    settings: tuple[str, ...] = ()  # KEY=VALUE
    flags: tuple[str, ...] = ()  # such as --allow-leak
    raw: tuple[tuple[str, str], ...] = ()  # dataset and folder of its download, where the job runs
    data_dir: str
    runs_dir: str
    trainings: int
    parts: int  # jobs that share them
    env: tuple[tuple[str, str], ...] = ()
    dfbench: tuple[str, ...] = ("dfbench",)  # how it is called where the job runs
    jobs: int = 0  # processes that find faces; 0: one a core

    @property
    def matrix(self) -> tuple[str, ...]:
        """The command that makes all cells; `--part K/N` makes some."""
        changes = (word for text in self.settings for word in ("--set", text))
        return (
            *(*self.dfbench, "matrix", "--protocol", self.protocol),
            *(("--rehearse",) if self.rehearse else ()),
            *changes,
            *self.flags,
            *self._places("--runs-dir", self.runs_dir),
        )

    @property
    def prepare(self) -> tuple[tuple[str, ...], ...]:
        """The commands after which a training finds its data."""
        downloads = (
            (
                *(*self.dfbench, "prepare", dataset, "--raw", folder),
                *("--protocol", self.protocol, *self._places()),
            )
            for dataset, folder in self.raw
        )
        return (*downloads, (*self.matrix, "--prepare-only"))

    @property
    def leaderboard(self) -> tuple[str, ...]:
        """The command that shows what was made."""
        return (*self.dfbench, "leaderboard", self.runs_dir)

    def _places(self, *more: str) -> tuple[str, ...]:
        jobs = ("--jobs", str(self.jobs)) if self.jobs else ()
        return ("--data-dir", self.data_dir, *more, *jobs)


def with_protocol(work: Work, folder: str) -> Work:
    """Return the work with the user's protocol, if it has one, in a folder where the job runs."""
    return replace(work, protocol=f"{folder}/{PROTOCOL}") if work.protocol_file else work


def protocol_files(work: Work) -> list[JobFile]:
    """Return the user's protocol as it is now, for the folder of the job; none if it is shipped.

    Raises:
      UserError: it cannot be read.
    """
    if work.protocol_file is None:
        return []
    with system_errors(work.protocol_file):
        return [JobFile(PROTOCOL, work.protocol_file.read_bytes())]
