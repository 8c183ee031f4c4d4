from __future__ import annotations

import json
import pickle
from pathlib import Path

import fsspec
import pytest

from glimpseprune.rule import KeepRule
from pipeline.errors import QuestionsError, UsageError
from pipeline.questions.file import Question, QuestionSet, load_questions, parse_questions
from pipeline.records import Ask

EVERYTHING = """\
version: 1
defaults: {pages: "1-2", max_new_tokens: 48, keep: {max_ratio: 0.5, min_tokens: 2}}
questions:
  - id: invoice_total
    text: What is the total amount?
    type: money
    pages: "1-3,-1"
    documents: "invoices/*.pdf"
    aggregate: sum
    max_new_tokens: 32
    prompt: "{text}\\nAnswer with a single word or phrase."
    keep: {max_ratio: 0.2, threshold: 0.25}
  - id: kind
    text: What is it?
    type: choice
    choices: [invoice, "no"]
  - id: plain
    text: "Is {this} plain?"
    pages: 3
"""


def one(fields: str) -> Question:
    return parse_questions(f"version: 1\nquestions:\n  - {{id: a, text: Which, {fields}}}\n", "q.yaml").questions[0]


def refusal(text: str) -> list[str]:
    with pytest.raises(QuestionsError) as caught:
        parse_questions(text, "q.yaml")
    return str(caught.value).splitlines()


def test_every_field_arrives_and_defaults_fill_the_rest() -> None:
    total, kind, plain = parse_questions(EVERYTHING, "q.yaml").questions
    assert total.model_dump() == {
        "id": "invoice_total",
        "text": "What is the total amount?",
        "type": "money",
        "choices": None,
        "items": None,
        "constrain": True,
        "choice_probabilities": False,
        "locale": None,
        "pages": "1-3,-1",
        "documents": "invoices/*.pdf",
        "aggregate": "sum",
        "max_new_tokens": 32,
        "prompt": "{text}\nAnswer with a single word or phrase.",
        "keep": {"threshold": 0.25, "max_ratio": 0.2, "min_tokens": 2},
        "review_below": None,
    }
    assert (kind.choices, kind.pages, kind.max_new_tokens, kind.aggregate) == (("invoice", "no"), "1-2", 48, "best")
    assert plain.page_ranges.resolve(5) == (3,)
    assert parse_questions("version: 1\nquestions: [{id: a, text: b}]", "q").questions[0].pages == "all"


def test_a_text_of_the_greatest_length_is_taken() -> None:
    assert (
        len(parse_questions(f"version: 1\nquestions: [{{id: a, text: {'x' * 4_000}}}]", "q").questions[0].text) == 4_000
    )


def test_several_pages_and_patterns_may_be_lists() -> None:
    question = one("pages: [1, 3-4, -1], documents: [in/*.pdf, 'scans/**', a.pdf]")
    assert (question.pages, question.documents) == ("1,3-4,-1", ("in/*.pdf", "scans/**", "a.pdf"))
    assert question.page_ranges.resolve(9) == (1, 3, 4, 9)
    asked = {path: question.applies_to(path) for path in ("in/a.pdf", "in/b/a.pdf", "scans/b/a.pdf", "a.pdf", "b.pdf")}
    assert asked == {"in/a.pdf": True, "in/b/a.pdf": False, "scans/b/a.pdf": True, "a.pdf": True, "b.pdf": False}
    assert [question.applies_to(folder) for folder in ("in/", "scans/x/", "out/")] == [True, True, False]
    assert one("pages: [2]").identity(None) == one("pages: 2").identity(None)
    (same,) = QuestionSet.model_validate_json(
        QuestionSet(version=1, questions=(question,)).model_dump_json()
    ).questions  # as it travels to a cluster
    assert same == question


def test_what_is_asked() -> None:
    total, kind, plain = parse_questions(EVERYTHING, "q.yaml").questions
    rule = KeepRule(threshold=0.5, max_ratio=0.9, min_tokens=7)
    assert total.to_ask(rule) == Ask(
        "invoice_total",
        "What is the total amount?\nAnswer with a single word or phrase.",
        "money",
        32,
        KeepRule(threshold=0.25, max_ratio=0.2, min_tokens=2),
        text="What is the total amount?",
    )
    assert total.to_ask(None).rule is None
    assert kind.to_ask(rule).prompt == (
        "What is it?\nAnswer with one of: invoice, no. If the page does not say, answer n/a."
    )
    assert plain.to_ask(rule).prompt.startswith("Is {this} plain?\n")
    assert plain.to_ask(rule).rule == KeepRule(threshold=0.5, max_ratio=0.5, min_tokens=2)


