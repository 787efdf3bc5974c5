from __future__ import annotations

from dfbench.results.card import Cell, Coverage, card_name, role_of


def cell(train: str, evaluated: str) -> Cell:
    return Cell(model="meso4", train=train, eval=evaluated, seed=3)


def test_role() -> None:
    assert role_of(cell("uadfv", "uadfv")) == "within"
    assert role_of(cell("uadfv", "celebdf")) == "across"
    assert role_of(cell("", "celebdf")) == "unknown"  # nobody said what it was trained on


def test_a_card_is_a_file_name() -> None:
    name = card_name(cell("sbi:/home/me/my faces", "ffpp/c23:Deepfakes"))
    assert name == "meso4--sbi--home-me-my-faces--ffpp-c23-Deepfakes--s3.card.json"
    assert "/" not in card_name(cell("folder:../../etc", "folder:/"))


def test_coverage_adds_up() -> None:
    one = Coverage(
        clips=3, clips_with_crops=2, frames_wanted=30, frames=20, reasons={"no face found": 1}
    )
    two = Coverage(
        clips=4,
        clips_with_crops=2,
        frames_wanted=40,
        frames=19,
        reasons={"no face found": 1, "cannot decode": 1},
    )
    assert one + two == Coverage(
        clips=7,
        clips_with_crops=4,
        frames_wanted=70,
        frames=39,
        reasons={"cannot decode": 1, "no face found": 2},
    )
