"""The words of a question are sought on a page, whatever their case, ending or punctuation."""

from __future__ import annotations

import pytest

from pipeline.answering.question_words import shares_of_words
from tests.support.page_words import words_of

PAGE = "Invoice Number: 17\nDue-Date 2024-05-01 Rechnungsnummer"


@pytest.mark.parametrize(
    ("question", "share"),
    [
        ("What is the invoice number?", 1.0),
        ("INVOICE NUMBERS", 1.0),
        ("Was ist die Rechnungsnummer?", 1.0),
        ("What is the customer number?", 0.5),
        ("Who signed?", 0.0),
        ("What is it?", None),
        ("", None),
    ],
)
def test_share_of_the_words_that_say_what_is_asked(question: str, share: float | None) -> None:
    assert shares_of_words([question], words_of(PAGE)) == [share]


def test_without_a_text_layer_nothing_is_told() -> None:
    assert shares_of_words(["What is the total?", "Who?"], None) == [None, None]
