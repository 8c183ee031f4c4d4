from __future__ import annotations

import json
from pathlib import Path

import fsspec
import pytest

from glimpseprune.rule import KeepRule
from pipeline.errors import QuestionsError
from pipeline.questions import load_questions, parse_questions

GOOD = """\
version: 1
defaults: {pages: "1", max_new_tokens: 16, keep: {min_tokens: 3}}
questions:
  - id: total
    text: What is the {amount}?
    type: money
    pages: "1-3,-1"
    documents: "invoices/**/*.pdf"
    aggregate: sum
    max_new_tokens: 32
    prompt: "{text}\\nAnswer with a number."
    keep: {max_ratio: 0.2}
  - id: paid
    text: Is it paid?
    type: choice
    choices: ["yes", "no"]
    prompt: "{text} One of: {choices}"
"""


def test_a_file_with_everything_in_it() -> None:
    total, paid = parse_questions(GOOD, "q.yaml").questions
    assert (total.pages, total.max_new_tokens, total.aggregate) == ("1-3,-1", 32, "sum")
    assert (paid.pages, paid.max_new_tokens, paid.aggregate, paid.choices) == ("1", 16, "best", ("yes", "no"))
    ask = total.to_ask(KeepRule(0.4, 0.5, 7))
    assert ask.prompt == "What is the {amount}?\nAnswer with a number."
    assert ask.rule == KeepRule(
        0.4, 0.2, 7
    )  # a question's keep replaces the default's keep, not the run's other fields
    assert paid.to_ask(KeepRule()).rule == KeepRule(min_tokens=3)
    assert paid.to_ask(None).rule is None
    assert paid.to_ask(None).prompt == "Is it paid? One of: yes, no"


@pytest.mark.parametrize(
    ("path", "applies"),
    [("invoices/a.pdf", True), ("invoices/2024/may/a.pdf", True), ("a.pdf", False), ("invoices/a.png", False)],
)
def test_document_globs(path: str, applies: bool) -> None:
    total, paid = parse_questions(GOOD, "q.yaml").questions
    assert total.applies_to(path) is applies
    assert paid.applies_to(path)


def test_a_star_stays_inside_one_folder() -> None:
    question = parse_questions(
        'version: 1\nquestions: [{id: a, text: b, documents: "invoices/*.pdf"}]', "q.yaml"
    ).questions[0]
    assert question.applies_to("invoices/a.pdf")
    assert not question.applies_to("invoices/2024/a.pdf")


def test_identity_is_what_an_answer_depends_on() -> None:
    def identity(**changes: object) -> str:
        raw = {"id": "a", "text": "b", **changes}
        return parse_questions(json.dumps({"version": 1, "questions": [raw]}), "q").questions[0].identity()

    assert identity() == identity(pages="3", documents="x/*", aggregate="vote")
    different = [identity(), identity(text="c"), identity(max_new_tokens=9), identity(keep={"max_ratio": 0.1})]
    different += [identity(prompt="{text}!"), identity(type="date")]
    assert len(set(different)) == len(different)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version: 1\nquestions:\n  - id: a\n   text: b", "q.yaml:4: not valid YAML"),
        ("- 1", "q.yaml:1: expected a mapping"),
        ("", "q.yaml:1: expected a mapping"),
        ("version: 2\nquestions: [{id: a, text: b}]", "q.yaml:1: version: "),
        ("version: 1", "questions: is required"),
        ("version: 1\nquestions: []", "q.yaml:2: questions: "),
        (
            "version: 1\nquestions:\n  - id: a\n    text: b\n    colour: red",
            "q.yaml:5: questions.0.colour: unknown key",
        ),
        ("version: 1\nextra: 1\nquestions: [{id: a, text: b}]", "q.yaml:2: extra: unknown key"),
        ("version: 1\ndefaults: {size: 3}\nquestions: [{id: a, text: b}]", "q.yaml:2: defaults.size: unknown key"),
        ("version: 1\nquestions:\n  - id: A b\n    text: b", "q.yaml:3: questions.0.id: "),
        ("version: 1\nquestions:\n  - id: a\n  - id: b\n    text: c", "q.yaml:3: questions.0.text: is required"),
        ("version: 1\nquestions:\n  - {id: a, text: b}\n  - {id: a, text: c}", "q.yaml:4: questions.1.id: 'a' is used"),
        (
            "version: 1\nquestions:\n  - id: a\n    text: b\n    pages: 0-3",
            "q.yaml:5: questions.0.pages: '0-3' is no page",
        ),
        ("version: 1\nquestions:\n  - id: a\n    text: b\n    pages: 3", "q.yaml:5: questions.0.pages: "),
        ("version: 1\nquestions:\n  - id: a\n    text: b\n    type: colour", "q.yaml:5: questions.0.type: "),
        ("version: 1\nquestions:\n  - {id: a, text: b, type: choice}", "choices and type: choice belong together"),
        ("version: 1\nquestions:\n  - {id: a, text: b, choices: [x, y]}", "choices and type: choice belong together"),
        ("version: 1\nquestions:\n  - {id: a, text: b, type: choice, choices: [x]}", "at least two"),
        ("version: 1\nquestions:\n  - {id: a, text: b, aggregate: sum}", "aggregate: sum needs type integer"),
        (
            "version: 1\nquestions:\n  - id: a\n    text: b\n    max_new_tokens: 0",
            "q.yaml:5: questions.0.max_new_tokens: ",
        ),
        ("version: 1\nquestions:\n  - id: a\n    text: b\n    prompt: hello", "expected {text} in it"),
        ("version: 1\nquestions:\n  - id: a\n    text: b\n    prompt: '{text} {name}'", "no other placeholder"),
        ("version: 1\nquestions:\n  - id: a\n    text: b\n    keep: {ratio: 1}", "questions.0.keep.ratio: unknown key"),
        ("version: 1\nquestions:\n  - id: a\n    text: b\n    keep: {max_ratio: 2}", "questions.0.keep.max_ratio: "),
    ],
)
def test_what_is_wrong_is_named_with_line_and_field(text: str, message: str) -> None:
    with pytest.raises(QuestionsError) as error:
        parse_questions(text, "q.yaml")
    assert message in str(error.value)


def test_every_problem_is_named_at_once() -> None:
    with pytest.raises(QuestionsError) as error:
        parse_questions("version: 1\nquestions:\n  - {id: A, text: b}\n  - {id: b, text: c, colour: 1}", "q.yaml")
    assert [line.split(": ")[0] for line in str(error.value).splitlines()] == ["q.yaml:3", "q.yaml:4"]


def test_files_and_uris(tmp_path: Path) -> None:
    (tmp_path / "q.yaml").write_text(GOOD)
    with fsspec.open("memory://questions/q.yaml", "wt") as file:
        file.write(GOOD)
    assert load_questions(str(tmp_path / "q.yaml")) == load_questions("memory://questions/q.yaml")
    with pytest.raises(QuestionsError, match=r"nothing\.yaml: cannot be read"):
        load_questions(str(tmp_path / "nothing.yaml"))
    (tmp_path / "latin.yaml").write_bytes(b"version: 1 # \xe9")
    with pytest.raises(QuestionsError, match="cannot be read"):
        load_questions(str(tmp_path / "latin.yaml"))
