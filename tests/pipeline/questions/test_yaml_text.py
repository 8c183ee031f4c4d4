"""YAML means what it looks like, or is refused by name, with line, column and field."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pipeline.errors import QuestionsError
from pipeline.questions.file import Question, load_questions, parse_questions

TOP = "version: 1\nquestions:\n"
ONE = f"{TOP}- id: a\n  text: b\n"


def asked(text: str) -> Question:
    return parse_questions(text, "q.yaml").questions[0]


def refusal(text: str) -> str:
    with pytest.raises(QuestionsError) as caught:
        parse_questions(text, "q.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("entry", "place", "column", "reason"),
    [
        ("{id: a, text: What?}", "questions.0.text", 21, "but got '?'; if this is text, put it in quotes"),
        ("{id: a, text: In EUR, how much?}", "questions.0.how much", 33, "put it in quotes"),
        ("id: a\n  text: Total: how much?", "questions.0.text", 14, "put it in quotes"),
        ("id: a\n  text: 'What's up'", "questions.0.text", 15, "put it in quotes"),
        ('id: a\n  text: "Is "it" so?"', "questions.0.text", 14, "put it in quotes"),
        ("id: a\n  text: @home", "questions.0.text", 9, "put it in quotes"),
        ("id: a\n  text: &co KG?", "questions.0.text", 9, "&co is an anchor"),
        ("id: a\n  text: *total", "questions.0.text", 9, "*total is an alias"),
        ("id: a\n  text: !important", "questions.0.text", 9, "!important is a tag"),
        ("id: a\n\ttext: b", "questions.0.id", 1, "indent with spaces, not tabs"),
        ("id: a\n--- {}", "file", 1, "take the line '---' out, and list all questions under one 'questions:'"),
        ("[", "questions.0", 4, "expected the node content"),
    ],
)
def test_point_18_a_riddle_of_yaml_says_line_column_and_what_to_do(
    entry: str, place: str, column: int, reason: str
) -> None:
    line = 3 + entry.count("\n")
    found = refusal(f"{TOP}- {entry}")
    assert found.startswith(f"q.yaml:{line}: {place}: not valid YAML at line {line}, column {column}: ")
    assert reason in found
    assert len(found.splitlines()) == 1


def test_an_open_quote_says_where_it_began() -> None:
    assert "while scanning a quoted scalar from line 4" in refusal(f'{TOP}- id: a\n  text: "What\n  type: x\n')


def test_text_with_a_comma_in_braces() -> None:
    assert refusal(f"{TOP}- {{id: a, text: How much, in EUR}}") == (
        "q.yaml:3: questions.0.in EUR: unknown key; text with a comma in it needs quotes between { and }"
    )


def test_point_18_text_means_what_it_looks_like() -> None:
    words = ["yes", "no", "on", "off", "true", "1", "010", "1.10", "0x1F", "1_000", "1:30", "2024-01-01", ".inf", "="]
    assert asked(f"{ONE}  type: choice\n  choices: [{', '.join(words)}]").choices == tuple(words)
    question = asked(f"{TOP}- id: 007\n  text: 2024-99-99\n  documents: no\n  prompt: '{{text}}'")
    assert (question.id, question.text, question.documents) == ("007", "2024-99-99", "no")
    assert type(question.text) is str


def test_point_18_null_is_refused_where_a_word_is_meant() -> None:
    for word in ("null", "~", "Null"):
        found = refusal(f"{ONE}  type: choice\n  choices: [some, {word}]")
        assert found == ("q.yaml:6: questions.0.choices.1: expected text, found nothing; the word null needs quotes")
    assert asked(f"{ONE}  type: choice\n  choices: [some, 'null']").choices == ("some", "null")


@pytest.mark.parametrize(
    "pages", ["010", "1:30", "1.0", "1_0", "0x1", "+3", "0", "2024-01-01", "yes", "null", "", "[01, 2]", "9" * 5000]
)
def test_point_18_pages_that_yaml_would_turn_into_another_number_are_refused(pages: str) -> None:
    found = refusal(f"{ONE}  pages: {pages}")
    assert found.startswith("q.yaml:5: questions.0.pages: ")
    assert len(found) < 300


@pytest.mark.parametrize("value", ["010", "1:30", "1_000", "0x10", "12.0", "1e3", "yes", "'3'", "9" * 5000])
@pytest.mark.parametrize("field", ["max_new_tokens: {}", "keep: {{min_tokens: {}}}"])
def test_point_18_whole_numbers_are_plain_decimals(field: str, value: str) -> None:
    found = refusal(f"{ONE}  {field.format(value)}")
    assert found.startswith("q.yaml:5: questions.0.")
    assert "write a whole number such as 16, without quotes" in found
    assert len(found) < 300


def test_plain_numbers_stay_numbers() -> None:
    question = asked(f"{ONE}  pages: 3\n  max_new_tokens: 16\n  keep: {{max_ratio: 1, threshold: 0.25, min_tokens: 0}}")
    assert (question.pages, question.max_new_tokens) == ("3", 16)
    assert question.keep is not None
    assert question.keep.model_dump() == {"threshold": 0.25, "max_ratio": 1.0, "min_tokens": 0}
    for odd in (".5", "1:30", ".nan", "1e-1", "'0.5'"):
        assert "questions.0.keep.threshold: Input should be a valid number" in refusal(
            f"{ONE}  keep: {{threshold: {odd}}}"
        )


@pytest.mark.parametrize("character", ["\\0", "\\ud800", "\\x1b", "\0", "\ud800", "\x1b"])
def test_point_18_characters_that_are_no_text(character: str) -> None:
    found = refusal(f'{TOP}- {{id: a, text: "a{character}b"}}')
    assert found.startswith("q.yaml:3: ")
    assert found.endswith("may not stand in a text; take it out")
    found.encode()


@pytest.mark.parametrize("opening", ["[", "{", "- ", "? ", "{a: "])
def test_point_18_deep_nesting_is_a_sentence(opening: str) -> None:
    found = refusal(opening * 100_000)
    assert found.startswith("q.yaml:1: ")
    assert "nested deeper than a questions file can be" in found
    assert len(found) < 300


def test_point_18_an_alias_cannot_grow() -> None:
    bomb = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    started = time.perf_counter()
    assert refusal(bomb).startswith("q.yaml:1: a: not valid YAML at line 1, column 4: &a is an anchor")
    assert refusal(f"{TOP}- &a [*a]").startswith("q.yaml:3: questions.0: ")
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize(
    ("text", "place", "column"),
    [
        (f'{TOP}- {{id: a, text: "\\U00110000"}}', "3: questions", 20),
        (f'{TOP}- {{id: a, text: "\\UFFFFFFFF"}}', "3: questions", 20),
        (f"%YAML 1.{'1' * 5000}\n---\n{ONE}", "1: file", 9),
    ],
)
def test_what_stands_for_no_character_or_number(text: str, place: str, column: int) -> None:
    found = refusal(text)
    assert found.startswith(f"q.yaml:{place}: not valid YAML at line {place[0]}, column {column}: what stands there")
    assert len(found) < 200


def test_keys() -> None:
    assert refusal(f"version: 1\nversion: 1\n{ONE[11:]}") == "q.yaml:2: version: is given twice"
    assert refusal("version: 1\n? [a]\n: 3\nquestions: []").startswith("q.yaml:2: file: expected the name of a field")
    odd = refusal(f'{ONE}  "a\\nb": 1\n  {"k" * 900}: 2')
    assert odd.splitlines()[0] == "q.yaml:5: questions.0.a\\nb: unknown key"
    assert len(odd) < 200
    many = refusal(TOP + "".join(f"- {{id: q{i}, text: What, tpye: x}}\n" for i in range(30)))
    assert many.splitlines()[-1] == "and 10 more"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_point_18_files_as_editors_save_them(tmp_path: Path, encoding: str, newline: str) -> None:
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    text = (mark + f"{TOP}- id: a\n  text: Wie heißt „sie“?\n").replace("\n", newline)
    (tmp_path / "q.yaml").write_bytes(text.encode(encoding))
    assert load_questions(str(tmp_path / "q.yaml")).questions[0].text == "Wie heißt „sie“?"


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        (b"version: 1\nquestions: # \xe9", 2, "expected text in UTF-8, found b'\\xe9'; save it as UTF-8 text"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", 2, "expected text in UTF-8"),
        (b"\x89PNG\r\n\x1a\n\x00", 1, "expected text in UTF-8"),
        ("version: 1".encode("utf-16-le"), 1, "'\\x00' may not stand in a text"),
        ("version: 1".encode("utf-32"), 1, "'\\x00' may not stand in a text"),
        (b"\xff\xfea", 1, "expected text in UTF-8"),
        (bytes(100), 1, "'\\x00' may not stand in a text"),
        (b"", 1, "expected a mapping with version and questions, found nothing"),
    ],
)
def test_point_18_files_that_are_no_text(tmp_path: Path, content: bytes, line: int, reason: str) -> None:
    (tmp_path / "q.yaml").write_bytes(content)
    with pytest.raises(QuestionsError) as caught:
        load_questions(str(tmp_path / "q.yaml"))
    assert str(caught.value).startswith(f"{tmp_path}/q.yaml:{line}: file: ")
    assert reason in str(caught.value)


def test_point_18_huge_files_are_not_read() -> None:
    with pytest.raises(
        QuestionsError, match="/dev/zero: is larger than 1 MB, so it is not a YAML file with questions; split it"
    ):
        load_questions("/dev/zero")
