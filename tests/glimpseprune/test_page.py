"""A page that is read once answers every question as it is answered alone, whenever it is asked."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn.functional import max_pool2d

import glimpseprune as gp
from glimpseprune.page import EncodedPage
from tests.support.batches import item
from tests.support.tiny_model import make_tiny_addon, make_tiny_checkpoint

RULE = gp.KeepRule(max_ratio=0.3, min_tokens=2)
PAGE = item([(4, 6)], 0, 0)
QUESTIONS = [torch.tensor([11, 12, 13]), torch.tensor([21]), torch.tensor([31, 32, 33, 34, 35])]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> gp.GlimpseModel:
    folder = tmp_path_factory.mktemp("page")
    base = make_tiny_checkpoint(folder / "base")
    return gp.load(base, glimpse=make_tiny_addon(folder / "glimpse"), device="cpu")


@pytest.fixture
def page(model: gp.GlimpseModel) -> EncodedPage:
    return gp.encode_page(model, PAGE["input_ids"][0], PAGE["pixel_values"], (8, 12))


def _alone(model: gp.GlimpseModel, question: torch.Tensor, rule: gp.KeepRule | None, limit: int) -> gp.Output:
    ids = torch.cat([PAGE["input_ids"], question[None]], dim=1)
    inputs = {**PAGE, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
    return gp.generate(model, inputs, rule=rule, max_new_tokens=limit)


def test_every_question_as_alone(model: gp.GlimpseModel, page: EncodedPage) -> None:
    rules, limits = [RULE, None, RULE], [3, 5, 7]
    answers = page.ask(QUESTIONS, rules, limits)
    for question, rule, limit, answer in zip(QUESTIONS, rules, limits, answers, strict=True):
        alone = _alone(model, question, rule, limit)
        assert answer.tokens == alone.sequences[0].tolist()
        assert torch.equal(answer.keep, alone.keep[0])
        assert answer.stats.kept_tokens == alone.stats[0].kept_tokens
        assert (answer.scores is None) == (rule is None)


def test_blank_paper_beside_what_matters_does_not_stay(model: gp.GlimpseModel) -> None:
    pixels = PAGE["pixel_values"].clone()
    blank = torch.zeros(24, dtype=torch.bool)
    blank[1::2] = True
    pixels.view(24, -1)[blank] = 0.7
    page = gp.encode_page(model, PAGE["input_ids"][0], pixels, (8, 12))
    limit = float(torch.sigmoid(torch.cat(page.scores(QUESTIONS))).quantile(0.8))
    rule = gp.KeepRule(threshold=limit, margin=1, min_tokens=0)
    ids = torch.cat([PAGE["input_ids"], QUESTIONS[0][None]], dim=1)
    inputs = {**PAGE, "pixel_values": pixels, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
    alone = gp.generate(model, inputs, rule=rule, max_new_tokens=2)
    shared = page.ask(QUESTIONS, rule, 2)
    chosen = [(alone.scores[0], alone.keep[0]), *((answer.scores, answer.keep) for answer in shared)]
    left_out = 0
    for scores, keep in chosen:
        assert scores is not None
        passed = torch.sigmoid(scores) > limit
        around = max_pool2d(passed.view(1, 4, 6).float(), 3, stride=1, padding=1).flatten() > 0
        assert torch.equal(keep, passed | (around & ~blank))
        left_out += int((around & blank & ~passed).sum())
    assert left_out > 10


def test_asked_again_it_answers_the_same(model: gp.GlimpseModel, page: EncodedPage) -> None:
    first = page.ask(QUESTIONS, RULE, 6)
    again = [page.ask([question], RULE, 6)[0] for question in QUESTIONS]
    assert [answer.tokens for answer in again] == [answer.tokens for answer in first]
    assert [answer.stats.vision_ms is not None for answer in first + again] == [True] + [False] * 5
    assert [answer.stats.prefix_ms is not None for answer in first + again] == [True] + [False] * 5


def test_a_single_question_first_and_others_later(model: gp.GlimpseModel, page: EncodedPage) -> None:
    (first,) = page.ask(QUESTIONS[:1], RULE, 6)
    assert page.shared is None  # nobody to share with yet
    later = page.ask(QUESTIONS, RULE, 6)
    assert later[0].tokens == first.tokens
    torch.testing.assert_close(later[0].first_logits, first.first_logits, rtol=1e-4, atol=1e-4)
    assert page.shared is not None


def test_without_an_addon_only_whole_pages(tmp_path: Path) -> None:
    model = gp.load(make_tiny_checkpoint(tmp_path / "base"), device="cpu")
    page = gp.encode_page(model, PAGE["input_ids"][0], PAGE["pixel_values"], (8, 12))
    (answer,) = page.ask(QUESTIONS[:1], None, 4)
    assert answer.tokens == _alone(model, QUESTIONS[0], None, 4).sequences[0].tolist()
    with pytest.raises(gp.InputError, match="add-on"):
        page.ask(QUESTIONS[:1], RULE, 4)


def test_an_empty_question_is_refused(model: gp.GlimpseModel, page: EncodedPage) -> None:
    with pytest.raises(gp.InputError, match=r"at least one token in every question, found \[0\]"):
        page.ask([torch.tensor([], dtype=torch.long)], RULE)


def test_scores_are_those_of_a_prefill_which_then_gives_the_same_answers(model: gp.GlimpseModel) -> None:
    plain, scored = (gp.encode_page(model, PAGE["input_ids"][0], PAGE["pixel_values"], (8, 12)) for _ in range(2))
    expected = plain.ask(QUESTIONS, RULE, 6)
    for row, answer in zip(scored.scores(QUESTIONS), expected, strict=True):
        assert answer.scores is not None
        torch.testing.assert_close(row, answer.scores, rtol=1e-4, atol=1e-4)
    assert scored.prefix_ms is not None
    answers = scored.ask(QUESTIONS[1:], RULE, 6)
    assert [answer.tokens for answer in answers] == [answer.tokens for answer in expected[1:]]
    assert [answer.stats.prefix_ms is not None for answer in answers + scored.ask(QUESTIONS[:1], RULE, 6)] == [
        True,
        False,
        False,
    ]


def test_what_is_not_visible_scores_minus_infinity(model: gp.GlimpseModel) -> None:
    visible = torch.ones(24, dtype=torch.bool)
    visible[[0, 7, 23]] = False
    page = gp.encode_page(model, PAGE["input_ids"][0], PAGE["pixel_values"], (8, 12), visible)
    scores = page.scores(QUESTIONS)
    assert [torch.isfinite(row).tolist() for row in scores] == [visible.tolist()] * 3
    (answer,) = page.ask(QUESTIONS[:1], RULE, 3)
    assert answer.scores is not None
    torch.testing.assert_close(scores[0], answer.scores, rtol=1e-4, atol=1e-4)


def test_only_an_addon_scores(tmp_path: Path, page: EncodedPage) -> None:
    model = gp.load(make_tiny_checkpoint(tmp_path / "base"), device="cpu")
    with pytest.raises(gp.InputError, match="with an add-on"):
        gp.encode_page(model, PAGE["input_ids"][0], PAGE["pixel_values"], (8, 12)).scores(QUESTIONS)
    with pytest.raises(gp.InputError, match=r"at least one token in every question, found \[0\]"):
        page.scores([torch.tensor([], dtype=torch.long)])
