"""Kleister NDA (Stanisławek et al., 2021): four entities of non-disclosure agreements, scored by F1."""

from __future__ import annotations

import lzma
import re
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import UsageError
from pipeline.evaluation.benchmarks.base import Benchmark, BenchmarkQuestion, Reply
from pipeline.evaluation.benchmarks.files import BenchmarkFolder
from pipeline.evaluation.benchmarks.scores import micro_f1
from pipeline.questions.values import AnswerType, Reading

SOURCE = "https://github.com/applicaai/kleister-nda (git clone; the documents are in it)"
QUESTIONS: dict[str, tuple[str, AnswerType]] = {
    "effective_date": ("On what date does this agreement take effect?", "date"),
    "jurisdiction": ("Under the laws of which state or country is this agreement governed?", "text"),
    "party": ("Who are the parties of this agreement? Put a semicolon between their names.", "text"),
    "term": ("How long does this agreement last?", "text"),
}
_NUMBERS = {
    word: number
    for number, word in enumerate(
        "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
        "eighteen nineteen twenty".split(),
        start=1,
    )
}
_NUMBER = rf"\d+|\b(?:{'|'.join(_NUMBERS)})\b"
_TERM = re.compile(rf"({_NUMBER})\W*(?:\(\s*(\d+)\s*\)\W*)?(days?|weeks?|months?|years?)", re.IGNORECASE)


def read(data: Path) -> list[BenchmarkQuestion]:
    """Read a split: ``in.tsv.xz`` names documents and the entities to look for, ``expected.tsv`` the right ones.

    Args:
        data: folder of one split, such as ``dev-0/``, or of the whole repository, which stands for ``dev-0/``.

    Raises:
        UsageError: a file or a document is missing, or the files do not fit together.
    """
    root = BenchmarkFolder(data, SOURCE).root
    split = root if (root / "in.tsv.xz").is_file() else root / "dev-0"
    if not (split / "in.tsv.xz").is_file():
        raise UsageError(f"--data {data}: expected in.tsv.xz in it or in dev-0/, found none; get it from {SOURCE}")
    with lzma.open(split / "in.tsv.xz", "rt", encoding="utf-8", newline="\n") as file:
        listed = [line.split("\t", 2)[:2] for line in file]
    expected: list[str] | None = None
    if (split / "expected.tsv").is_file():
        expected = (split / "expected.tsv").read_text(encoding="utf-8").removesuffix("\n").split("\n")
        if len(expected) != len(listed):
            raise UsageError(f"{split}: in.tsv.xz has {len(listed)} lines, expected.tsv {len(expected)}; see {SOURCE}")
    questions = []
    for number, (name, keys) in enumerate(listed):
        document = split.parent / "documents" / name
        if not document.is_file():
            raise UsageError(f"{split}: expected {document}, found no such file; get it from {SOURCE}")
        pairs = [] if expected is None else [pair.partition("=") for pair in expected[number].split()]
        for key in (key for key in keys.split() if key in QUESTIONS):
            gold = None if expected is None else tuple(value for entity, _, value in pairs if entity == key)
            text, kind = QUESTIONS[key]
            questions.append(BenchmarkQuestion(name, text, (document,), gold, kind, entity=key))
    return questions


def values_of(reply: Reply) -> list[str]:
    """Write what a reply says as the benchmark writes values, one or more; nothing if it says nothing."""
    answer = reply.answer.strip()
    if reply.is_none or not answer:
        return []
    said = [answer]
    if reply.question.entity == "party":
        said = [part.strip() for part in answer.split(";") if part.strip()]
    elif reply.question.entity == "effective_date":
        day = Reading("date", "en_US").value_of(answer).value
        said = said if day is None or day.date is None else [day.date.isoformat()]
    elif reply.question.entity == "term" and (found := _TERM.search(answer)):
        number = found[2] or str(_NUMBERS.get(found[1].lower(), found[1]))
        said = [f"{number} {found[3].lower()}"]
    return [re.sub(r"[\s:]", "_", one) for one in said]


def score(replies: Sequence[Reply]) -> dict[str, float]:
    """Compute F1, precision and recall on upper-cased values, and F1 on values as they are."""
    pairs = [(values_of(one), list(one.question.answers or ())) for one in replies]
    upper = [([v.upper() for v in said], [v.upper() for v in gold]) for said, gold in pairs]
    return {**micro_f1(upper), "F1 true-cased": micro_f1(pairs)["F1"]}


def submit(replies: Sequence[Reply], path: Path) -> None:
    """Write the lines of ``key=value`` pairs that the evaluation takes as ``out.tsv``, one per document.

    Args:
        replies: replies to all questions.
        path: file to write.
    """
    lines: dict[str | int, list[str]] = {}
    for one in replies:
        lines.setdefault(one.question.id, []).extend(f"{one.question.entity}={value}" for value in values_of(one))
    path.write_text("".join(f"{' '.join(line)}\n" for line in lines.values()), encoding="utf-8")


BENCHMARK = Benchmark(read, score, ".tsv", submit)
