"""Write drawn documents to a folder: PDF files, a questions file, and the truth.

The folder holds `pdfs/<seed>.pdf`; `questions.yaml`, one question per field, for every document; and
`truth.jsonl`, one JSON object per document: its name, page size in points, for each field the value and its boxes
(PDF points, origin at the top left), or the answer `n/a` without a box for a field that is not on the page; and
`questions`, put in many ways: one for each field of the page and a few for absent ones.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import yaml

from pipeline.output.faults import make_folder, writing
from pipeline.samples.document import Family, Sample, make_sample
from pipeline.samples.fields import FIELDS
from pipeline.samples.questions import ABSENT, QuestionTruth, ask
from pipeline.samples.real_text import RealPage, make_real_page

_ABSENT_QUESTIONS = 2  # of a page


def write_samples(
    folder: Path, seeds: Iterable[int], family: Family | None = None, keys: Sequence[str] | None = None
) -> list[Sample]:
    """Draw the documents of the seeds into `folder` and return them; `keys` limits the questions to some fields.

    Args:
        folder: folder that gets ``pdfs/``, ``questions.yaml`` and ``truth.jsonl``.
        seeds: seed of each document.
        family: the family of documents.
        keys: fields that are asked for; ``None`` for all.

    Raises:
        ValueError: no layout of this family fits on its page size.
        OutputError: the folder cannot be written.
    """
    documents = folder / "pdfs"
    make_folder(documents)
    samples = [make_sample(seed, family) for seed in seeds]
    with writing(folder):
        with (folder / "truth.jsonl").open("w", encoding="utf-8") as truth:
            for sample in samples:
                name = _file_name(sample.seed)
                (documents / name).write_bytes(sample.pdf())
                truth.write(json.dumps(_truth_row(name, sample), sort_keys=True) + "\n")
        (folder / "questions.yaml").write_text(questions_file(keys), encoding="utf-8")
    return samples


def write_real_pages(folder: Path, seeds: Iterable[int], paths: Sequence[Path]) -> list[RealPage]:
    """Cut a piece for each seed out of other people's PDFs into `folder`, and return them.

    Each piece has questions of its own, which ``questions.yaml`` asks of it alone. ``truth.jsonl`` has the rows that
    :func:`write_samples` writes, without ``answers``.

    Args:
        folder: folder that gets ``pdfs/``, ``questions.yaml`` and ``truth.jsonl``.
        seeds: seed of each piece.
        paths: PDF files with a text layer.

    Raises:
        UsageError: the PDFs have too little text, or one cannot be opened.
        OutputError: the folder cannot be written.
    """
    documents = folder / "pdfs"
    make_folder(documents)
    pages = [make_real_page(seed, paths) for seed in seeds]
    entries: list[dict[str, str]] = []
    with writing(folder):
        with (folder / "truth.jsonl").open("w", encoding="utf-8") as truth:
            for page in pages:
                name = _file_name(page.seed)
                (documents / name).write_bytes(page.pdf)
                size = {"width_pt": page.width_pt, "height_pt": page.height_pt}
                row = {"document": name, **size, "questions": [_question_row(q) for q in page.questions]}
                truth.write(json.dumps(row, sort_keys=True) + "\n")
                entries += [{"id": f"{q.key}_{page.seed}", "text": q.text, "documents": name} for q in page.questions]
        (folder / "questions.yaml").write_text(_as_yaml(entries), encoding="utf-8")
    return pages


def questions_file(keys: Sequence[str] | None = None) -> str:
    """The questions file: every field, or those of `keys`, asked for once, by its first name and nothing around it."""
    return _as_yaml(
        [
            {"id": field.key, "text": f"What is the {field.asks[0]}?"}
            for field in FIELDS
            if keys is None or field.key in keys
        ]
    )


def _as_yaml(entries: Sequence[Mapping[str, str]]) -> str:
    defaults = {"prompt": "{text}", "max_new_tokens": 48}
    return str(yaml.safe_dump({"version": 1, "defaults": defaults, "questions": list(entries)}, sort_keys=False))


def read_truth(folder: Path) -> dict[str, dict[str, str]]:
    """For each document of a folder of samples, the answer of every field."""
    with (folder / "truth.jsonl").open(encoding="utf-8") as truth:
        rows = [json.loads(line) for line in truth]
    return {row["document"]: {key: field["answer"] for key, field in row["answers"].items()} for row in rows}


def pick_seeds(seed: int, count: int) -> list[int]:
    """`count` different document seeds drawn from one seed."""
    return random.Random(seed).sample(range(10**8), count)


def _truth_row(name: str, sample: Sample) -> dict[str, object]:
    present = {field.key: field for field in sample.fields}
    answers: dict[str, object] = {}
    for field in FIELDS:
        truth = present.get(field.key)
        if truth is None:
            answers[field.key] = {"answer": ABSENT, "box": None, "label_box": None}
        else:
            answers[field.key] = {
                "answer": truth.value,
                "box": asdict(truth.value_box),
                "label_box": asdict(truth.label_box),
            }
    return {
        "document": name,
        "width_pt": sample.width_pt,
        "height_pt": sample.height_pt,
        "has_table": sample.has_table,
        "answers": answers,
        "questions": [_question_row(q) for q in ask(sample, sample.seed, _ABSENT_QUESTIONS)],
    }


def _question_row(q: QuestionTruth) -> dict[str, object]:
    return {"key": q.key, "text": q.text, "type": q.type, "answer": q.answer, "box": q.box and asdict(q.box)}


def _file_name(seed: int) -> str:
    return f"{seed:08d}.pdf"