def test_without_keep_the_rule_of_the_run_holds() -> None:
    rule = KeepRule(threshold=0.1, max_ratio=None, min_tokens=0)
    assert one("").to_ask(rule).rule is rule
    assert one("keep: {min_tokens: 0}").to_ask(KeepRule()).rule == KeepRule(0.5, None, 0)


@pytest.mark.parametrize(
    ("pattern", "path", "applies"),
    [
        ("invoices/*.pdf", "invoices/a.pdf", True),
        ("invoices/*.pdf", "invoices/2024/a.pdf", False),
        ("invoices/*.pdf", "old/invoices/a.pdf", False),
        ("invoices/**", "invoices/2024/a.pdf", True),
        ("**/a.pdf", "a.pdf", True),
        ("**/a.pdf", "x/y/a.pdf", True),
        ("**/*.pdf", "x/y/a.PDF", True),
        ("**/*.PDF", "x/y/a.Pdf", True),
        ("a.pdf", "A.pdf", False),
        ("v.A/*.pdf", "v.a/a.pdf", False),
        ("a.p*", "a.PDF", False),
        ("[a.pdf", "[a.PDF", False),
        ("[ab].tif", "b.TIF", True),
        ("scan.2024", "scan.2024", True),
        ("a[12].pdf", "a2.pdf", True),
        ("a?.pdf", "a.pdf", False),
        ("a.pdf", "axpdf", False),
    ],
)
def test_documents_is_a_glob_on_the_path_below_the_input(pattern: str, path: str, applies: bool) -> None:
    assert one(f"documents: '{pattern}'").applies_to(path) is applies
    assert one("").applies_to(path)


