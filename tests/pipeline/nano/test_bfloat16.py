"""What 16 bits change of the embedded model's answers in float32: of the first 24, at most one."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

from pipeline.answering.checkpoints import default_dpi, resolve_model
from pipeline.answering.page_answerer import PageAnswerer
from pipeline.families.registry import find_family
from pipeline.pages.documents import list_documents
from pipeline.pages.renderer import RenderChild, decode_image
from pipeline.records import Ask, Image, PageImage
from pipeline.samples.questions import ask
from pipeline.samples.write import write_samples

# Tests are held to instructions without products of bfloat16, by which a page takes four seconds.
PAGES, QUESTIONS, LIMIT = 4, 6, 32
MOST_CHANGED, LEAST_RIGHT = 1, 0.9


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Image, list[str], list[str]]]:
    """The pixels of each page, its questions and the right answers."""
    folder = tmp_path_factory.mktemp("pages")
    samples = write_samples(folder, range(9000, 9000 + PAGES))
    truths = {f"{s.seed:08d}.pdf": ask(s, s.seed, 1)[-QUESTIONS:] for s in samples}
    budget = find_family(resolve_model("nano")).read_budget(resolve_model("nano"), None)
    found = []
    with RenderChild() as child:
        for document in list_documents((str(folder / "pdfs"),), None):
            (image,) = child.render(document, [1], default_dpi("nano"), budget)
            assert isinstance(image, PageImage)
            mine = truths[Path(document.path).name]
            found.append((decode_image(image), [q.text for q in mine], [q.answer for q in mine]))
    return found


def answers(dtype: str, asked: list[tuple[Image, list[str], list[str]]]) -> dict[str, list[str]]:
    """Every answer, pruned and not."""
    page_answerer = PageAnswerer.load("nano", "nano", "cpu", dtype, "auto", 0)
    assert page_answerer.model.backbone.dtype == getattr(torch, dtype)
    found = {}
    for mode, rule in (("pruned", page_answerer.model.rule), ("unpruned", None)):
        todo = [
            (number, partial(page_answerer.prepare, image, [Ask(text, text, "text", LIMIT, rule) for text in texts]))
            for number, (image, texts, _) in enumerate(asked)
        ]
        told = dict(page_answerer.answer_pages(todo))
        found[mode] = [answer.text for number in range(len(asked)) for answer in told[number]]  # type: ignore[union-attr]
    return found


@pytest.mark.slow
def test_hardly_an_answer_changes_in_16_bits(asked: list[tuple[Image, list[str], list[str]]]) -> None:
    exact, rounded = answers("float32", asked), answers("bfloat16", asked)
    truth = [answer for _, _, right in asked for answer in right]
    assert len(truth) == PAGES * QUESTIONS
    for mode, want in exact.items():
        right = sum(one == other for one, other in zip(truth, rounded[mode], strict=True)) / len(truth)
        changed = [(one, other) for one, other in zip(want, rounded[mode], strict=True) if one != other]
        assert len(changed) <= MOST_CHANGED, (mode, changed)
        assert right >= LEAST_RIGHT, mode
