"""Reads the corrections of a run as a data set: what people said of its answers is what is right."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.datasets.example import Example
from pipeline.errors import UsageError
from pipeline.file_names import local_input, printable
from pipeline.output.asked import read_asked
from pipeline.output.folder import Folder
from pipeline.output.reviews import read_reviews
from pipeline.output.tables import read_table
from pipeline.questions.values import Reading

_COLUMNS = ("unit_id", "page", "pages", "source", "document", "document_sha256", "is_current", "status")
_CERTAIN = ("answered", "not_answerable")
_CHUNK = 1 << 20


def load_corrections(run: Path, documents: Path | None) -> list[Example]:
    """Read what people said of the current answers of a run about single pages.

    Args:
        run: output folder of the run, on this machine.
        documents: folder that holds the documents now; ``None`` to look where the run found them.

    Raises:
        UsageError: there are no corrections, a document is not there or has changed, or a file is damaged.
        EngineError: a file cannot be read.
    """
    folder = Folder(str(run))
    asked = read_asked(folder)
    questions = {question.id: question for question in asked.asked.questions}
    reviews = read_reviews(folder).to_pylist()
    rows = _answers(folder, {row["unit_id"] for row in reviews})
    files: dict[tuple[str, str], Path] = {}
    examples = []
    for review in reviews:
        answer, question = rows.get((review["unit_id"], review["page"])), questions.get(review["question_id"])
        if answer is None or question is None or review["status"] not in _CERTAIN or len(answer["pages"]) > 1:
            continue
        if answer["status"] == "failed":  # a person could read the page, and the renderer could not
            continue
        key = (answer["source"], answer["document"])
        if key not in files:
            files[key] = _document(answer, documents)
        reading = asked.readings.get(question.id, Reading())
        examples.append(
            Example(
                document=files[key],
                page=review["page"],
                question_id=question.id,
                question=question.text,
                answers=(review["reviewed_answer"],),
                regions=(),
                answerable=review["status"] == "answered",
                type=question.type,
                reading=reading,
                prompt=question.to_ask(None).prompt,
            )
        )
    if not examples:
        raise UsageError(
            f"--data {run}: expected corrections of answers about single pages, found none that are current; take some "
            "with `docpipe review`, and then read the folder again"
        )
    return sorted(examples, key=lambda example: (str(example.document), example.page, example.question_id))


def _answers(folder: Folder, units: set[str]) -> dict[tuple[str, int], Mapping[str, Any]]:
    wanted = pa.array(sorted(units), pa.string())
    found: dict[tuple[str, int], Mapping[str, Any]] = {}
    for name in folder.names("answers", ".parquet"):
        rows = read_table(folder, name, _COLUMNS)
        mine = rows.filter(pc.and_(pc.is_in(rows["unit_id"], value_set=wanted), rows["is_current"]))
        found |= {(row["unit_id"], row["page"]): row for row in mine.to_pylist()}
    return found


def _document(answer: Mapping[str, Any], documents: Path | None) -> Path:
    """Find the document of an answer, and make sure that it is the same."""
    told = printable(answer["document"])
    for path in _places(answer, documents):
        if not path.is_file():
            continue
        if _sha256(path) == answer["document_sha256"]:
            return path
        raise UsageError(
            f"{path}: has changed since its answers were corrected; name the folder of the old with --images"
        )
    raise UsageError(f"{told}: is not where the run found it; name the folder that holds the documents with --images")


def _places(answer: Mapping[str, Any], documents: Path | None) -> Iterator[Path]:
    source = local_input(answer["source"])
    if documents is not None:
        yield documents / answer["document"]
    elif source is not None:
        yield Path(source) / answer["document"]
        yield Path(source)  # a document named by itself


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
