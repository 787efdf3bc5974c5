"""Targets that are files: cards and their pages, scores, submissions, lists, records."""

from __future__ import annotations

import atexit
import functools
import html.parser
import json
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fuzz.damage import changed, damaged, words
from fuzz.target import Target, read
from hypothesis import strategies as st
from support.cards import make_card
from support.evals import make_scores
from support.raw import MINIATURES

from dfbench.data.catalog import load_builder
from dfbench.data.lists import read_json, read_lines, read_rows
from dfbench.data.prepared import MARKER, Manifest, Prepared, load_prepared
from dfbench.data.roster import Listed
from dfbench.eval.checks import problems
from dfbench.eval.matching import Rules, match
from dfbench.eval.scores import ScoreTable, read_scores, write_scores
from dfbench.eval.standings import standings
from dfbench.eval.submission import read_submission
from dfbench.faces.annotations import VOC_IMAGES, read_annotations
from dfbench.faces.clip import SPLITS, CropRecipe
from dfbench.report.leaderboard import leaderboard_csv
from dfbench.report.markdown import leaderboard_markdown
from dfbench.report.page.build import leaderboard_html
from dfbench.report.text import matrix_text
from dfbench.results.card import FileHash, card_name, eval_folder
from dfbench.results.comparable import column_key, row_key
from dfbench.results.merge import merge, remarks, result_hash
from dfbench.results.store import SCORES as SCORES_FILE
from dfbench.results.store import read_card, read_stored, write_card
from dfbench.workflow.pages import scored
from dfbench.workflow.record import RECORD, TrainingRecord, read_record

HERE = Path(__file__).resolve().parent

# --- cards ----------------------------------------------------------------------------------------

V1 = next((HERE.parent / "results" / "v1").glob("*.card.json"))
_CARDS: list[dict[str, Any]] = [
    json.loads(V1.read_text(encoding="utf-8")),
    msgspec.to_builtins(make_card(0.8, shared=1)),
    msgspec.to_builtins(make_card(None, model="xception")),
]
_CARD_FILES = [json.dumps(one).encode() for one in _CARDS]
CARDS = changed(_CARDS).map(lambda tree: json.dumps(tree).encode())


def check_card(data: bytes, folder: Path) -> None:
    path = folder / "a.card.json"
    path.write_bytes(data)
    stored = read(read_stored, path)
    if stored is None:
        return
    write_card(stored.card, folder / "again.card.json")
    assert read_card(folder / "again.card.json") == stored.card
    for name in (card_name(stored.card.cell), eval_folder(stored.card.cell)):
        assert not {"/", "\\"} & set(name), name
        assert not name.startswith("."), name
        assert name.isprintable()
        assert len(name) < 256
    assert len(result_hash(stored.card)) == 12
    row_key(stored.card), column_key(stored.card)
    assert merge([stored, stored]).copies == 1
    assert all(line.isprintable() for line in remarks([stored]))


