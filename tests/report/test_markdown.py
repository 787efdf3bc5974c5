from __future__ import annotations

import dataclasses
import html
import re
from collections import Counter
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from support.cards import fingerprint, make_card

from dfbench.eval.standings import ScoredCard, standings
from dfbench.report.markdown import coverage_text, leaderboard_markdown, overlap_text
from dfbench.report.markdown_text import escape
from dfbench.report.published import PublishedResult, published_folder, read_published
from dfbench.results.card import (
    Audit,
    Coverage,
    DatasetFingerprint,
    Datasets,
    Metric,
    ResultCard,
    card_name,
)
from dfbench.results.store import StoredCard

OUT = Path("/somewhere/out")
NASTY = [
    "plain",
    "a_b*c*_d_",
    "__init__",
    "**bold**",
    "a|b",
    "\\|",
    "<script>alert(1)</script>&amp;",
    "# title",
    "1. item",
    "1.0.0",
    "- item",
    "[x](y) ![z](w)",
    "`code`",
    "$x^2$",
    "~~gone~~",
    "folder:/my data/\\new",
    "<!-- -->",
]


def page(cards: list[ResultCard], picture: str | None = None) -> str:
    found = [StoredCard(OUT.parent / "runs" / card_name(c.cell), c) for c in cards]
    return leaderboard_markdown(found, OUT, picture)


def rendered(text: str) -> str:
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text)


def tables(text: str) -> list[list[list[str]]]:
    """Return the cells of every table as a reader sees them, as HTML."""
    return [
        [
            re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)
            for row in re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)
        ]
        for table in re.findall(r"<table>(.*?)</table>", rendered(text), re.DOTALL)
    ]


def elements(text: str) -> Counter[str]:
    return Counter(re.findall(r"<(\w+|!)", rendered(text)))


def matrix_of(cards: list[ResultCard]) -> dict[tuple[str, str, str], str]:
    (head, *rows), *_ = tables(page(cards))
    return {
        (row[0], row[1], name): cell
        for row in rows
        for name, cell in zip(head[2:], row[2:], strict=True)
    }


def test_matrix_marks_diagonal_best_and_missing() -> None:
    found = matrix_of(
        [
            make_card(0.99, train="a", eval="a"),
            make_card(0.71, train="a", eval="b"),
            make_card(0.98, train="b", eval="b"),
            make_card(0.65, train="c", eval="b"),
        ]
    )
    assert found == {
        ("meso4", "a", "a (n=28)"): "0.990† [0.910, 1.000]",
        ("meso4", "a", "b (n=28)"): "<strong>0.710</strong> [0.630, 0.790]",
        ("meso4", "b", "a (n=28)"): "-",
        ("meso4", "b", "b (n=28)"): "0.980† [0.900, 1.000]",
        ("meso4", "c", "a (n=28)"): "-",
        ("meso4", "c", "b (n=28)"): "0.650 [0.570, 0.730]",
    }


def test_equal_values_are_both_bold() -> None:
    found = matrix_of([make_card(0.7001, model="m1"), make_card(0.6999, model="m2")])
    assert [cell.startswith("<strong>0.700</strong>") for cell in found.values()] == [True, True]


def test_shared_data_do_not_win() -> None:
    found = matrix_of(
        [make_card(0.99, model="leak", shared=1), make_card(0.6), make_card(0.5, model="x")]
    )
    assert found["leak", "synth_swap", "synth_blend (n=28)"] == "0.990‡ [0.910, 1.000]"
    assert found["meso4", "synth_swap", "synth_blend (n=28)"].startswith("<strong>0.600</strong>")


def test_seeds_and_differing_counts() -> None:
    cards = [make_card(auc, seed=seed, n=20 + seed) for seed, auc in enumerate((0.6, 0.8))]
    (cell,) = matrix_of(cards).values()
    assert cell == "0.700 (0.600-0.800, 2 seeds) n=20-21"
    assert "smallest and largest of several seeds" in page(cards)
    assert "bootstrap interval" not in page(cards).split("## All metrics")[0]


def test_mean_across_leaves_out_what_is_no_generalisation() -> None:
    cards = [
        make_card(0.99, train="a", eval="a"),
        make_card(0.6, train="a", eval="b"),
        make_card(0.7, train="a", eval="c"),
        make_card(0.95, train="a", eval="d", shared=1),
        make_card(None, train="a", eval="e"),
    ]
    assert matrix_of(cards)["meso4", "a", "mean across"] == "0.650 (2)"
    assert "mean across" not in page(cards[:2])  # of one value


