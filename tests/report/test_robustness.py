from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from support.cards import make_card
from support.evals import make_scores, write_evaluation

from dfbench.degradations import parse_degradations
from dfbench.eval.change import Change
from dfbench.report.figures.style import encode
from dfbench.report.figures.sweep import drawable, sweep_figure
from dfbench.report.leaderboard import write_leaderboard
from dfbench.report.matrix import matrix, mean_across
from dfbench.report.robustness import (
    Point,
    Sweep,
    change_text,
    degradation_of,
    robustness_tables,
    sweeps_text,
)
from dfbench.results.card import FileHash, Metric, ResultCard, card_name, eval_folder
from dfbench.results.store import SCORES, StoredCard, load_cards
from dfbench.workflow.robustness import sweeps_of


def degraded(auc: float | None, degrade: str, **options: object) -> ResultCard:
    card = make_card(auc, **options)  # type: ignore[arg-type]
    return dataclasses.replace(card, cell=dataclasses.replace(card.cell, degrade=degrade))


def sweep(*texts: str, auc: float | None = 0.8, clean: float = 0.9, **options: str) -> Sweep:
    low_high = {} if auc is None else {"low": auc - 0.1, "high": auc + 0.1}
    metric = Metric(value=auc, n=28, **low_high)
    change = Change(value=-0.1, low=-0.15, high=-0.05, p=0.0004, n=28)
    points = [Point(one, metric, change) for one in parse_degradations(texts, "test")]
    return Sweep(make_card(clean, **options), tuple(points))  # type: ignore[arg-type]


def test_names_are_safe_and_of_nothing_else() -> None:
    clean, one = make_card(0.9).cell, degraded(0.9, "blur:1.5").cell
    assert (clean.scored, one.scored) == ("synth_blend", "synth_blend@blur:1.5")
    assert eval_folder(one) == "synth_blend@blur-1.5"
    assert eval_folder(clean) == "synth_blend"
    assert card_name(one) == "meso4--synth_swap--synth_blend--blur-1.5--s0.card.json"
    union = dataclasses.replace(one, eval="a,b")
    assert union.scored == "(a,b)@blur:1.5"
    # A path may read like it; its folder does not.
    path = dataclasses.replace(clean, eval="folder:/x@blur:1.5")
    assert "@" not in eval_folder(path)


def test_degraded_crops_are_a_column_that_counts_nowhere() -> None:
    cards = [make_card(0.6), make_card(0.7, model="xception")]
    cards += [degraded(0.9, "jpeg:50"), degraded(0.1, "jpeg:50", model="xception")]
    table = matrix(cards)
    assert [c.eval for c in table.columns] == ["synth_blend", "synth_blend@jpeg:50"]
    assert [mean_across(table, i) for i in (0, 1)] == [(0.6, 1), (0.7, 1)]
    assert [e.best for _, e in sorted(table.entries.items())] == [False, False, True, False]


def test_the_table_goes_from_clean_to_strong() -> None:
    cards = [make_card(0.9), make_card(0.8, eval="other"), make_card(0.7, model="xception")]
    cards += [degraded(0.5, f"noise:{n}") for n in (10, 5)]
    cards += [degraded(0.6, f"jpeg:{n}") for n in (100, 30)]
    (table,) = robustness_tables(cards)
    assert table.title == "synth_blend"
    assert [h.partition(" (")[0] for h in table.head[2:]] == [
        *("clean", "jpeg:100", "jpeg:30", "noise:5", "noise:10")
    ]
    assert [row[0] for row in table.rows] == ["meso4"]  # the other has clean crops alone
    assert table.rows[0][2] == "0.900 [0.820, 0.980]"
    assert robustness_tables(cards[:3]) == []


def test_text_for_the_terminal() -> None:
    text = sweeps_text([sweep("jpeg:90+50", eval="synth_swap")])
    lines = text.splitlines()
    assert lines[0] == ("robustness: meso4, trained on synth_swap, seed 0, on synth_swap †")
    assert lines[2].split() == ["clean", "0.900", "[0.820,", "0.980]", "28"]
    expected = "  jpeg:90  0.800 [0.700, 0.900]  -0.100 [-0.150, -0.050]  < 0.001  28"
    assert lines[3] == expected
    assert "DeLong" in text
    assert max(map(len, lines)) <= 100
    assert change_text(Change(value=None, reason="why")) == "undefined: why"
    assert change_text(Change(value=0.1, reason="why")) == "+0.100 (why)"


