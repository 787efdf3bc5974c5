"""The protocols of the five reports, in small on the embedded datasets, as a user types them."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.command import dfbench
from support.landmarks import train_predictor
from support.onnx import write_embedder

from dfbench.protocols import read_protocol, shipped
from dfbench.rehearsal import rehearse
from dfbench.report.published import published_folder, read_published
from dfbench.report.systems import NOT_RUN, system_rows
from dfbench.results.store import read_card

pytestmark = pytest.mark.slow  # a command of its own in continuous integration: make e2e
pytest.importorskip("dlib", reason="needs dfbench[classical]: dlib")

# Its trainings are those of cvcs_variants, and cvcs_sift_by_image shows what an allowed leak is.
REFUSED_ONLY = "cvcs_variants_by_image"
REPORTS = (
    *("uadfv_lab_landmarks", "uadfv_lab_embedding", "uadfv_lab_small_cnn", "uadfv_lab_vgg19"),
    *("celebdf_first_frame", "dfdc_resnet34", "mesonet_transfer"),
    *("cvcs_variants", "cvcs_variants_by_image", "cvcs_sift", "cvcs_sift_by_image"),
)


@dataclass(frozen=True)
class Home:
    path: Path
    landmarks: Path
    embedding: Path

    def matrix(self, name: str, *more: str) -> subprocess.CompletedProcess[str]:
        return dfbench(
            *("matrix", "--protocol", name, "--rehearse", *more),
            cwd=self.path,
            cache=self.path / "cache",
            timeout=1200,
            DFBENCH_LANDMARK_MODEL=str(self.landmarks),
            DFBENCH_EMBEDDING_MODEL=str(self.embedding),
        )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    root = tmp_path_factory.mktemp("home")
    return Home(
        root,
        landmarks=train_predictor(root / "rendered.dat", range(40)),
        embedding=write_embedder(root / "embedder.onnx"),
    )


@pytest.mark.parametrize("name", REPORTS)
def test_each_runs_by_one_command(home: Home, name: str) -> None:
    leaks = name.endswith("_by_image")
    if leaks:  # what a split by image is, the first call says
        refused = home.matrix(name)
        assert "0 scored" in refused.stdout
        assert "--allow-leak" in refused.stdout
    if name == REFUSED_ONLY:
        return
    done = home.matrix(name, *(["--allow-leak"] if leaks else []))
    assert done.returncode == 0, done.stderr + done.stdout
    assert "0 refused, 0 failed" in done.stdout
    wanted = rehearse(read_protocol(shipped()[name])).runs
    cards = [read_card(path) for path in home.path.glob("runs/*/evals/*/*.card.json")]
    own = [card for card in cards if card.protocol == f"{name}-1 (rehearsal)"]
    assert {card.config["system"] for card in own} == {run.system for run in wanted}
    assert len(own) == sum(len({run.train, *run.eval}) for run in wanted)
    assert all(card.metrics["video_auc"].n > 0 for card in own)
    assert all(card.audit is not None and card.audit.allowed == leaks for card in own)


def test_the_leaderboard_has_each_system_beside_its_published_number(home: Home) -> None:
    done = dfbench("leaderboard", "runs", cwd=home.path, cache=home.path / "cache")
    assert done.returncode == 0, done.stderr
    cards = [read_card(path) for path in home.path.glob("runs/*/evals/*/*.card.json")]
    published = read_published(published_folder())
    rows = system_rows(cards, published)
    assert {(row.protocol, row.system) for row in rows} == {
        place for one in published for place in one.systems if place[0] != REFUSED_ONLY
    }
    assert all(row.here != (NOT_RUN,) and "rehearsal" in row.here[0] for row in rows)
    page = (home.path / "runs" / "leaderboard" / "README.md").read_text()
    assert all(f"| {row.protocol}: {row.system} |" in page for row in rows)


def test_cards_of_rehearsals_are_verified(home: Home) -> None:
    done = dfbench("verify", "runs", cwd=home.path, cache=home.path / "cache")
    assert done.returncode == 0, done.stdout