class _Tags(html.parser.HTMLParser):
    """Notes elements and attributes that a page of ours has no use for."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts, self.strange = 0, list[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        if tag in ("img", "iframe", "object", "embed", "base", "link", "svg"):
            self.strange.append(tag)
        for name, value in attrs:
            if name.startswith("on") or (value or "").lower().lstrip().startswith("javascript:"):
                self.strange.append(f"{tag} {name}")


def _tags(page: str) -> _Tags:
    found = _Tags()
    found.feed(page)
    found.close()
    return found


@functools.cache
def _own_scripts() -> int:
    return _tags(leaderboard_html([make_card(0.8)], (), ())).scripts


# In Markdown; one whose bracket has a backslash of its own before it is text.
LINK = re.compile(r"(?<!\\)(?:\\\\)*\]\(\s*<?javascript", re.IGNORECASE)


def check_pages(data: bytes, folder: Path) -> None:
    """Cards that are read must give pages, whatever they say, with nothing in them that runs."""
    path = folder / "a.card.json"
    path.write_bytes(data)
    stored = read(read_stored, path)
    if stored is None:
        return
    found = _tags(leaderboard_html([stored.card], (), ()))
    assert (found.scripts, found.strange) == (_own_scripts(), [])
    page = leaderboard_markdown([stored], folder, None)
    assert "<script" not in page
    assert not LINK.search(page)
    assert all(c.isprintable() or c == "\n" for c in page)
    text = matrix_text([stored.card])
    assert all(c.isprintable() or c == "\n" for c in text)
    assert len(leaderboard_csv([stored], folder).splitlines()) >= 2
    (folder / SCORES_FILE).write_bytes(_tables()[0])
    assert all(group.standings for group in standings([scored(stored)], resamples=20))


# --- scores ---------------------------------------------------------------------------------------

_CSV = [
    b"video,label,p_fake\na,0,0.5\nb,1,0.25\nc,1,\n",
    b"dataset,split,manipulation,video,frame,label,logit,p_fake,identity\n"
    b"d,test,real,d/real/0,0,0,0,0.5,p\nd,test,x,d/x/1,3,1,2.5,0.924142,q\nd,test,x,d/x/2,-1,1,,,\n",
    b'video,frame,score,label\n"a,b",1,1e-3,0\nr\xc3\xa4,2,nan,1\n',
    b"video,p_fake\r\nr0,0.1\r\nr1,0.9\r\nf0,1\r\nf1,0\r\n",
]
_TYPES = (
    *(pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.binary()),
    *(pa.int8(), pa.int32(), pa.int64(), pa.uint64(), pa.float16(), pa.float32(), pa.float64()),
    *(pa.bool_(), pa.null(), pa.date32(), pa.timestamp("us"), pa.decimal128(9, 3)),
    *(pa.list_(pa.float32()), pa.struct({"a": pa.int32()})),
)
COLUMNS = ("video", "label", "p_fake", "logit", "score", "frame", "dataset", "identity", "other")
Column = tuple[str, pa.DataType, list[Any]]
columns = st.lists(
    st.tuples(
        st.sampled_from(COLUMNS),
        st.sampled_from(_TYPES),
        st.lists(
            st.sampled_from((None, 0, 1, 0.5, -1, 2, 1e9, 2**40, float("nan"), "a", "b", "0.5"))
            | words,
            min_size=2,
            max_size=2,
        ),
    ),
    min_size=1,
    max_size=6,
)


def _parquet(made: Sequence[Column]) -> bytes:
    """Return a table as Parquet; a value that a column's type cannot hold is missing."""
    arrays, names = [], []
    for name, kind, held in made:
        arrays.append(_array(held, kind))
        names.append(name)
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_arrays(arrays, names=names), sink)
    return bytes(sink.getvalue().to_pybytes())