@pytest.mark.parametrize("degrade", ["mirror:3", "<b>|`x", "jpeg:50,blur:1", "\x1b[31m"])
def test_what_a_card_says_that_is_no_degradation(degrade: str, tmp_path: Path) -> None:
    card = degraded(0.5, degrade)
    assert degradation_of(card) is None
    stored = [
        StoredCard(tmp_path / f"{i}.card.json", c) for i, c in enumerate((make_card(0.9), card))
    ]
    write_leaderboard(stored, tmp_path)
    page, html = ((tmp_path / name).read_text() for name in ("README.md", "index.html"))
    assert "## Robustness" in page
    assert "<b>|`x" not in page
    assert "<b>|`x" not in html
    assert "\x1b" not in page + html


def test_degraded_crops_alone_have_pages(tmp_path: Path) -> None:
    stored = [StoredCard(tmp_path / "a.card.json", degraded(0.5, "noise:5"))]
    paths = write_leaderboard(stored, tmp_path)
    assert all(path.is_file() for path in paths)
    assert not (tmp_path / "matrix.png").exists()
    assert "noise:5" in (tmp_path / "README.md").read_text()


def test_the_figure_has_a_panel_for_each_kind() -> None:
    one = sweep("jpeg:90+50+20", "blur:1", "resize:0.5+0.25", eval="a $x$ <b>")
    svg = encode(sweep_figure([one, sweep("noise:5")]), "svg").decode()
    for label in ("JPEG quality", "blur, sigma in px", "resize, factor", "noise, sigma of 255"):
        assert svg.count(f">{label}<") == 1
    assert "a $x$ &lt;b&gt;" in svg
    for tick in ("90", "50", "20", "0.25"):
        assert f">{tick}<" in svg


def test_stronger_is_to_the_right() -> None:
    figure = sweep_figure([sweep("jpeg:90+20", "noise:2+9")])
    jpeg, noise = (axes for part in figure.subfigs for axes in part.axes)
    left, right = jpeg.get_xlim()
    assert left > 90 > 20 > right
    left, right = noise.get_xlim()
    assert left < 2 < 9 < right
    assert jpeg.get_ylim() == noise.get_ylim()


def test_what_is_undefined_is_not_drawn() -> None:
    assert drawable([sweep("jpeg:50", auc=None)]) == []
    assert len(drawable([sweep("jpeg:50", auc=None), sweep("jpeg:50")])) == 1


def test_cards_that_do_not_belong_together_are_not_compared(tmp_path: Path) -> None:
    for name in ("clean", "noisy"):
        write_evaluation(tmp_path / name, make_scores(), training_hash="t")
    clean, other = (load_cards([tmp_path / name])[0] for name in ("clean", "noisy"))

    def sweeps(**changes: object) -> list[Sweep]:
        cell = dataclasses.replace(other.card.cell, degrade="noise:5")
        card = dataclasses.replace(other.card, **{"cell": cell, **changes})  # type: ignore[arg-type]
        return sweeps_of([clean, StoredCard(other.path, card)])

    (same,) = sweeps()
    assert (same.points[0].change.value, same.points[0].change.p) == (0.0, 1.0)
    (data,) = sweeps(datasets=dataclasses.replace(other.card.datasets, eval=()))
    assert data.points[0].change.reason == "clean crops that were scored are others"
    (files,) = sweeps(files={"checkpoint": FileHash(sha256="0", bytes=1)})
    assert files.points[0].change.reason == "clean crops were scored by another checkpoint"
    assert sweeps(training_hash="u") == []
    seed = dataclasses.replace(other.card.cell, degrade="noise:5", seed=1)
    assert sweeps(cell=seed) == []
    other.path.with_name(SCORES).unlink()
    (gone,) = sweeps()
    assert gone.points[0].change.reason == "no scores beside a card"
    assert gone.points[0].metric == same.points[0].metric
