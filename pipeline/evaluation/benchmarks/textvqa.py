"""TextVQA (Singh et al., 2019), version 0.5.1: questions about text in photographs, with ten answers of people each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from pipeline.evaluation.benchmarks.base import Benchmark, BenchmarkQuestion, Reply
from pipeline.evaluation.benchmarks.files import BenchmarkFolder, Lenient, read_json, rows_of, under
from pipeline.evaluation.benchmarks.scores import mean_of
from pipeline.evaluation.benchmarks.vqa_accuracy import textvqa_accuracy
from pipeline.evaluation.benchmarks.vqav2 import submit

SOURCE = "https://textvqa.org/dataset/ (TextVQA_0.5.1_val.json and train_val_images.zip)"


class _Row(Lenient):
    question_id: int
    image_id: str
    question: str
    answers: list[str] | None = Field(default=None, min_length=1)


def read(data: Path) -> list[BenchmarkQuestion]:
    """Read the validation split, or the one whose file is given.

    Args:
        data: folder of the benchmark, or a file such as ``TextVQA_0.5.1_val.json``.

    Raises:
        UsageError: a file or an image is missing, or an entry has another layout.
    """
    folder = BenchmarkFolder(data, SOURCE)
    path = folder.annotation("TextVQA_0.5.1_val.json", "TextVQA_0.5.1_train.json", "TextVQA_0.5.1_test.json")
    return [
        BenchmarkQuestion(
            row.question_id,
            row.question,
            (folder.image(path, [f"{row.image_id}.jpg"], ("train_images", "test_images")),),
            None if row.answers is None else tuple(row.answers),
        )
        for row in rows_of(path, under(path, read_json(path), "data"), _Row)
    ]


def score(replies: Sequence[Reply]) -> dict[str, float]:
    """Compute the mean accuracy by the TextVQA evaluation."""
    return {"VQA accuracy": mean_of(textvqa_accuracy(one.answer, one.question.answers or ()) for one in replies)}


BENCHMARK = Benchmark(read, score, ".json", submit)
