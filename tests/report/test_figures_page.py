from __future__ import annotations

from html.parser import HTMLParser

from support.cards import make_card

from dfbench.report.figures.page import Gallery, Picture, Section, Thumbnail, page
from dfbench.report.figures.tables import (
    Table,
    breakdown_table,
    chosen_table,
    coverage_table,
    facts_table,
    meanings_table,
    metrics_table,
    oracle_table,
    other_metrics_table,
    overview_table,
    warnings,
)
from dfbench.results.card import Audit, Calibration, Coverage, Metric, OracleGap

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)> \"'&\x1b[31m\u202e"


class Page(HTMLParser):
    """What a browser would make of a page, as far as tests ask."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in ("meta", "img", "link", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def of(self, name: str) -> list[str]:
        return [value for _, key, value in self.attributes if key == name]


def hostile_page() -> Page:
    table = Table(HOSTILE, (HOSTILE, HOSTILE), ((HOSTILE, HOSTILE),), HOSTILE)
    folded = Table(HOSTILE, ("", ""), ((HOSTILE, "1"),), folded=True)
    picture = Picture(HOSTILE, HOSTILE, HOSTILE, b"png", "png", f"a b/{HOSTILE}.png")
    section = Section(
        title=HOSTILE,
        lead=HOSTILE,
        warnings=(HOSTILE,),
        columns=((table, picture), (folded,)),
        rows=((picture,), ()),
        galleries=(Gallery(HOSTILE, (Thumbnail(b"jpeg", "jpeg", HOSTILE, HOSTILE),)),),
        sheet=picture,
        missing=((HOSTILE, HOSTILE),),
        settings=f"name = '{HOSTILE}'\nseed = 0",
    )
    return Page(page(HOSTILE, HOSTILE, [section, section], HOSTILE))


def test_names_are_text_whatever_they_say() -> None:
    found = hostile_page()
    assert found.open == []
    assert "script" not in found.tags
    assert not [name for _, name, _ in found.attributes if name.startswith("on")]
    assert "<script>alert(1)</script>" in " ".join(found.words)
    assert not any("\x1b" in word or "\u202e" in word for word in found.words[:40])


def test_the_page_needs_nothing_but_itself() -> None:
    found = hostile_page()
    for name in ("src", "href", "xlink:href", "action", "data"):
        for value in found.of(name):
            relative = name == "href" and not value.startswith(("//", "/")) and ":" not in value
            assert value.startswith(("data:image/", "#")) or relative
    policy = next(value for value in found.of("content") if "default-src" in value)
    assert "default-src 'none'" in policy
    assert "script" not in policy
    assert "link" not in found.tags


def test_ids_are_unique_and_links_arrive() -> None:
    found = hostile_page()
    ids = found.of("id")
    assert len(ids) == len(set(ids))
    targets = [v[1:] for v in (*found.of("href"), *found.of("aria-labelledby")) if v[:1] == "#"]
    assert targets
    assert set(targets) <= set(ids)
    assert set(found.of("aria-labelledby")) <= set(ids)


def test_what_cannot_be_seen_is_said() -> None:
    found = hostile_page()
    images = [tag for tag in found.tags if tag == "img"]
    assert len([value for value in found.of("alt") if value]) == len(images)
    assert found.tags.count("h1") == 1
    assert ("html", "lang", "en") in found.attributes


# --- tables ---------------------------------------------------------------------------------------


def test_metrics_have_intervals_or_a_reason() -> None:
    why = "15 real videos; this false-positive rate needs 100"
    card = make_card(
        0.9,
        metrics={
            "video_f1": Metric(value=0.5, n=20, reason="no interval: only 1 fake video"),
            "video_tpr_at_fpr_1pct": Metric(value=None, n=15, reason=why),
            "video_auc": Metric(value=0.91234, low=0.85, high=0.96, n=1500),
        },
    )
    table = metrics_table(card, 0.9)
    assert table.head == ("metric", "value", "90 % interval", "n", "reason")
    assert table.rows == (
        ("video AUC", "0.912", "[0.850, 0.960]", "1,500", ""),
        ("video TPR at FPR 1%", "undefined", "-", "15", why),
    )
    others = other_metrics_table(card, 0.9)
    assert others
    assert others.rows == (("video f1", "0.500", "-", "20", "no interval: only 1 fake video"),)
    meanings = dict(meanings_table([card]).rows)
    assert list(meanings) == ["video AUC", "video TPR at FPR 1%"]


def test_warnings_name_leaks_unknown_training_and_missing_faces() -> None:
    quiet = Coverage(clips=4, clips_with_crops=4, frames_wanted=4, frames=4)
    clean = {"real": quiet, "fake": quiet}
    assert warnings(make_card(0.9, coverage=clean)) == []
    leaked = make_card(0.9, shared=3, coverage=clean, warnings=("haar was used",))
    assert len(warnings(leaked)) == 2
    assert "3 videos" in warnings(leaked)[0]
    assert warnings(leaked)[1] == "haar was used"
    allowed = make_card(
        0.9,
        coverage=clean,
        audit=Audit(shared_videos=1, shared_identities=0, allowed=True, note="for example x"),
    )
    assert "(for example x)" in warnings(allowed)[0]
    assert "--allow-leak" in warnings(allowed)[0]
    foreign = make_card(0.9, coverage=clean, train="", audit=None, training=None)
    assert "not known" in " ".join(warnings(foreign))
    assert "No face was found in 1 fake videos" in " ".join(warnings(make_card(0.9)))


def test_coverage_counts_what_was_not_found() -> None:
    table = coverage_table(make_card(0.9, n=20))
    assert table.rows[1] == (
        "fake", "10 of 11 (90.9 %)", "320 of 352 (90.9 %)", "no face found: 1",
    )  # fmt: skip


def test_parts_and_choices_are_shown_where_there_are_some() -> None:
    card = make_card(0.9)
    assert breakdown_table(card) is chosen_table(card) is oracle_table(card) is None
    card = make_card(
        0.9,
        breakdown={
            "manipulation/swap": {"video_auc": Metric(value=0.5, low=0.4, high=0.6, n=7)},
            "manipulation/x": {"video_ap": Metric(value=None, reason="no fake videos")},
        },
        calibration=Calibration(threshold=0.25, temperature=None, videos=9, reason="no minimum"),
        oracle=OracleGap(epoch=2, video_auc=0.95, gain=0.05, epochs=6),
    )
    parts, chosen, oracle = breakdown_table(card), chosen_table(card), oracle_table(card)
    assert parts
    assert parts.rows == (
        ("manipulation/swap", "0.500 [0.400, 0.600], n = 7", "-"),
        ("manipulation/x", "-", "undefined: no fake videos"),
    )
    assert chosen
    assert dict(chosen.rows)["threshold"] == "0.25"
    assert dict(chosen.rows)["temperature"] == "-"
    assert oracle
    assert dict(oracle.rows)["gain"] == "+0.050"


def test_the_overview_has_a_row_for_each_dataset() -> None:
    cards = [make_card(0.9, eval="synth_swap"), make_card(None)]
    table = overview_table(cards, "95 %")
    assert [row[:4] for row in table.rows] == [
        ("synth_swap", "within-dataset", "0.900", "[0.820, 0.980]"),
        ("synth_blend", "cross-dataset", "undefined", "-"),
    ]
    assert (table.head[-1], table.rows[0][-1]) == ("warnings", "1")


def test_facts_of_a_detector_from_elsewhere() -> None:
    card = make_card(0.9, train="", audit=None, training=None, origin="scores")
    facts = dict(facts_table(card).rows)
    assert facts["trained on"] == "not known"
    assert facts["scores"] == "handed in"
    assert "checkpoint" not in facts
