from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from pipeline.answering.figures import dates_of, figure_of
from pipeline.questions.parsing.money import currencies_of


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,903.88", ["1903.88"]),
        ("1.903,88", ["1903.88"]),
        ("1.903", ["1.903", "1903"]),
        ("(12.50)", ["-12.50", "12.50"]),
        ("-$5", ["-5"]),
        ("25 %", ["25"]),
        ("EUR 3,5", ["3.5"]),
        ("١٢", ["12"]),
    ],
)
def test_a_number_has_every_value_that_it_may_have(text: str, values: list[str]) -> None:
    figure = figure_of(text)
    assert figure is not None
    assert sorted(figure.values) == [Decimal(value) for value in values]


@pytest.mark.parametrize("text", ["", "kg", "12 kg", "INV-12", "1²", "10-20", "2024-03-05", "12 13"])
def test_what_is_no_number_alone_has_no_value(text: str) -> None:
    assert figure_of(text) is None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("$50", "50.00", True),
        ("$50", "USD 50", True),
        ("$50", "EUR 50", False),
        ("0042", "42", False),
        ("0042", "0042", True),
        ("0.5", ".50", True),
        ("1.903", "1,903", True),
        ("12.50", "-12.50", False),
    ],
)
def test_figures_are_equal_by_value_and_currency(one: str, other: str, same: bool) -> None:
    left, right = figure_of(one), figure_of(other)
    assert left is not None
    assert right is not None
    assert (left.equals(right), right.equals(left)) == (same, same)


def test_a_date_has_both_readings_and_none_among_other_words() -> None:
    assert dates_of("05/03/2024") == {date(2024, 3, 5), date(2024, 5, 3)}
    assert dates_of("5 March 2024") == {date(2024, 3, 5)}
    assert dates_of("PO 2024-03-05") == frozenset()
    assert dates_of("Harbor") == frozenset()


def test_a_sign_may_stand_for_several_currencies_and_a_word_for_none() -> None:
    assert currencies_of("€") == {"EUR"}
    assert {"USD", "CAD"} <= currencies_of("$")
    assert currencies_of("kr.") >= {"DKK", "SEK"}
    assert currencies_of("Total") == frozenset()