def _array(held: list[Any], kind: pa.DataType) -> pa.Array:
    try:
        return pa.array(held, type=kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return pa.array([None] * len(held), type=kind)


@functools.cache
def _tables() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scores.parquet"
        write_scores(make_scores(reals=3, fakes={"x": 2, "y": 1}, undetected=1), path)
        whole = path.read_bytes()
    few: list[Column] = [
        ("video", pa.string(), ["a", "b"]),
        ("label", pa.int64(), [0, 1]),
        ("p_fake", pa.float64(), [0.1, 0.9]),
    ]
    return [whole, _parquet(few)]


File = tuple[str, bytes]  # how its name ends, and its content
SCORES = st.one_of(
    damaged(_CSV).map(lambda data: (".csv", data)),
    st.deferred(lambda: damaged(_tables())).map(lambda data: (".parquet", data)),
    columns.map(lambda made: (".parquet", _parquet(made))),
)


def _equal(one: ScoreTable, two: ScoreTable) -> bool:
    texts = ("dataset", "split", "manipulation", "video")
    return (
        all(getattr(one, n).tolist() == getattr(two, n).tolist() for n in texts)
        and all(np.array_equal(getattr(one, n), getattr(two, n)) for n in ("frame", "label"))
        and all(np.array_equal(getattr(one, n), getattr(two, n), True) for n in ("logit", "p_fake"))
        and (one.identity is None) == (two.identity is None)
        and (one.identity is None or one.identity.tolist() == two.identity.tolist())
    )


def check_scores(file: File, folder: Path) -> None:
    path = folder / f"scores{file[0]}"
    path.write_bytes(file[1])
    table = read(read_scores, path)
    if table is None:
        return
    assert problems(table) == []
    write_scores(table, folder / "again.parquet")
    assert _equal(read_scores(folder / "again.parquet"), table)


_CLIPS = [
    Listed(dataset="d", video=f"d/{kind}/{name}", split=split, label=label, manipulation=kind)
    for kind, label in (("real", 0), ("x", 1))
    for name, split in (("a", "test"), ("b", "test"), ("r0", "test"), ("f0", "train"))
]


def check_submission(drawn: tuple[File, str, str], folder: Path) -> None:
    (suffix, data), kind, rule = drawn
    path = folder / f"scores{suffix}"
    path.write_bytes(data)
    handed = read(read_submission, path, kind or None)
    if handed is None:
        return
    assert len(handed) > 0
    rules = Rules(missing="undetected", extra="ignore") if rule else Rules()
    table = read(match, path, handed, _CLIPS, rules=rules)
    if table is not None:
        assert problems(table) == []


# --- official lists -------------------------------------------------------------------------------


class _Empty:
    """Puts empty files where a miniature of a raw download has clips: an index opens none."""

    def place(self, path: Path, number: int, *, fake: bool = False) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


LISTS = {
    "celebdf": ("List_of_testing_videos.txt",),
    "ffpp/c23": ("splits/train.json", "splits/test.json", "conversion_dict.json"),
    "dfdc": ("dfdc_train_part_0/metadata.json", "test/labels.csv"),
    "dfdc_preview": ("dataset.json",),
}


@functools.cache
def _raw(spec: str) -> Path:
    """Return a raw download in miniature, for this process."""
    root = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    MINIATURES[spec](root, _Empty())  # type: ignore[arg-type]
    return root


def _lists() -> st.SearchStrategy[tuple[str, str, bytes]]:
    found = []
    for spec, names in LISTS.items():
        for name in names:
            data = (_raw(spec) / name).read_bytes()
            kinds = [damaged([data])]
            if name.endswith(".json"):
                few = _few(json.loads(data))
                kinds += [changed([few]).map(lambda t: json.dumps(t).encode()), damaged([data])]
            found.append(st.tuples(st.just(spec), st.just(name), st.one_of(kinds)))
    return st.one_of(found)


def _few(tree: Any) -> Any:
    """Return the start of a long list, whose count is wrong, but whose entries are few."""
    return tree[:20] if isinstance(tree, list) else dict(list(tree.items())[:20])


def check_official(drawn: tuple[str, str, bytes], folder: Path) -> None:
    spec, name, data = drawn
    raw = _raw(spec)
    path = raw / name
    before = path.read_bytes()
    path.write_bytes(data)
    try:
        dataset, _, variant = spec.partition("/")
        index = read(load_builder(dataset).index, raw, variant)
    finally:
        path.write_bytes(before)
    if index is not None:
        for clip in (*index.clips, *index.absent):
            assert clip.path.is_relative_to(raw)
            assert ".." not in clip.path.parts
            assert isinstance(clip.video, str)
            assert clip.split in ("train", "val", "test")


_TEXTS = [b"filename,label\na.mp4,0\nb.mp4,1\n", b"a.mp4,0\nb.mp4,1\n", b'["000", "003"]']


def check_list(data: bytes, folder: Path) -> None:
    path = folder / "list"
    path.write_bytes(data)
    read(read_json, path)
    lines = read(read_lines, path)
    assert lines is None or all(line == line.strip() and line for line in lines)
    for row in read(read_rows, path, ("filename", "label")) or ():
        assert all(isinstance(row[name], str) for name in ("filename", "label"))


# --- records of trainings and of prepared data, annotations ---------------------------------------

_CARD = make_card(0.8)
assert _CARD.training is not None
_RECORDS = [
    msgspec.to_builtins(one)
    for one in (
        TrainingRecord(
            training_hash="0" * 12,
            datasets=_CARD.datasets.train,
            summary=_CARD.training,
            environment=_CARD.environment,
            checkpoint=FileHash(sha256="0" * 64, bytes=1),
            created="2026-11-21T08:00:00Z",
        ),
        Manifest(
            name="uadfv",
            version="1.0.0",
            variant="",
            recipe=CropRecipe(),
            detector_note="",
            clips_sha256="0" * 64,
            crops_sha256="0" * 64,
            counts=_CARD.datasets.train[0].counts,
            frame_misses={},
            missed=(),
            excluded={},
            package_version="1",
            created="2026-11-21T08:00:00Z",
        ),
    )
]
RECORDS = damaged([json.dumps(one).encode() for one in _RECORDS]) | changed(_RECORDS).map(
    lambda tree: json.dumps(tree).encode()
)


def check_record(data: bytes, folder: Path) -> None:
    for name in (RECORD, MARKER):
        (folder / name).write_bytes(data)
    read(read_record, folder)
    prepared = read(load_prepared, folder)
    if isinstance(prepared, Prepared):
        for split in SPLITS:
            assert set(prepared.coverage(split)) == {"real", "fake"}
        assert prepared.fingerprint().name


_BOXES = [
    b"image,x0,y0,x1,y1\na.png,1,2,30,40\na.png,5,5,6,7.5\nb,,,,\n",
    b"<annotation><filename>a.png</filename><object><name>face</name><bndbox><xmin>1</xmin>"
    b"<ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox><difficult>1</difficult></object>"
    b"<object><part/></object></annotation>",
    b'<?xml version="1.0" encoding="UTF-8"?><!DOCTYPE a [<!ENTITY b "b">]><annotation>&b;'
    b"</annotation>",
]


def check_boxes(data: bytes, folder: Path) -> None:
    images, voc = folder / VOC_IMAGES, folder / "Annotations"
    for one in (images, voc):
        one.mkdir(exist_ok=True)
    for name in ("a.png", "b.jpg"):
        (images / name).touch()
    (folder / "boxes.csv").write_bytes(data)
    (voc / "a.xml").write_bytes(data)
    for found in (
        read(read_annotations, folder / "boxes.csv", images),
        read(read_annotations, voc, images),
    ):
        for one in found or ():
            assert one.image.resolve().parent == images.resolve()
            assert one.boxes.shape == (len(one.boxes), 4)


TARGETS = (
    Target(name="result cards", inputs=damaged(_CARD_FILES) | CARDS, check=check_card),
    Target(name="pages of cards", inputs=CARDS, check=check_pages, share=0.2),
    Target(name="score files, CSV and Parquet", inputs=SCORES, check=check_scores, share=0.7),
    Target(
        name="scores handed in",
        inputs=st.tuples(SCORES, st.sampled_from(("", "probability", "logit")), st.booleans()),
        check=check_submission,
        share=0.7,
    ),
    Target(name="training.json, dfbench.json", inputs=RECORDS, check=check_record, share=0.7),
    Target(name="annotations", inputs=damaged(_BOXES), check=check_boxes, share=0.5),
    Target(name="lists", inputs=damaged(_TEXTS) | words.map(str.encode), check=check_list),
    Target(
        name="official lists of downloads",
        inputs=st.deferred(_lists),
        check=check_official,
        share=0.2,
    ),
)
