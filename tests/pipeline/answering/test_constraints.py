"""A model that knows nothing gives answers of the types it is asked for, and the same ones alone and together."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from glimpseprune.rule import KeepRule
from pipeline.answering.constraints import Constraints
from pipeline.answering.open_page import ModelAnswer
from pipeline.answering.page_answerer import PageAnswerer
from pipeline.answering.verdict import judge
from pipeline.errors import ModelError
from pipeline.families.qwen_vl_input import Processor
from pipeline.questions.values import parse_value
from pipeline.records import Ask
from tests.support.toy_family_input import END, VOCABULARY, load_input, write_toy_config

RULE = KeepRule(max_ratio=0.3)
COLOURS = ("red", "green", "dark blue")
ASKS = [
    Ask("i", "How many?", "integer", 48, RULE),
    Ask("n", "How much?", "number", 48, RULE),
    Ask("m", "What is the total?", "money", 48, RULE),
    Ask("d", "When?", "date", 48, RULE),
    Ask("b", "Is it?", "boolean", 48, RULE),
    Ask("c", "Which?", "choice", 48, RULE, choices=COLOURS),
    Ask("l", "Which numbers?", "list", 48, RULE, items="integer"),
    Ask("t", "Who?", "text", 12, RULE),
]
LOCALES = (None, "en_US", "de_DE", "fr_FR", "en_IN")


def page(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (140, 112, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def page_answerer(tiny_base: Path, tiny_addon: Path) -> PageAnswerer:
    return PageAnswerer.load(str(tiny_base), str(tiny_addon), "cpu", "auto", "auto", 0)


def is_well_formed(ask: Ask, answer: ModelAnswer) -> bool:
    verdict = judge(ask, answer)
    if verdict.status == "not_answerable" or "cut_off" in verdict.reasons:
        return True
    read = [parse_value(answer.text, ask.type, locale, ask.choices, ask.items) for locale in LOCALES]
    return any(one.value is not None or " may be " in str(one.error) for one in read)


def test_typed_answers_are_well_formed_and_those_of_text_are_free(page_answerer: PageAnswerer) -> None:
    ended = 0
    for seed in range(6):
        answers = page_answerer.answer_page(page(seed), ASKS)
        for ask, answer in zip(ASKS[:-1], answers[:-1], strict=True):
            assert is_well_formed(ask, answer), (ask.type, answer.text)
            ended += answer.finish_reason == "stop"
            alone = page_answerer.answer_page(page(seed), [replace(ask, constrain=False)])[0]
            assert answer.is_forced == (answer.text != alone.text)
        free = page_answerer.answer_page(page(seed), [Ask(a.question_id, a.prompt, "text", 12, a.rule) for a in ASKS])
        assert answers[-1].text == free[-1].text
        assert not any(parse_value(answer.text, "money", "en_US").value for answer in free)
    assert ended > 6


def test_together_is_alone(page_answerer: PageAnswerer) -> None:
    pages = {number: (page(number), ASKS[number:] + ASKS[:number]) for number in range(3)}
    alone = {
        key: [page_answerer.answer_page(pixels, [ask])[0] for ask in asks] for key, (pixels, asks) in pages.items()
    }
    prepared = [(key, partial(page_answerer.prepare, *one)) for key, one in pages.items()]
    for key, answers in page_answerer.answer_pages(prepared):
        assert isinstance(answers, list)
        assert [answer.text for answer in answers] == [answer.text for answer in alone[key]]


def test_unpruned_questions_of_a_page_are_limited_too(page_answerer: PageAnswerer) -> None:
    asks = [replace(ask, rule=None) for ask in ASKS]
    answers = page_answerer.answer_page(page(1), asks)
    assert all(is_well_formed(ask, answer) for ask, answer in zip(asks[:-1], answers[:-1], strict=True))


@pytest.mark.parametrize("rule", [RULE, None], ids=["pruned", "unpruned"])
def test_a_choice_comes_with_the_probability_of_each(page_answerer: PageAnswerer, rule: KeepRule | None) -> None:
    plain = [Ask("c", "Which?", "choice", 48, rule, choices=COLOURS), Ask("t", "Who?", "text", 12, rule)]
    asked = [Ask("c", "Which?", "choice", 48, rule, choices=COLOURS, choice_probabilities=True), plain[1]]
    without, found = (page_answerer.answer_page(page(2), asks) for asks in (plain, asked))
    assert [a.text for a in found] == [a.text for a in without]
    assert [a.choice_probabilities for a in (*without, found[1])] == [None] * 3
    rows = found[0].choice_probabilities
    assert rows is not None
    assert [row.choice for row in rows] == [*COLOURS, "n/a"]
    assert all(0 < row.probability < 1 for row in rows)
    assert sum(row.probability for row in rows) < 1
    said = next(row.probability for row in rows if row.choice == found[0].text)
    # The tokens of the answer are those of the choice, and the model has two tokens to end it with.
    assert said > 0.999 * found[0].signals.confidence_raw ** found[0].new_tokens
    assert said < 1000 * found[0].signals.confidence_raw ** found[0].new_tokens


def test_the_grammar_of_a_type_is_made_once_and_serves_again(tiny_base: Path) -> None:
    constraints = Constraints(Processor(tiny_base), 263, [258])
    begin = constraints.of(ASKS[0])
    assert begin is not None
    assert constraints.of(Ask("other", "Other?", "integer", 3, None)) is begin
    assert constraints.of(ASKS[-1]) is None
    assert constraints.of(replace(ASKS[0], constrain=False)) is None
    first = begin()
    start = first.allowed()
    assert first.take(ord("7") - ord("!"))  # bytes are sorted by their printed form, which begins with "!"
    assert first.allowed() != start
    assert begin().allowed() == start


def test_a_tokenizer_of_any_kind_will_do(tmp_path: Path) -> None:
    toy = load_input(write_toy_config(tmp_path))
    begin = Constraints(toy, VOCABULARY, [END]).of(Ask("i", "?", "integer", 3, None))
    assert begin is not None
    walk = begin()
    for token in toy.answer("1,234", [END])[:-1].tolist():
        assert walk.allowed()[token // 8] >> token % 8 & 1
        assert walk.take(token)
    assert not walk.take(int(toy.answer("x", [END])[0]))
    assert walk.allowed()[END // 8] >> END % 8 & 1
    assert walk.take(END)


def test_an_answer_that_cannot_go_on_ends(tiny_base: Path) -> None:
    begin = Constraints(Processor(tiny_base), 263, [258, 256]).of(replace(ASKS[5], choices=("!", "#")))
    assert begin is not None
    walk = begin()
    assert not walk.take(258)
    assert walk.take(0)
    assert walk.allowed() == ((1 << 258) | (1 << 256)).to_bytes(len(walk.allowed()), "little")
    assert walk.take(256)


def test_a_slow_tokenizer_is_refused_with_a_way_out(tiny_base: Path) -> None:
    slow = Processor(tiny_base)
    slow.chat.tokenizer = object()
    with pytest.raises(ModelError, match="ask with constrain: false"):
        Constraints(slow, 263, [258]).of(ASKS[0])