def test_undefined_is_said_with_its_reason() -> None:
    text = page([make_card(None)])
    ((_, row), *_) = tables(text)
    assert row[2] == "undefined"
    assert "meso4, synth_swap on synth_blend: undefined: no real videos" in text


def test_all_metrics_have_counts_and_intervals() -> None:
    metric = Metric(value=0.61, n=28, reason="no interval: only 1 real video")
    card = make_card(0.7)
    card = dataclasses.replace(card, metrics={**card.metrics, "frame_auc": metric})
    _, (head, row), *_ = tables(page([card]))
    shown = dict(zip(head, row, strict=True))
    assert (shown["videos"], shown["frames"]) == ("28", "28")
    assert shown["video AUC"] == "0.700 [0.620, 0.780]"
    assert shown["frame AUC"] == "0.610 [no interval]"
    assert shown["video EER"] == "0.700"
    assert shown["coverage"] == "real 14/14; fake 14/15 (no face found: 1)"
    assert shown["overlap"] == "none found"


def test_a_metric_an_older_card_lacks_is_empty() -> None:
    card = make_card(0.7)
    _, (head, row), *_ = tables(page([dataclasses.replace(card, metrics={})]))
    assert dict(zip(head, row, strict=True))["video AUC"] == "-"


def test_provenance_names_data_crops_and_versions() -> None:
    haar = dataclasses.replace(
        fingerprint("celebdf"),
        recipe={"detector": "haar", "frames": 32, "size": 256},
        detector_note="no model file",
        version="2.0.0",
    )
    data = Datasets(train=(fingerprint("uadfv"), haar), eval=(haar,))
    card = make_card(0.7, datasets=data, protocol="demo-1")
    *_, datasets, cards = tables(page([card, make_card(0.8, seed=1, datasets=data)]))
    assert [row[:4] for row in datasets[1:]] == [
        ["D1", "celebdf", "2.0.0", "tiny"],
        ["D2", "uadfv", "1.0.0", "tiny"],
    ]
    assert datasets[1][4:] == [
        "14 of 14 with a face",
        f"<code>{haar.clips_sha256[:8]}</code>",
        "haar (no model file)",
        "frames 32, size 256",
    ]
    first, second = (dict(zip(cards[0], row, strict=True)) for row in cards[1:])
    assert first["trained on"] == "D2, D1"
    assert first["scored on"] == "D1"
    assert first["software"] == "dfbench 0.1.0, jax 0.10.2, python 3.11.7"
    assert first["commit"] == "<code>0123456789</code> + uncommitted changes"
    assert first["device"] == "8 x cpu"
    assert first["date (UTC)"] == "2026-11-21 08:00"
    assert (first["protocol"], second["protocol"]) == ("demo-1", "-")
    assert 'href="../runs/meso4--synth_swap--synth_blend--s0.card.json"' in first["card"]


def test_other_crops_of_one_dataset_are_other_data() -> None:
    def with_margin(margin: float) -> tuple[DatasetFingerprint]:
        return (dataclasses.replace(fingerprint("a"), recipe={"margin": margin}),)

    data = Datasets(train=with_margin(1.3), eval=with_margin(1.6))
    *_, datasets, cards = tables(page([make_card(0.7, datasets=data)]))
    assert [row[-1] for row in datasets[1:]] == ["margin 1.3", "margin 1.6"]
    assert cards[1][1:3] == ["D1", "D2"]


def test_picture_is_named_only_where_there_is_one() -> None:
    assert "<img" not in rendered(page([make_card(0.7)]))
    assert 'src="m.png"' in rendered(page([make_card(0.7)], "m.png"))


@pytest.mark.parametrize("name", [*NASTY, "two\nlines\r\x1b[31m", "\t| --- |"])
def test_any_name_is_shown_as_it_is_and_breaks_nothing(name: str) -> None:
    shown = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    card = make_card(0.7, model=name, train=name, protocol=name)
    text = page([card, make_card(0.8, model="other")])
    for table in tables(text):
        assert {len(row) for row in table} == {len(table[0])}
    (_, *rows), *_ = tables(text)
    assert shown in [" ".join(html.unescape(row[0]).split()) for row in rows]
    plain = page(
        [make_card(0.7, model="a", train="a", protocol="a"), make_card(0.8, model="other")]
    )
    assert elements(text) == elements(plain)