def test_identity_is_what_an_answer_depends_on() -> None:
    base = one("").identity(KeepRule())
    for same in ("pages: '1'", "documents: 'x*'", "aggregate: first", "type: phone", "keep: {min_tokens: 1}"):
        assert one(same).identity(KeepRule()) == base
    others = [
        "prompt: '{text}!'",
        "max_new_tokens: 63",
        "keep: {min_tokens: 2}",
        "type: choice, choices: [a, b]",
        "type: choice, choices: [b, a]",
        "type: choice, choices: [a, b], constrain: false",
        "type: choice, choices: [a, b], choice_probabilities: true",
        "type: date",
        "type: integer",
        "type: list, items: integer",
    ]
    identities = [base, *(one(other).identity(KeepRule()) for other in others)]
    assert len(set(identities)) == len(identities)
    assert one("type: date, constrain: false").identity(KeepRule()) == base
    assert one("type: integer, locale: de_DE").identity(KeepRule()) == identities[-2]
    assert json.loads(base)["prompt"].startswith("Which")
    assert base == json.dumps(json.loads(base), sort_keys=True, separators=(",", ":"))


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", ["q.yaml:1: file: expected a mapping with version and questions, found nothing"]),
        ("- 1", ["q.yaml:1: file: expected a mapping with version and questions, found a list"]),
        ("questions:\n- {id: a, text: b}", ["q.yaml:1: version: is required"]),
        ("version: 1\n", ["q.yaml:1: questions: is required"]),
        ("version: 1\nquestions: []", ["q.yaml:2: questions: expected at least one question (found ())"]),
        ("version: 1.0\nquestions:\n- {id: a, text: b}", ["q.yaml:1: version: Input should be 1 (found '1.0')"]),
        (
            "version: 1\nquestions:\n- {id: a, text: ' \t'}",
            ["q.yaml:3: questions.0.text: expected a question, found no text (found ' \\t')"],
        ),
        (
            f"version: 1\nquestions:\n- {{id: a, text: {'x' * 4_001}}}",
            [
                "q.yaml:3: questions.0.text: expected at most 4,000 characters, found 4,001; ask in fewer words "
                "(found 'xxxxxxxxxxxx...xxxxxxxxxxxxx')"
            ],
        ),
        (
            'version: "1"\nquestions:\n- {id: a, text: b}',
            ["q.yaml:1: version: is a text, and the number 1 is expected; take the quotes away (found '1')"],
        ),
        ("version: 2\nquestions:\n- {id: a, text: b}", ["q.yaml:1: version: Input should be 1 (found 2)"]),
        ("version: 1\nquestions:\n- {id: a}", ["q.yaml:3: questions.0.text: is required"]),
        ("version: 1\nfoo: 1\nquestions:\n- {id: a, text: b}", ["q.yaml:2: foo: unknown key"]),
        (
            "version: 1\nquestions:\n- id: a\n  text: b\n  txet: c\n- id: a2\n  text: d\n  max_new_tokens: 0\n",
            [
                "q.yaml:5: questions.0.txet: unknown key",
                "q.yaml:8: questions.1.max_new_tokens: Input should be greater than or equal to 1 (found 0)",
            ],
        ),
        (
            "version: 1\nquestions:\n- id: a\n  text: b\n- id: a\n  text: c\n",
            ["q.yaml:5: questions.1.id: 'a' is used twice"],
        ),
        (
            "version: 1\nquestions:\n- id: a\n  text: b\n  text: c\n",
            ["q.yaml:5: questions.0.text: is given twice"],
        ),
        (
            "version: 1\ndefaults:\n  pages: x\n  id: y\nquestions:\n- {id: a, text: b}\n- {id: c, text: d}",
            [
                "q.yaml:3: defaults.pages: 'x' is not a page range; "
                "expected 'all' or a list such as '1-3,-1' (found 'x')",
                "q.yaml:4: defaults.id: unknown key",
            ],
        ),
        (
            "version: 1\nquestions:\n- {id: a, text: b, keep: {max_ratio: 0, top: 1}}",
            [
                "q.yaml:3: questions.0.keep.max_ratio: Input should be greater than 0 (found '0')",
                "q.yaml:3: questions.0.keep.top: unknown key",
            ],
        ),
    ],
)
def test_a_refusal_names_file_line_and_field(text: str, lines: list[str]) -> None:
    assert refusal(text) == lines


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ("id: A", "questions.0.id: is given twice"),
        ("type: sum", "questions.0.type: Input should be 'text', 'integer'"),
        ("type: choice", "choices and type: choice belong together"),
        ("choices: [a, b]", "choices and type: choice belong together"),
        ("type: choice, choices: [a]", "questions.0.choices: expected at least two choices"),
        ("type: choice, choices: [a, '']", "questions.0.choices: expected at least two choices, none of them empty"),
        ("type: choice, choices: [b, a b, A  B]", "'a b' and 'A  B' are the same, case and white space aside"),
        ("type: choice, choices: a", "questions.0.choices: expected a list"),
        ("aggregate: sum", "aggregate: sum needs type integer, number, money, found text"),
        ("type: text, aggregate: min", "aggregate: min needs type integer, number, money, date, found text"),
        ("type: list", "items and type: list belong together; items names the type of each entry"),
        ("items: date", "items and type: list belong together; items names the type of each entry"),
        ("type: list, items: choice", "questions.0.items: Input should be 'text', 'integer'"),
        (
            "constrain: no",
            "questions.0.constrain: Input should be a valid boolean; write true or false, without quotes",
        ),
        ("constrain: 'true'", "questions.0.constrain: Input should be a valid boolean; write true or false"),
        ("choice_probabilities: true", "choice_probabilities needs type choice, found text"),
        (
            "type: choice, choices: [a, b], choice_probabilities: 1",
            "choice_probabilities: Input should be a valid boolean",
        ),
        ("locale: xx_YY", "questions.0.locale: expected a locale such as en_US or de_CH, found 'xx_YY'"),
        ("locale: ''", "questions.0.locale: expected a locale such as en_US or de_CH, found ''"),
        ("pages: 0", "questions.0.pages: '0' is not a page range"),
        ("pages: '3-1'", "questions.0.pages: '3-1' ends before it begins"),
        ("documents: 'a**'", "questions.0.documents: Invalid pattern"),
        ("documents: ''", "questions.0.documents: expected a pattern such as 'invoices/*.pdf', or a list"),
        ("documents: []", "questions.0.documents: expected a pattern such as 'invoices/*.pdf', or a list"),
        ("documents: [a.pdf, {b: c}]", "questions.0.documents: expected a pattern such as 'invoices/*.pdf', or a list"),
        ("documents: [a.pdf, 'b**']", "questions.0.documents: Invalid pattern"),
        ("pages: []", "questions.0.pages: expected pages such as '1-3,-1', or a list of them"),
        ("pages: [1, null]", "questions.0.pages: expected pages such as '1-3,-1', or a list of them"),
        ("pages: {a: 1}", "questions.0.pages: expected pages such as '1-3,-1', or a list of them"),
        ("pages: [1, x]", "questions.0.pages: 'x' is not a page range"),
        ("type: choice, choices: [A, N/A]", "n/a always means that the page does not say; leave it out of the choices"),
        ("type: choice, choices: [A, B, n/a.]", "n/a always means that the page does not say; leave it out"),
        ("aggregate: [best]", "questions.0.aggregate: Input should be 'best'"),
        ("prompt: [x]", "questions.0.prompt: expected text, found a list; if this is text, put it in quotes"),
        (f"prompt: '{{text}} {'x' * 16_000}'", "at most 16,000 characters of prompt with text and choices in their "),
        ("max_new_tokens: '3'", "questions.0.max_new_tokens: Input should be a valid integer"),
        ("max_new_tokens: true", "questions.0.max_new_tokens: Input should be a valid integer"),
        ("prompt: Answer", "questions.0.prompt: expected {text} in it"),
        ("prompt: '{text} {page}'", "questions.0.prompt: expected {text} in it"),
        ("prompt: '{text.__class__}'", "questions.0.prompt: expected {text} in it"),
        ("prompt: '{text:d}'", "questions.0.prompt: expected {text} in it"),
        ("prompt: '{text!r}'", "questions.0.prompt: expected {text} in it"),
        ("prompt: '{text} }'", "questions.0.prompt: Single '}'"),
        ("keep: {threshold: 1}", "questions.0.keep.threshold: Input should be less than 1"),
        ("keep: {min_tokens: -1}", "questions.0.keep.min_tokens: Input should be greater than or equal to 0"),
    ],
)
def test_a_question_that_cannot_be_meant_is_refused(fields: str, reason: str) -> None:
    (line,) = refusal(f"version: 1\nquestions:\n  - {{id: a, text: Which, {fields}}}\n")
    assert line.startswith("q.yaml:3: questions.0")
    assert reason in line


