from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import UsageError
from pipeline.pages.renderer import RenderChild
from pipeline.viewing.originals import Originals
from pipeline.viewing.published import read_published
from pipeline.viewing.show import caption, draw_row, under
from tests.support.viewed import TOTAL_BOX, answer, of_document, review, write_output, write_pdf

NO_ERROR = {"value_error": None}


def test_the_picture_holds_the_crop_and_the_words(tmp_path: Path, child: RenderChild) -> None:
    write_pdf(tmp_path / "in/a.pdf")
    row = answer(**of_document(tmp_path / "in", "a.pdf"), **NO_ERROR, evidence=[TOTAL_BOX])
    picture = np.asarray(draw_row(row, "What is the total?", Originals(child), child)).astype(int)
    yellow = (picture[..., 0] > 240) & (picture[..., 2] < 120)
    assert yellow.any()
    below = picture[yellow.nonzero()[0].max() + 60 :]
    assert (below.max(-1) < 80).sum() > 300  # letters of the answer


def test_pages_together_are_shown_one_below_the_other(tmp_path: Path, child: RenderChild) -> None:
    write_pdf(tmp_path / "in/a.pdf", pages=3)
    here = {**of_document(tmp_path / "in", "a.pdf"), **NO_ERROR, "pages": [1, 3]}
    boxes = [TOTAL_BOX | {"page": 3}, TOTAL_BOX]
    one, both = (
        np.asarray(draw_row(answer(**here, evidence=evidence), "What?", Originals(child), child)).astype(int)
        for evidence in (boxes[:1], boxes)
    )
    yellow = [((picture[..., 0] > 240) & (picture[..., 2] < 120)).any(axis=1).nonzero()[0] for picture in (one, both)]
    assert both.shape[0] > one.shape[0] + 200
    assert np.diff(yellow[0]).max() < 30 < np.diff(yellow[1]).max()  # one place, and two
    assert "pages 1 and 3" in caption(answer(**here), "What?")


def test_a_row_that_failed_has_nothing_to_show(child: RenderChild) -> None:
    row = answer(status="failed", answer=None, page=None, **NO_ERROR)
    with pytest.raises(UsageError, match=r"a\.pdf: total failed, so there is nothing to show"):
        draw_row(row, "What?", Originals(child), child)
    with pytest.raises(UsageError, match="name its folder with --input"):
        draw_row(answer(document_sha256="0" * 64, **NO_ERROR), "What?", Originals(child), child)


def test_answers_are_text_under_the_picture() -> None:
    row = answer(
        answer="<script>&amp;</p>\x00\nsecond", status="needs_review", review_reasons=["cut_off", "later"], **NO_ERROR
    )
    said = caption(row, "<b>What?</b>")
    assert "&lt;script&gt;&amp;amp;&lt;/p&gt;\N{REPLACEMENT CHARACTER}<br>second" in said
    assert "&lt;b&gt;What?&lt;/b&gt;" in said
    assert "the answer was cut off at max_new_tokens" in said
    assert '<p class="reason">later</p>' in said


def test_what_other_looks_said_is_shown_where_it_is_something_else() -> None:
    looks = [{"answer": said, "confidence_raw": 0.5, "look": n} for n, said in enumerate(["17", "<1>", "17", ""], 2)]
    for others, told in (
        (None, None),
        (looks[:1], None),
        (looks[:2], "&lt;1&gt;"),
        (looks, "&lt;1&gt;, or no answer"),
    ):
        said = caption(answer(**{**NO_ERROR, "answer": "17", "other_answers": others}), "What?")
        assert ("another look said" in said) == (told is not None)
        assert told is None or f'<p class="about">another look said: {told}</p>' in said


def test_what_a_person_said_is_shown_as_theirs_beside_what_the_model_said(tmp_path: Path) -> None:
    row = answer(answer="7", status="needs_review", review_reasons=["floor"], confidence=0.2)
    (shown,) = read_published(write_output(tmp_path, [row], reviews=[review("12")])).answers.to_pylist()
    said = caption(shown, "What?")
    assert '<p class="answer">12</p>' in said
    assert "page 1 \N{MIDDLE DOT} answered \N{MIDDLE DOT} reviewed by a person</p>" in said
    assert '<p class="about">the model had said: 7</p>' in said
    assert "confidence" not in said
    assert "visual token" not in said


@pytest.mark.parametrize("text", ["x" * 10_000_000, "\u202e\u05e9\u05dc\u05d5\u05dd 1,234", "\u8a71\n" * 5000, "\t \n"])
def test_long_and_foreign_answers_fit(text: str) -> None:
    crop = Image.new("RGB", (40, 30), "white")
    picture = under(crop, caption(answer(answer=text, value_error="no number"), "?"))
    assert 720 <= picture.width <= 800
    assert picture.height < 8100
    assert np.asarray(picture).min() < 80
