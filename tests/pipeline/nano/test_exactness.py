"""With the embedded model, every path gives the tokens that ``gp.generate`` gives to a page and a question alone."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch import Tensor

import glimpseprune as gp
from glimpseprune.generation import Keep
from pipeline.answering.checkpoints import resolve_model
from pipeline.answering.open_page import ModelAnswer
from pipeline.answering.page_answerer import PageAnswerer
from pipeline.families.registry import find_family
from pipeline.pages.documents import list_documents
from pipeline.pages.renderer import RenderChild, decode_image
from pipeline.questions.file import load_questions
from pipeline.records import Ask, Image, PageImage
from pipeline.samples.write import write_samples
from tests.support.pages import ask_page, split_prompts

PAGES, LIMIT = 3, 24
KEYS = ("total", "date", "invoice_no", "customer", "city")


@dataclass
class Page:
    """A page, its asks (some pruned, some not) and the tokens each gets alone."""

    image: Image
    asks: list[Ask]
    prompts: list[Tensor]
    pixels: Tensor
    grid: tuple[int, int]
    rules: list[Keep]
    alone: list[list[int]]


@pytest.fixture(scope="module")
def page_answerer() -> PageAnswerer:
    return PageAnswerer.load("nano", "nano", "cpu", "float32", "sdpa", 0)


@pytest.fixture(scope="module")
def pages(page_answerer: PageAnswerer, tmp_path_factory: pytest.TempPathFactory) -> list[Page]:
    folder = tmp_path_factory.mktemp("pages")
    write_samples(folder, range(500, 500 + PAGES), keys=KEYS)
    questions = load_questions(str(folder / "questions.yaml")).questions
    checkpoint = resolve_model("nano")
    budget = find_family(checkpoint).read_budget(checkpoint, None)
    found = []
    with RenderChild() as child:
        for document in list_documents((str(folder / "pdfs"),), None):
            (rendered,) = child.render(document, [1], 144, budget)
            assert isinstance(rendered, PageImage)
            found.append(_page(page_answerer, decode_image(rendered), [(q.id, q.text) for q in questions]))
    return found


def _page(page_answerer: PageAnswerer, image: Image, questions: list[tuple[str, str]]) -> Page:
    rule = page_answerer.model.rule
    asks = [
        Ask(name, text, "text", LIMIT, rule if number % 3 else None) for number, (name, text) in enumerate(questions)
    ]
    pixels, grid = page_answerer.processor.image(image)
    prompts = [page_answerer.processor.prompt(ask.prompt, grid) for ask in asks]
    rules: list[Keep] = [ask.rule for ask in asks]
    alone = []
    for prompt, rule in zip(prompts, rules, strict=True):
        inputs = {
            "input_ids": prompt[None],
            "attention_mask": torch.ones(1, prompt.numel(), dtype=torch.long),
            "pixel_values": pixels,
            "image_grid_thw": torch.tensor([[1, *grid]]),
        }
        alone.append(gp.generate(page_answerer.model, inputs, rule=rule, max_new_tokens=LIMIT).sequences[0].tolist())
    return Page(image, asks, prompts, pixels, grid, rules, alone)


def test_the_answers_say_something(page_answerer: PageAnswerer, pages: list[Page]) -> None:
    texts = {page_answerer.processor.text(torch.tensor(tokens)) for page in pages for tokens in page.alone}
    assert len(texts) > PAGES * len(KEYS) // 2


def test_the_questions_of_a_page_together(page_answerer: PageAnswerer, pages: list[Page]) -> None:
    for page in pages:
        out = ask_page(page_answerer.model, page.prompts, page.pixels, page.grid, page.rules, LIMIT)
        assert [tokens.tolist() for tokens in out.sequences] == page.alone


def test_a_page_read_once_and_asked_twice(page_answerer: PageAnswerer, pages: list[Page]) -> None:
    for page in pages:
        prefix, tails = split_prompts(page_answerer.model, page.prompts)
        read = gp.encode_page(page_answerer.model, prefix, page.pixels, page.grid)
        first = read.ask(tails[:2], page.rules[:2], LIMIT)
        second = read.ask(tails[2:], page.rules[2:], LIMIT)
        assert [answer.tokens for answer in first + second] == page.alone


@pytest.mark.parametrize("limit_bytes", [0, 4_000_000, 1 << 40])
def test_pages_decoding_together_in_any_order(page_answerer: PageAnswerer, pages: list[Page], limit_bytes: int) -> None:
    page_answerer = PageAnswerer(page_answerer.model, page_answerer.processor)
    page_answerer.memory.limit_bytes = limit_bytes
    rng = random.Random(limit_bytes)
    order = rng.sample(range(PAGES), PAGES)
    shuffled = {number: rng.sample(range(len(KEYS)), len(KEYS)) for number in order}
    todo = [
        (number, partial(page_answerer.prepare, pages[number].image, [pages[number].asks[i] for i in shuffled[number]]))
        for number in order
    ]
    found: dict[int, list[ModelAnswer]] = {}
    for number, answers in page_answerer.answer_pages(todo):
        assert isinstance(answers, list)
        found[number] = answers
    for number, places in shuffled.items():
        expected = [page_answerer.processor.text(torch.tensor(pages[number].alone[i])) for i in places]
        assert [answer.text for answer in found[number]] == expected
        assert [answer.new_tokens for answer in found[number]] == [len(pages[number].alone[i]) for i in places]