@pytest.mark.parametrize("name", ["A", "a-b", "", "é", "a b"])
def test_an_id_is_lower_case_letters_digits_and_underscores(name: str) -> None:
    (line,) = refusal(f"version: 1\nquestions:\n- {{id: '{name}', text: b}}")
    assert line.startswith("q.yaml:3: questions.0.id: String should match pattern")


def test_load_from_path_and_uri(tmp_path: Path) -> None:
    path = tmp_path / "q.yaml"
    path.write_text(EVERYTHING, encoding="utf-8")
    fsspec.filesystem("memory").pipe("/questions/q.yaml", EVERYTHING.encode())
    expected = parse_questions(EVERYTHING, "q.yaml")
    assert load_questions(str(path)) == expected
    assert load_questions("memory://questions/q.yaml") == expected
    assert pickle.loads(pickle.dumps(expected)) == expected


def test_a_file_that_cannot_be_read_is_a_usage_error(tmp_path: Path) -> None:
    for uri in (str(tmp_path / "no.yaml"), str(tmp_path), "nosuch://q.yaml", f"{tmp_path}/{'a' * 300}"):
        with pytest.raises(UsageError, match="cannot be read") as caught:
            load_questions(uri)
        assert str(caught.value).startswith(uri)
        assert isinstance(pickle.loads(pickle.dumps(caught.value)), QuestionsError)


@pytest.mark.parametrize("name", ["a*b.yaml", "a::b.yaml", "q[1].yaml", "a#b?.yaml", "50%.yaml"])
def test_a_name_is_taken_as_it_stands(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(EVERYTHING, encoding="utf-8")
    assert len(load_questions(str(tmp_path / name)).questions) == 3


def test_the_locale_of_the_run_holds_where_neither_question_nor_defaults_declare_one() -> None:
    text = (
        "version: 1\ndefaults: {locale: de_DE}\nquestions:\n  - {id: a, text: A}\n  - {id: b, text: B, locale: fr_CH}\n"
    )
    assert [q.reading("en_US").locale for q in parse_questions(text, "q.yaml").questions] == ["de_DE", "fr_CH"]
    undeclared = parse_questions("version: 1\nquestions: [{id: a, text: A}]", "q.yaml").questions[0]
    assert (undeclared.reading("en_US").locale, undeclared.reading().locale) == ("en_US", None)
