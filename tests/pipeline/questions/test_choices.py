from __future__ import annotations

import pytest

from pipeline.questions.choices import find_choice


@pytest.mark.parametrize(
    ("answer", "choices", "choice"),
    [
        ("EUR", ["EUR", "USD"], "EUR"),
        ("  eur.\n", ["EUR", "USD"], "EUR"),
        ('"Usd"', ["EUR", "USD"], "USD"),
        ("ＥＵＲ", ["EUR", "USD"], "EUR"),  # full width
        ("non profit", ["Non-profit", "For profit"], "Non-profit"),
        ("straße", ["STRASSE", "WEG"], "STRASSE"),
        ("euro", ["EUR", "USD"], None),
        ("EUR and USD", ["EUR", "USD"], None),
        ("The answer is EUR", ["EUR", "USD"], None),
        ("", ["EUR", "USD"], None),
        ("A-", ["A", "A+", "A-"], "A-"),
        ("a+.", ["A", "A+", "A-"], "A+"),
        ("A.", ["A", "A+", "A-"], None),  # could be A or A-
        ("$", ["$", "€"], "$"),
        (".", ["-", "+"], None),
        ("-", ["-", "+"], "-"),
        ("x", [], None),
    ],
)
def test_point_17_case_and_marks_make_no_difference(answer: str, choices: list[str], choice: str | None) -> None:
    assert find_choice(answer, choices) == choice
