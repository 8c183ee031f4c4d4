"""Does the work of ``docpipe demo``: draws a few documents, runs docpipe on them and shows the result."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from jobs.commands.view import Viewed, write_report
from jobs.model_choice import ModelChoice
from jobs.run.job import run_job
from jobs.run.prepare import answer_settings
from jobs.run.report import closing_lines
from jobs.settings import RunSettings
from pipeline.output.faults import whole_file
from pipeline.questions.file import load_questions

_KEYS = ("total", "date", "customer", "invoice_no", "city")  # only some fields, so that the table fits on a screen


def show_demo(out: Path, choice: ModelChoice, documents: int, seed: int, say: Callable[[str], Any]) -> int:
    """Draw documents into ``out``, answer the questions about them, show the tables, and write the report.

    Args:
        out: folder for ``pdfs/``, ``questions.yaml``, ``truth.jsonl`` and ``answers/``.
        choice: model that answers.
        documents: number of PDFs to draw.
        seed: seed of the documents.
        say: function that prints a line.

    Returns:
        The exit code of the run.
    """
    from pipeline.samples.write import pick_seeds, read_truth, write_samples

    write_samples(out, pick_seeds(seed, documents), keys=_KEYS)
    pdfs, questions = out / "pdfs", out / "questions.yaml"
    settings = RunSettings(input=(str(pdfs),), questions=str(questions), output=str(out / "answers"), choice=choice)
    words = ["--input", str(pdfs), "--questions", str(questions), "--output", settings.output, *choice.flags()]
    say(f"$ docpipe run {shlex.join(words)}\n")
    report = run_job(settings, load_questions(str(questions)))
    say(closing_lines(report))
    answers = pq.read_table(out / "answers" / "answers", filters=[("is_current", "=", True)]).to_pylist()
    truth = read_truth(out)
    for row in answers:
        row["truth"] = truth[row["document"]][row["question_id"]]
    answers.sort(key=lambda row: (row["document"], row["page"], row["question_id"]))
    _table(say, "answers/", answers, _ANSWER_COLUMNS)
    _table(say, "retention and memory of each question", answers, _MEMORY_COLUMNS)
    right = sum(row["answer"] == row["truth"] for row in answers)
    say(f"\n{right} of {len(answers)} answers are right")
    if any(row["retention"] is not None and row["retention"] < 1 for row in answers):
        _picture(out, settings, answers[0], say)
    for line in write_report(Viewed(settings.output, quiet=True), to=None):
        say(line)
    return int(report["exit_code"])


def _picture(out: Path, run: RunSettings, row: dict[str, Any], say: Callable[[str], Any]) -> None:
    """Ask one question again, and draw the visual tokens of its page that it kept."""
    from pipeline.answering.overlay import draw_kept
    from pipeline.answering.page_answerer import PageAnswerer
    from pipeline.datasets.example import Example
    from pipeline.datasets.page_images import PageImages
    from pipeline.pages.renderer import RenderChild

    questions = load_questions(str(out / "questions.yaml")).questions
    question = next(q for q in questions if q.id == row["question_id"])
    choice, fixed = run.choice, answer_settings(run.choice, run.seed)
    page_answerer = PageAnswerer.load(
        choice.model,
        fixed.glimpse,
        choice.device,
        choice.dtype,
        choice.attn,
        run.seed,
        choice.revision,
        repetition_penalty=fixed.repetition_penalty,
    )
    page_answerer.drop_blank, page_answerer.look_again = fixed.drop_blank, fixed.look_again
    document = out / "pdfs" / row["document"]
    with RenderChild() as child:
        pages = PageImages(child, fixed.dpi, fixed.budget)
        page = pages.of(Example(document, row["page"], question.id, question.text, ("",), ()))
    (answer,) = page_answerer.answer_page(page, [question.to_ask(fixed.rule)])
    if answer.keep is not None:
        target = out / "kept.png"
        with whole_file(target, "--out") as file:
            draw_kept(page, answer.keep, answer.grids[0], answer.frames[0]).save(file, "PNG")
        say(f"{target}: page 1 of {document.name} with the visual tokens kept for {question.text!r}")


def _table(say: Callable[[str], Any], title: str, rows: list[dict[str, Any]], columns: tuple[_Column, ...]) -> None:
    say(f"\n{title}")
    say("".join(f"{column.title:<{column.width}}" for column in columns))
    for row in rows:
        say("".join(f"{column.text(row):<{column.width}}" for column in columns))


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    title: str
    width: int
    form: str = "{}"

    def text(self, row: dict[str, Any]) -> str:
        value = row[self.name]
        raw = "-" if value is None else self.form.format(value)
        return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in raw)[: self.width - 1]


_WHERE = (_Column("document", "document", 19), _Column("page", "page", 6), _Column("question_id", "question", 17))
_ANSWER_COLUMNS = (
    *_WHERE,
    _Column("truth", "truth", 24),
    _Column("answer", "answer", 24),
    _Column("status", "status", 16),
    _Column("confidence", "confidence", 10, "{:.3f}"),
)
_MEMORY_COLUMNS = (
    *_WHERE,
    _Column("visual_tokens", "visual tokens", 15),
    _Column("kept_tokens", "kept", 6),
    _Column("retention", "retention", 11, "{:.1%}"),
    _Column("kv_bytes_full", "KV bytes", 10),
    _Column("kv_bytes_kept", "after pruning", 14),
)
