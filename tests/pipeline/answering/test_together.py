"""Questions about several pages together: the answers of the long way, and one row each, whatever ends the run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoTokenizer

import glimpseprune as gp
from glimpseprune.rule import KeepRule
from pipeline.answering.commits import COMMIT_SECONDS
from pipeline.answering.open_page import ModelAnswer
from pipeline.answering.page_answerer import PageAnswerer
from pipeline.families.qwen_vl_input import Processor
from pipeline.output.attempts import Markers
from pipeline.records import Ask
from tests.support.helpers import FakePageAnswerer, page_error, questions
from tests.support.one_document import DeathError, OneDocument, Paper

ASKS = [
    Ask("a", "What is the total?", "text", 9, KeepRule(max_ratio=0.3)),
    Ask("b", "Who?", "text", 5, None),
    Ask("c", "When is it due, and why?", "text", 7, KeepRule(max_ratio=0.05, min_tokens=2)),
    Ask("d", "How much?", "number", 7, KeepRule(max_ratio=0.3)),
]


def page(seed: int, width: int = 112, height: int = 168) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    pixels[: height // 2] = 255  # paper
    return pixels


PAGES = [page(0), page(1, 168, 112), page(2)]


@pytest.fixture(scope="module")
def page_answerer(tiny_base: Path, tiny_addon: Path) -> PageAnswerer:
    return PageAnswerer.load(str(tiny_base), str(tiny_addon), "cpu", "auto", "auto", 0)


def long_way(answerer: PageAnswerer, base: Path, pages: Sequence[np.ndarray], ask: Ask) -> gp.Output:
    """The stock tokenizer, template and image processor, and one prompt by itself."""
    processor, tokenizer = Processor(base), AutoTokenizer.from_pretrained(base)
    content = [{"type": "image"}] * len(pages) + [{"type": "text", "text": ask.prompt}]
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": content}],
        chat_template=processor.chat.template,
        add_generation_prompt=True,
        tokenize=False,
    )
    images = processor.images(images=[Image.fromarray(one) for one in pages], return_tensors="pt")
    pad = "<|image_pad|>"
    before, *others = text.split(pad)
    for (_, rows, columns), after in zip(images["image_grid_thw"].tolist(), others, strict=True):
        before += pad * (rows * columns // 4) + after
    ids = torch.tensor([tokenizer(before, add_special_tokens=False)["input_ids"]])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), **images}
    return gp.generate(answerer.model, inputs, rule=ask.rule, max_new_tokens=ask.max_new_tokens)


def together(answerer: PageAnswerer, pages: Sequence[np.ndarray], asks: Sequence[Ask]) -> list[ModelAnswer]:
    ((_, found),) = answerer.answer_pages([(0, partial(answerer.prepare_together, pages, asks))])
    assert isinstance(found, list)
    return found  # type: ignore[return-value]


@pytest.mark.parametrize("count", [2, 3])
def test_answers_are_those_of_the_long_way(page_answerer: PageAnswerer, tiny_base: Path, count: int) -> None:
    pages, asks = PAGES[:count], ASKS[:3]
    grids = tuple((one.shape[0] // 28, one.shape[1] // 28) for one in pages)
    answers = together(page_answerer, pages, asks)
    for ask, found in zip(asks, answers, strict=True):
        expected = long_way(page_answerer, tiny_base, pages, ask)
        assert found.text == page_answerer.processor.text(expected.sequences[0])
        assert found.grids == grids
        assert len(found.frames) == count
        assert found.stats.visual_tokens == sum(rows * columns for rows, columns in grids)
        if ask.rule is None:
            assert found.keep is None
            continue
        assert found.keep is not None
        assert found.keep.tolist() == expected.keep[0].tolist()
        kept = [found.on_page(number).keep for number in range(count)]
        assert np.concatenate(kept).tolist() == found.keep.tolist()  # type: ignore[arg-type]
        assert found.stats.kept_tokens == found.keep.sum()
    assert len({answer.text for answer in answers}) == 3
    turned = together(page_answerer, pages[::-1], asks)
    assert [answer.text for answer in turned] != [answer.text for answer in answers]


@pytest.mark.parametrize("changes", [{}, {"drop_blank": True}, {"fallback": True}], ids=str)
def test_pages_together_are_answered_beside_others_as_by_themselves(
    page_answerer: PageAnswerer, changes: dict[str, bool]
) -> None:
    answerer = PageAnswerer(page_answerer.model, page_answerer.processor)
    for name, value in changes.items():
        setattr(answerer, name, value)
    auto = not changes
    asks = [dataclasses.replace(ask, prune_auto=auto and ask.rule is not None) for ask in ASKS]
    items: dict[str, Any] = {
        "both": partial(answerer.prepare_together, PAGES[:2], asks),
        "first": partial(answerer.prepare, PAGES[0], asks),
        "ends": partial(answerer.prepare_together, [PAGES[0], PAGES[2]], asks[:1]),
    }
    beside = dict(answerer.answer_pages(items.items()))
    alone = {name: dict(answerer.answer_pages([(name, item)]))[name] for name, item in items.items()}
    texts = {
        name: [(answer.text, answer.pruning and answer.pruning.choice, answer.fallback) for answer in found]  # type: ignore[union-attr]
        for name, found in beside.items()
    }
    assert texts == {
        name: [(answer.text, answer.pruning and answer.pruning.choice, answer.fallback) for answer in found]  # type: ignore[union-attr]
        for name, found in alone.items()
    }
    if auto:
        assert all(answer.pruning for answer, ask in zip(beside["both"], asks, strict=True) if ask.prune_auto)  # type: ignore[arg-type, union-attr]
    if changes == {"drop_blank": True}:
        (first, *_) = beside["both"]  # type: ignore[misc]
        assert isinstance(first, ModelAnswer)
        assert first.stats.kv_tokens_full > first.stats.kv_tokens_kept
        sizes = [rows * columns for rows, columns in first.grids]
        assert first.scores is not None
        assert [bool(np.isinf(part).any()) for part in np.split(first.scores, sizes[:1])] == [True, True]
    if changes == {"fallback": True}:
        assert any(answer.fallback for answer in beside["both"])  # type: ignore[union-attr]


COUNT, BROKEN, BLANK = 7, 3, 6
ASKED = questions(
    "id: each, text: x",
    "id: both, text: x, pages: '1+2'",
    "id: ends, text: x, pages: '1+-1'",
    "id: also, text: x, pages: '1+2'",
    "id: lost, text: x, pages: '3+4'",
    "id: paper, text: x, pages: '6+7'",
    "id: none, text: x, pages: '8+9'",
)
PAPER = Paper(COUNT, BROKEN, BLANK)


class Slow(FakePageAnswerer):
    """Each item takes longer than a commit waits; what happens on it can be told."""

    def __init__(self, on_item: Callable[[tuple[int, ...]], None] = lambda pages: None) -> None:
        super().__init__()
        self.on_item = on_item
        self.now = 0.0
        self.read: list[tuple[int, ...]] = []

    def _answer_page(self, page: Any, asks: Any) -> list[ModelAnswer]:
        pages = tuple(int(one[0, 0, 0]) for one in (page if isinstance(page, list) else [page]))
        self.on_item(pages)
        self.read.append(pages)
        self.now += COMMIT_SECONDS
        return super()._answer_page(page, asks)


ITEMS = [(1,), (2,), (4,), (5,), (7,), (1, 2), (1, 7), (6, 7)]


@pytest.fixture
def expected(tmp_path: Path) -> dict[str, list[dict[str, Any]]]:
    work = OneDocument(tmp_path / "uninterrupted", PAPER, ASKED)
    answerer = work.run(slow := Slow())
    assert slow.read == ITEMS
    assert answerer.pages_done == COUNT
    return work.tables()


def test_each_question_about_pages_together_has_one_row(expected: dict[str, list[dict[str, Any]]]) -> None:
    rows = [row for row in expected["answers"] if row["question_id"] != "each"]
    assert [(r["question_id"], r["page"], r["pages"], r["status"], r["visual_tokens"]) for r in rows] == [
        ("also", 1, [1, 2], "answered", 2),
        ("both", 1, [1, 2], "answered", 2),
        ("ends", 1, [1, 7], "answered", 2),
        ("lost", 3, [3, 4], "failed", None),
        ("paper", 6, [6, 7], "answered", 2),
    ]
    assert [row["pages"] for row in expected["answers"] if row["question_id"] == "each"] == [[n] for n in range(1, 8)]
    (lost,) = [row for row in expected["failures"] if row["question_id"] == "lost"]
    assert (lost["page"], lost["error_type"], lost["error_message"]) == (3, "RenderCrash", "page 3: x")
    assert [row["page"] for row in expected["pages"]] == [1, 2, 4, 5, 6, 7]
    documents = {row["question_id"]: (row["page"], row["pages"], row["pages_asked"]) for row in expected["documents"]}
    assert documents["both"] == (1, [1, 2], 2)
    assert documents["lost"] == (None, None, 2)
    assert "none" not in documents


@pytest.mark.parametrize("error", [KeyboardInterrupt, DeathError])
def test_resumed_equals_uninterrupted_after_any_item(
    tmp_path: Path, expected: dict[str, list[dict[str, Any]]], error: type[BaseException]
) -> None:
    for number, item in enumerate(ITEMS):

        def ending(pages: tuple[int, ...], item: tuple[int, ...] = item) -> None:
            if pages == item:
                raise error

        work = OneDocument(tmp_path / str(number), PAPER, ASKED)
        with pytest.raises(error):
            work.run(first := Slow(ending))
        if error is KeyboardInterrupt:
            Markers(work.folder).clear()  # as the run does, which stopped on purpose
        work.run(second := Slow())
        assert work.tables() == expected
        assert first.read + second.read == ITEMS  # nothing was read twice


def test_pages_that_kill_the_process_together_cost_the_questions_about_them_and_no_other(tmp_path: Path) -> None:
    def ending(pages: tuple[int, ...]) -> None:
        if pages == (1, 2):
            raise DeathError

    work = OneDocument(tmp_path, PAPER, ASKED)
    for _ in range(3):
        with pytest.raises(DeathError):
            work.run(Slow(ending))
    work.run(Slow(ending))
    rows = work.tables()
    crashed = [row for row in rows["failures"] if row["error_type"] == "ModelCrash"]
    assert [(row["question_id"], row["page"], row["attempts"]) for row in crashed] == [("also", 1, 4), ("both", 1, 4)]
    assert len(rows["answers"]) == COUNT + 5
    assert [row["page"] for row in rows["pages"]] == [1, 2, 4, 5, 6, 7]


def test_pages_that_do_not_fit_together_cost_the_questions_about_them(tmp_path: Path) -> None:
    def ending(pages: tuple[int, ...]) -> None:
        if len(pages) > 1:
            raise page_error()

    work = OneDocument(tmp_path, PAPER, ASKED)
    work.run(Slow(ending))
    failed = [row["question_id"] for row in work.tables()["failures"] if row["error_type"] == "OutOfMemory"]
    assert failed == ["also", "both", "ends", "paper"]
