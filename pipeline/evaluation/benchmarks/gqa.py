"""GQA (Hudson and Manning, 2019): questions about photographs, scored by the share of right answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.evaluation.benchmarks.base import Benchmark, BenchmarkQuestion, Reply
from pipeline.evaluation.benchmarks.files import BenchmarkFolder, Lenient, read_json, rows_of, write_json
from pipeline.evaluation.benchmarks.scores import mean_of

SOURCE = "https://cs.stanford.edu/people/dorarad/gqa/download.html (questions and images)"


class _Row(Lenient):
    id: str
    imageId: str
    question: str
    answer: str | None = None


def read(data: Path) -> list[BenchmarkQuestion]:
    """Read the balanced test-dev split, or the one whose file is given.

    Args:
        data: folder of the benchmark, or a file such as ``testdev_balanced_questions.json``.

    Raises:
        UsageError: a file or an image is missing, or an entry has another layout.
    """
    folder = BenchmarkFolder(data, SOURCE)
    path = folder.annotation("testdev_balanced_questions.json", "val_balanced_questions.json")
    raw = read_json(path)
    entries = [{**entry, "id": name} for name, entry in raw.items()] if isinstance(raw, dict) else raw
    return [
        BenchmarkQuestion(
            row.id,
            row.question,
            (folder.image(path, [f"{row.imageId}.jpg"], ("images",)),),
            None if row.answer is None else (row.answer,),
        )
        for row in rows_of(path, entries, _Row)
    ]


def score(replies: Sequence[Reply]) -> dict[str, float]:
    """Compute the share of predictions that are the right answer."""
    return {"accuracy": mean_of(prediction(reply) in (reply.question.answers or ()) for reply in replies)}


def prediction(reply: Reply) -> str:
    """Write a reply as the answers of GQA are written: in lower case, without a full stop."""
    return reply.answer.strip().rstrip(".").lower()


def submit(replies: Sequence[Reply], path: Path) -> None:
    """Write the list of ``questionId`` and ``prediction`` that the challenge takes.

    Args:
        replies: replies to all questions.
        path: file to write.
    """
    write_json(({"questionId": str(one.question.id), "prediction": prediction(one)} for one in replies), path)


BENCHMARK = Benchmark(read, score, ".json", submit)
