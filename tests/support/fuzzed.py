"""What strangers or accidents may hand in, and what has to hold for all of it: a sentence, or a sound result.

Each entry of ``TARGETS`` draws an input and passes it on; errors of docpipe's own types are what should come.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from hypothesis import strategies as st

from jobs.commands.watch import watch
from jobs.settings import load_night, load_settings
from pipeline.errors import DocpipeError
from pipeline.output.asked import Asked, read_asked, write_asked
from pipeline.output.attempts import Markers
from pipeline.output.drift import Thresholds, drifts
from pipeline.output.folder import Folder
from pipeline.output.live import Running, write_running
from pipeline.output.lock import OutputLock
from pipeline.output.nights import Night, read_nights, write_night
from pipeline.output.publish import check_tables, publish
from pipeline.output.schema import LISTING
from pipeline.questions.file import QuestionSet, parse_questions
from pipeline.questions.page_ranges import PageRanges
from pipeline.questions.schema import load_schema
from pipeline.records import PageCount
from pipeline.viewing.published import read_published
from pipeline.viewing.report.figures import cost, status_counts
from tests.support.published import READINGS, everything, results_for, store_at

Target = Callable[[st.DataObject], None]

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
ODD = [
    "1" * 5000,
    "[" * 3000,
    "{" * 3000,
    "\\U00110000",
    "\ud800",
    "\x00",
    "\ufeff",
    "NaN",
    "-1e999",
    "http://[",
    "9" * 19,
]


@st.composite
def edited(draw: st.DrawFn, texts: Sequence[str], words: Sequence[str]) -> str:
    """One of the texts after a few edits: parts are dropped, doubled, swapped for words, or have words put in."""
    text = draw(st.sampled_from(texts))
    for _ in range(draw(st.integers(0, 5))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 12)))
        put = draw(st.just("") | st.just(text[start:end] * 2) | st.sampled_from([*words, *ODD]) | st.text(max_size=4))
        text = text[:start] + put + text[end:]
    return text


QUESTIONS = [
    'version: 1\nquestions:\n  - {id: a, text: "What?"}\n',
    "version: 1\ndefaults: {pages: '1-3,-1', keep: {max_ratio: 0.5}, locale: en_US}\nquestions:\n"
    "  - id: total\n    text: What is the total?\n    type: money\n    pages: '1+-1'\n    aggregate: sum\n"
    "  - id: kind\n    text: Which kind?\n    type: choice\n    choices: [red, 'green', blue]\n"
    "    choice_probabilities: true\n"
    "  - {id: names, text: Who, type: list, items: text, documents: ['a/**/*.pdf', '[!b]?.pdf'], max_new_tokens: 16}\n"
    "  - {id: p, text: Q, prompt: '{text} of {choices}', review_below: 0.5, constrain: false}\n",
]
YAML_WORDS = ["%YAML 1.1\n---\n", '"\\U00110000"', "%TAG ! !%ff\n", "|9\n", "\t", "prompt: '{text!r}'", "locale: xx_YY"]
YAML_WORDS += "&a |*a|!!python/name:x |<<: |? |- |'|\"|keep: |pages: |{|}|[|]|null|defaults:".split("|")


def questions_file(data: st.DataObject) -> None:
    """Ask what a questions file says."""
    with suppress(DocpipeError):
        use(parse_questions(data.draw(edited(QUESTIONS, YAML_WORDS) | JSON.map(json.dumps)), "q.yaml"))


def use(asked: QuestionSet) -> None:
    """Do with questions what a run does before it begins."""
    for question in asked.with_defaults({"max_new_tokens": 8}).questions:
        for pages in (0, 1, 7):
            question.page_ranges.resolve(pages)
        question.applies_to("invoices/a.pdf")
        question.applies_to("invoices/")
        question.to_ask(None)
        question.identity(None)
        question.reading("en_US")


PAGES = ["all", "1", "1-3,-1", "1+2", "1+-1", "-2--1", "3-1", "1,,2"]


def page_ranges(data: st.DataObject) -> None:
    """Resolve what ``pages:`` says."""
    text = data.draw(st.text("0123456789-,+ al", max_size=24) | edited(PAGES, ["+", "-", ",", "٣", "²"]))
    with suppress(ValueError):
        ranges = PageRanges.parse(text)
        for count in (0, 1, 2, 9):
            found = ranges.resolve(count)
            assert list(found) == sorted(set(found))
            assert all(1 <= page <= count for page in found)


SCHEMA_KEYS = "type properties items $ref $id $schema $defs $anchor enum const format anyOf oneOf allOf title".split()
SCHEMA_KEYS += "description pattern additionalProperties x-docpipe".split()
SCHEMA_VALUES = "string number integer boolean array object null money date list # #/$defs/a id ask keep".split()
SCHEMA_VALUES += ["#/properties/a/enum/0", "http://[", "http://json-schema.org/draft-04/schema#"]
SCHEMAS = [
    {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": ["number", "null"]}}},
    {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": "http://x/y",
        "type": "object",
        "$defs": {"a": {"type": "object", "properties": {"c": {"enum": ["x", "y"]}}}},
        "properties": {
            "a": {"$ref": "#/$defs/a"},
            "b": {"type": "array", "items": {"type": "number"}, "x-docpipe": {"pages": "1"}},
            "d": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
        },
    },
]


@cache
def scratch() -> Path:
    """A folder for the inputs of this process."""
    return Path(tempfile.mkdtemp(prefix="docpipe-fuzzed-"))


def schema_file(data: st.DataObject) -> None:
    """Ask what a schema says."""
    keys = st.sampled_from(SCHEMA_KEYS) | st.text(max_size=3)
    values = st.sampled_from(SCHEMA_VALUES) | SCALARS
    node = st.recursive(values, lambda n: st.lists(n, max_size=3) | st.dictionaries(keys, n, max_size=4), max_leaves=12)
    odd = st.fixed_dictionaries({"type": st.just("object"), "properties": st.dictionaries(keys, node, max_size=3)})
    text = data.draw(
        (odd | node).map(json.dumps) | edited([json.dumps(s) for s in SCHEMAS], SCHEMA_KEYS + SCHEMA_VALUES)
    )
    file = scratch() / "schema.json"
    file.write_bytes(text.encode(errors="surrogatepass"))
    with suppress(DocpipeError):
        use(load_schema(str(file)))


SETTINGS = {
    "--dpi": 200,
    "--model": {"name": "nano", "fingerprint": "abc"},
    "question total": {"identity": "i", "fields": {"text": "What?", "prompt": "What?", "type": "text", "items": None}},
}
REPORT = {
    "run_id": "r",
    "exit_code": 0,
    "error": None,
    "finished_at": "now",
    "wall_s": 1.5,
    "counts": {"planned": 5},
    "this_run": {"rows": 5, "pages_per_s": 0.5},
    "settings": {"model": "nano"},
}
THEN = datetime(2026, 11, 26, tzinfo=UTC)
NIGHT = Night.model_validate(
    {
        **dict.fromkeys(("wall_s", "documents", "rows", "failed_share", "review_share", "retention"), 1),
        **dict.fromkeys(("exit_code", "new_documents", "changed_documents", "deleted_documents", "pending"), 0),
        **dict.fromkeys(("confidence", "confidence_raw", "pages_per_s"), 0.5),
        **{name: ["a"] for name in ("new_questions", "reworded_questions", "gone_questions")},
        **{name: {"a": 1} for name in ("statuses", "failures", "review_reasons")},
        **{"run_id": "r", "started_at": THEN, "finished_at": THEN, "error": None, "questions": {"a": "i"}},
    }
)


@cache
def output_folder() -> tuple[Path, dict[str, bytes]]:
    """An output folder with a file of each kind, and their sound contents by name."""
    root = scratch() / "out"
    store = store_at(str(root))
    for result in results_for([3, 2]):
        store.commit(result)
    store.check_settings(SETTINGS)
    store.write_run(REPORT)
    store.save_page_counts([PageCount("d", 3)])
    write_asked(store.folder, Asked(asked=parse_questions(QUESTIONS[1], "q.yaml")))
    counts = {"documents": 2, "pages": 5, "rows": 5, "planned_rows": 5}
    write_running(store.folder, Running(run_id="q", began_at=THEN, engine="ray", **counts))
    markers = Markers(store.folder)
    markers.note("b", markers.begin("b"), "d", (2,))
    write_night(store.folder, NIGHT, [LISTING.empty_table()])
    publish(store, READINGS, everything(store))
    with OutputLock(store.folder):
        lock = (root / ".docpipe.lock").read_bytes()
    sound = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    return root, {**sound, ".docpipe.lock": lock}


def restore() -> tuple[Path, dict[str, bytes]]:
    """The folder as it was before anything touched it, nobody holding it."""
    root, sound = output_folder()
    for path in root.rglob("*"):
        if path.is_file() and str(path.relative_to(root)) not in sound:
            path.unlink()
    for name, content in sound.items():
        (root / name).write_bytes(content)
    (root / ".docpipe.lock").unlink()
    return root, sound


def hold(root: Path) -> None:
    with OutputLock(Folder(str(root))):
        pass


def look_at(root: Path) -> None:
    run = read_published(Folder(str(root)))
    cost(run)
    status_counts(run)


READERS: list[Callable[[Path], object]] = [
    lambda root: store_at(str(root)).check_settings(
        {**SETTINGS, "--dpi": 144, "question new": SETTINGS["question total"]}
    ),
    lambda root: store_at(str(root)).page_counts(),
    lambda root: watch(str(root), None, lambda lines: None),
    lambda root: drifts(NIGHT, read_nights(Folder(str(root)), 9), Thresholds()),
    lambda root: read_asked(Folder(str(root))).readings,
    lambda root: Markers(Folder(str(root))).begin("b"),
    look_at,
    hold,
]


def json_files(data: st.DataObject) -> None:
    """Read an output folder in which a JSON file is not as docpipe wrote it."""
    root, sound = restore()
    name = data.draw(st.sampled_from(sorted(name for name in sound if not name.endswith(".parquet"))))
    text = sound[name].decode()
    whole = json.loads(text)
    changed = changed_value(whole).map(json.dumps) | edited([text], ["null", "0", "-1", "[]", "{}", '"', ",", "1e400"])
    (root / name).write_bytes(data.draw(changed | JSON.map(json.dumps)).encode(errors="surrogatepass"))
    for read in READERS:
        with suppress(DocpipeError):
            read(root)


@st.composite
def changed_value(draw: st.DrawFn, whole: Any) -> Any:
    """The same value, but for one place in it."""
    if not whole or not isinstance(whole, dict | list) or draw(st.integers(0, 3)) == 0:
        return draw(JSON | st.just(10**30) | st.sampled_from(ODD))
    if isinstance(whole, list):
        place = draw(st.integers(0, len(whole) - 1))
        return [*whole[:place], draw(changed_value(whole[place])), *whole[place + 1 :]]
    key = draw(st.sampled_from(sorted(whole)))
    if draw(st.integers(0, 5)) == 0:
        return {name: value for name, value in whole.items() if name != key}
    return {**whole, key: draw(changed_value(whole[key]))}


def footers(data: st.DataObject) -> None:
    """Publish and read an output folder in which a table has another footer, or damaged bytes."""
    root, sound = restore()
    name = data.draw(st.sampled_from(sorted(name for name in sound if name.endswith(".parquet"))))
    if data.draw(st.booleans()):
        table = pq.read_table(root / name)
        entries = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
        entries["pages"] = "{}"
        key = data.draw(st.sampled_from(sorted(entries)))
        entries[key] = data.draw(
            JSON.map(json.dumps) | st.sampled_from(ODD[:4]) | st.text(st.characters(codec="utf-8"))
        )
        pq.write_table(table.replace_schema_metadata(entries), root / name)
    else:
        whole = bytearray(sound[name])
        for _ in range(data.draw(st.integers(1, 4))):
            end = data.draw(st.integers(0, 300) | st.integers(0, len(whole) - 1))  # the footer is at the end
            whole[len(whole) - 1 - end] = data.draw(st.integers(0, 255))
        (root / name).write_bytes(bytes(whole[: data.draw(st.just(len(whole)) | st.integers(0, len(whole)))]))
    for use_it in (check_and_publish, look_at, lambda root: watch(str(root), None, lambda lines: None)):
        with suppress(DocpipeError):
            use_it(root)


def check_and_publish(root: Path) -> None:
    store = store_at(str(root))
    check_tables(store.folder)
    publish(store, READINGS, everything(store))


CONFIGS = [
    'input = ["pdfs/"]\nquestions = "q.yaml"\noutput = "out/"\n',
    'input = "pdfs/"\nschema = "s.json"\noutput = "out/"\nmodel = "nano"\ndpi = 144\nmax-ratio = 0.5\n[nightly]\n'
    "failed_share = 0.1\n",
]
CONFIG_WORDS = [
    "choice = ",
    "[choice]\n",
    "[nightly]\n",
    "[[nightly]]\n",
    "dpi = ",
    "true",
    "1979-05-27",
    "nan",
    "{}",
    "[]",
]


def config_file(data: st.DataObject) -> None:
    """Take the settings of a run from a TOML file."""
    file = scratch() / "job.toml"
    file.write_bytes(data.draw(edited(CONFIGS, CONFIG_WORDS)).encode(errors="surrogatepass"))
    for load in (lambda path: load_settings(path, {}).flat(), load_night):
        with suppress(DocpipeError):
            load(file)


TARGETS: dict[str, Target] = {
    "questions": questions_file,
    "pages": page_ranges,
    "schema": schema_file,
    "footers": footers,
    "files": json_files,
    "config": config_file,
}
