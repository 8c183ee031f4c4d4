"""The rule that answers from the words of a page: what stands right of or below the label that a question names."""

from __future__ import annotations

import pytest

from pipeline.answering.page_text import PageText
from pipeline.evaluation.nearest_label import nearest_value
from tests.support.page_words import words_of

INLINE = "Harbor Ltd Invoice\nInvoice No: INV-12345\nDue Date: 12 Mar 2031\nTotal:93.94"
COLUMN = "Invoice No  INV-12345\nDate  2031-03-12\nDue Date  2031-04-12\nTotal  EUR 93.94"
ABOVE = "Total      Due Date\n93.94      2031-04-12"  # the columns are further apart than a label and its value
MARKED = "Total:  Tax:\n93.94  7.00"


@pytest.mark.parametrize(
    ("page", "question", "value"),
    [
        (INLINE, "What is the invoice no?", "INV-12345"),
        (INLINE, "due date", "12 Mar 2031"),
        (INLINE, "The total?", "93.94"),  # read without the blank
        (COLUMN, "What is the date?", "2031-03-12"),  # and not the due date
        (COLUMN, "What is the due date", "2031-04-12"),
        (COLUMN, "What is the total amount?", "EUR 93.94"),  # of which the label is a part
        (COLUMN.replace("Due Date", "Due Oate"), "Due date?", "2031-04-12"),  # misread
        (ABOVE, "Total", "93.94"),
        (ABOVE, "What is the due date?", "2031-04-12"),
        (MARKED, "What is the total?", "93.94"),  # the label right of it is no value
        (MARKED, "What is the tax?", "7.00"),
        ("Total          93.94", "Total?", "93.94"),  # far away, but nothing is below
        ("Total -  93.94\nTax  -7.00", "Tax?", "-7.00"),
        (COLUMN, "Who is the contact person?", None),
        ("Total", "Total?", None),
    ],
)
def test_the_value_beside_the_label(page: str, question: str, value: str | None) -> None:
    found = nearest_value(question, PageText(words_of(page)))
    assert (None if found is None else found.text) == value


def test_the_value_is_where_it_is_printed() -> None:
    found = nearest_value("Total?", PageText(words_of("Tax  1\nTotal  EUR 93.94")))
    assert found is not None
    assert found.box == (10.0 + 25 + 3 + 30, 20.0, 10.0 + 25 + 3 + 30 + 15 + 3 + 25, 30.0)
