"""MP-DocVQA (Tito et al., 2023): questions about documents of up to 20 pages, scored by ANLS and answer page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from pipeline.evaluation.benchmarks.base import Benchmark, BenchmarkQuestion, Reply
from pipeline.evaluation.benchmarks.files import BenchmarkFolder, Lenient, read_json, rows_of, under, write_json
from pipeline.evaluation.benchmarks.scores import mean_anls, mean_of

SOURCE = "https://rrc.cvc.uab.es/?ch=17&com=downloads (task 4: question-answers and images)"


class _Row(Lenient):
    questionId: int | str
    question: str
    page_ids: list[str] = Field(min_length=1)
    answers: list[str] | None = Field(default=None, min_length=1)
    answer_page_idx: int | None = None


def read(data: Path) -> list[BenchmarkQuestion]:
    """Read the validation split, or the one whose file is given.

    Args:
        data: folder of the benchmark, or a file such as ``val.json``.

    Raises:
        UsageError: a file or an image is missing, or an entry has another layout.
    """
    folder = BenchmarkFolder(data, SOURCE)
    path = folder.annotation("val.json", "train.json", "test.json")
    return [
        BenchmarkQuestion(
            row.questionId,
            row.question,
            tuple(folder.image(path, [f"{page}.jpg", f"{page}.png"], ("images",)) for page in row.page_ids),
            None if row.answers is None else tuple(row.answers),
            answer_page=row.answer_page_idx,
        )
        for row in rows_of(path, under(path, read_json(path), "data"), _Row)
    ]


def score(replies: Sequence[Reply]) -> dict[str, float]:
    """Compute the ANLS, and the share of answers that were read on the right page."""
    placed = [reply.page == reply.question.answer_page for reply in replies if reply.question.answer_page is not None]
    return {"ANLS": mean_anls(replies), "answer page": mean_of(placed)}


def submit(replies: Sequence[Reply], path: Path) -> None:
    """Write the list of ``questionId``, ``answer`` and ``answer_page`` that the challenge takes.

    Args:
        replies: replies to all questions.
        path: file to write.
    """
    entries = ({"questionId": one.question.id, "answer": one.answer, "answer_page": one.page} for one in replies)
    write_json(entries, path)


BENCHMARK = Benchmark(read, score, ".json", submit)