@pytest.mark.parametrize("name", NASTY)
def test_escaped_text_renders_to_itself(name: str) -> None:
    assert html.unescape(rendered(escape(name))) == f"<p>{name}</p>\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("dfdc_preview", "dfdc_preview"),  # readable without rendering, too
        ("1.0.0", "1.0.0"),
        ("_a_", "\\_a\\_"),
        ("a*b", "a\\*b"),
        ("a|b", "a\\|b"),
        ("<b>&", "&lt;b&gt;&amp;"),
        ("# title", "\\# title"),
        ("12) item", "12\\) item"),
        ("two\nlines", "two lines"),
        ("back\\slash", "back\\\\slash"),
    ],
)
def test_escape(text: str, shown: str) -> None:
    assert escape(text) == shown


def test_coverage_and_overlap() -> None:
    none = Coverage(clips=3, clips_with_crops=0, frames_wanted=9, frames=0, reasons={"a|b": 3})
    card = make_card(
        0.7,
        coverage={"fake": none},
        audit=Audit(shared_videos=2, shared_identities=1, note="by name"),
    )
    assert coverage_text(card) == "fake 0/3 (a\\|b: 3)"
    assert overlap_text(card) == "2 videos, 1 identity (by name)"


def test_what_is_shared_is_said_once_a_training_set() -> None:
    audit = Audit(shared_videos=0, shared_identities=2, near_duplicates=1, clips=5, allowed=True)
    cards = [make_card(0.7, model=m, audit=audit) for m in ("meso4", "xception")]
    text = page(cards).split("## All metrics")[0]
    line = "1 near duplicate, 2 identities; 5 test clips; scored all the same, by --allow-leak"
    assert text.count(f"‡ synth_swap on synth_blend: {line}") == 1
    assert "people or source videos" in text


def test_settings_that_tell_rows_apart_are_listed() -> None:
    text = page([make_card(0.6), make_card(0.7, lr=0.5)])
    assert "optim.lr = 0.5" in text
    (_, *rows), *_ = tables(text)
    tags = [re.search(r"#\w{4}", row[1]) for row in rows]
    assert all(tag and tag[0] in text.split("## How to read it")[1] for tag in tags)


def test_ranking_and_published_numbers_stand_apart() -> None:
    cards = [make_card(auc, model=m, eval=e) for m, auc in (("m", 0.6), ("n", 0.8)) for e in "ab"]
    cards.append(make_card(0.7, model="lacks", eval="a"))
    groups = standings([ScoredCard(card, None) for card in cards])
    found = [StoredCard(OUT.parent / card_name(c.cell), c) for c in cards]
    published = read_published(published_folder())
    text = leaderboard_markdown(found, OUT, None, groups, published)
    _, ranking, *_ = tables(text)
    assert [row[:3] for row in ranking[1:]] == [
        ["1", "n", "0.800 [no interval]"],
        ["2", "m", "0.600 [no interval]"],
        ["-", "lacks", "not ranked: lacks b"],
    ]
    assert "4 result cards have no score file beside them" in text
    ours, others = text.split("## Published numbers, not comparable")
    assert "DeepfakeBench" not in ours
    assert others.count("**Mismatch**") == 10  # of 9 sources
    assert "0.528?" in others
    assert all(len(row) == len(t[0]) for t in tables(text) for row in t)


def test_handed_in_scores_are_marked() -> None:
    card = make_card(0.7, model="api", train="", origin="scores", audit=None, training=None)
    matrix_table, metrics, *_ = tables(page([card]))
    assert matrix_table[1][:2] == ["api (scores handed in)", "not known"]
    assert matrix_table[1][2].startswith("0.700§")
    shown = dict(zip(*metrics, strict=True))
    assert (shown["model"], shown["overlap"]) == ("api (scores handed in)", "not checked")
    assert "§: training data not known, overlap not checked" in page([card])


@pytest.mark.parametrize("name", NASTY)
def test_any_name_is_harmless_in_rankings_and_published_numbers(name: str) -> None:
    def text_of(name: str) -> str:
        cards = [make_card(0.7, model=name, train=name, eval=e, protocol=name) for e in "xy"]
        groups = standings([ScoredCard(card, None) for card in cards])
        one = PublishedResult(
            source=name, year=None, detector=name, train=name, eval=name, metric="auc",
            level="video", value=0.5, protocol=name, note=name, checked=False,
        )  # fmt: skip
        found = [StoredCard(OUT.parent / card_name(c.cell), c) for c in cards]
        return leaderboard_markdown(found, OUT, None, groups, [one])

    assert elements(text_of(name)) == elements(text_of("a"))
    assert all(len(row) == len(t[0]) for t in tables(text_of(name)) for row in t)
