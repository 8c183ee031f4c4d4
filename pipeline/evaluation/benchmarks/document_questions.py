"""Reads what DocVQA, InfographicVQA and MP-DocVQA have in common: an object with a list ``data``, scored by ANLS."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from pipeline.evaluation.benchmarks.base import BenchmarkQuestion, Reply
from pipeline.evaluation.benchmarks.files import BenchmarkFolder, Lenient, read_json, rows_of, under, write_json
from pipeline.evaluation.benchmarks.scores import mean_anls


class _Row(Lenient):
    questionId: int | str
    question: str
    image: str | None = None
    image_local_name: str | None = None
    answers: list[str] | None = Field(default=None, min_length=1)


def read_questions(data: Path, source: str, patterns: Sequence[str], folders: Sequence[str]) -> list[BenchmarkQuestion]:
    """Read a split of DocVQA or InfographicVQA.

    Args:
        data: folder of the benchmark, or the file of one split.
        source: where the files are to be had.
        patterns: globs of the file with the questions, the usual split first.
        folders: folders that the images may be in.

    Raises:
        UsageError: a file or an image is missing, or an entry has another layout.
    """
    folder = BenchmarkFolder(data, source)
    path = folder.annotation(*patterns)
    questions = []
    for row in rows_of(path, under(path, read_json(path), "data"), _Row):
        name = row.image_local_name or row.image or ""
        image = folder.image(path, [name, Path(name).name], folders)
        answers = None if row.answers is None else tuple(row.answers)
        questions.append(BenchmarkQuestion(row.questionId, row.question, (image,), answers))
    return questions


def score(replies: Sequence[Reply]) -> dict[str, float]:
    """Compute the ANLS with threshold 0.5, as the challenges do."""
    return {"ANLS": mean_anls(replies)}


def submit(replies: Sequence[Reply], path: Path) -> None:
    """Write the list of ``questionId`` and ``answer`` that the challenges take.

    Args:
        replies: replies to all questions.
        path: file to write.
    """
    write_json(({"questionId": reply.question.id, "answer": reply.answer} for reply in replies), path)
