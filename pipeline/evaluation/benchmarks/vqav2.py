"""VQAv2 (Goyal et al., 2017): questions about photographs with ten answers of people each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from pipeline.errors import UsageError
from pipeline.evaluation.benchmarks.base import Benchmark, BenchmarkQuestion, Reply
from pipeline.evaluation.benchmarks.files import BenchmarkFolder, Lenient, read_json, rows_of, under, write_json
from pipeline.evaluation.benchmarks.scores import mean_of
from pipeline.evaluation.benchmarks.vqa_accuracy import vqa_accuracy

SOURCE = "https://visualqa.org/download.html (questions, annotations and COCO images)"
_SPLIT = re.compile(r"mscoco_([a-z-]+\d{4})_questions")


class _Row(Lenient):
    question_id: int
    image_id: int
    question: str


class _Answer(Lenient):
    answer: str


class _Annotation(Lenient):
    question_id: int
    answers: list[_Answer] = Field(min_length=1)


def read(data: Path) -> list[BenchmarkQuestion]:
    """Read the validation split, or the one whose file of questions is given; test splits have no annotations.

    Args:
        data: folder of the benchmark, or a file such as ``v2_OpenEnded_mscoco_val2014_questions.json``.

    Raises:
        UsageError: a file or an image is missing, or an entry has another layout.
    """
    folder = BenchmarkFolder(data, SOURCE)
    path = folder.annotation(
        "v2_OpenEnded_mscoco_val2014_questions.json",
        "v2_OpenEnded_mscoco_train2014_questions.json",
        "v2_OpenEnded_mscoco_test-dev2015_questions.json",
        "v2_OpenEnded_mscoco_test2015_questions.json",
    )
    named = _SPLIT.search(path.name)
    if named is None:
        raise UsageError(f"{path}: expected a name such as v2_OpenEnded_mscoco_val2014_questions.json; rename it")
    split = named[1]
    photographs = split.replace("-dev", "")
    answers: dict[int, tuple[str, ...]] = {}
    if "test" not in split:
        annotated = folder.file(f"v2_mscoco_{split}_annotations.json")
        found = rows_of(annotated, under(annotated, read_json(annotated), "annotations"), _Annotation)
        answers = {row.question_id: tuple(one.answer for one in row.answers) for row in found}
    return [
        BenchmarkQuestion(
            row.question_id,
            row.question,
            (folder.image(path, [f"COCO_{photographs}_{row.image_id:012d}.jpg"], (photographs, "images")),),
            answers.get(row.question_id),
        )
        for row in rows_of(path, under(path, read_json(path), "questions"), _Row)
    ]


def score(replies: Sequence[Reply]) -> dict[str, float]:
    """Compute the mean accuracy by the VQA evaluation."""
    return {"VQA accuracy": mean_of(vqa_accuracy(one.answer, one.question.answers or ()) for one in replies)}


def submit(replies: Sequence[Reply], path: Path) -> None:
    """Write the list of ``question_id`` and ``answer`` that this challenge and that of TextVQA take.

    Args:
        replies: replies to all questions.
        path: file to write.
    """
    write_json(({"question_id": reply.question.id, "answer": reply.answer} for reply in replies), path)


BENCHMARK = Benchmark(read, score, ".json", submit)
