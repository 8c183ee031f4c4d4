"""Answers become the values that people of a locale read in them; what two people read differently has no value."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from babel.dates import format_date
from babel.numbers import format_currency, format_decimal
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.questions.parsing.locales import customs_of
from pipeline.questions.values import Parsed, parse_value, stripped

TABLE = Path(__file__).parents[3] / "benchmarks" / "values.tsv"
LOCALES = (
    "en_US en_GB en_IN en_CA en_ZA de_DE de_AT de_CH fr_FR fr_CA fr_CH es_ES es_MX it_IT pt_BR pt_PT nl_NL sv_SE da_DK "
    "nb_NO fi_FI pl_PL cs_CZ hu_HU tr_TR el_GR ja_JP zh_CN ko_KR"
).split()
KINDS = ("text", "integer", "number", "money", "date", "boolean", "iban", "vat", "email", "phone", "list")
AMOUNTS = st.decimals(min_value=-(10**9), max_value=10**9, places=2)
DATES = st.dates(datetime.date(1950, 1, 1), datetime.date(2099, 12, 31))
any_locale = st.sampled_from(LOCALES)


def told(parsed: Parsed, kind: str) -> str:
    """What the table's last column would say."""
    if parsed.error is not None or parsed.value is None:
        return "?"
    value = parsed.value
    if kind == "money":
        return f"{value.number} {value.currency or '-'}"
    raw: Any = json.loads(value.json, parse_float=str, parse_int=str)
    return json.dumps(raw) if isinstance(raw, bool) else str(raw)


def rows() -> list[tuple[str, str, str, str]]:
    lines = TABLE.read_text(encoding="utf-8").splitlines()[1:]
    return [(locale, kind, text, want) for locale, kind, text, want in (line.split("\t") for line in lines)]


def test_the_table_of_twelve_locales_is_read_right() -> None:
    table = rows()
    assert len(table) >= 400
    assert len({locale for locale, *_ in table}) >= 13
    found = [(*row, told(parse_value(row[2], row[1], None if row[0] == "-" else row[0]), row[1])) for row in table]
    wrong = [row for row in found if row[3] != row[4]]
    silent = [row for row in wrong if row[4] != "?"]
    assert not silent
    assert len(wrong) <= 0.01 * len(table), wrong


@settings(max_examples=300)
@given(any_locale, AMOUNTS)
def test_an_amount_that_its_locale_writes_is_read_back(name: str, amount: Decimal) -> None:
    customs = customs_of(name)
    assert customs.currency is not None
    written = format_currency(amount, customs.currency, locale=customs.locale, currency_digits=False)
    value = parse_value(written, "money", name).value
    assert value is not None, written
    assert (value.number, value.currency) == (amount, customs.currency), written


@settings(max_examples=300)
@given(any_locale, AMOUNTS, st.sampled_from(["EUR", "USD", "GBP", "CHF", "JPY", "SEK", "PLN", "BRL", "INR"]))
def test_an_amount_with_a_code_is_read_back(name: str, amount: Decimal, currency: str) -> None:
    number = format_decimal(amount, locale=customs_of(name).locale)
    for written in (f"{currency} {number}", f"{number} {currency}", f"{number}\N{NO-BREAK SPACE}{currency}"):
        value = parse_value(written, "money", name).value
        assert value is not None, written
        assert (value.number, value.currency) == (amount, currency), written


@settings(max_examples=300)
@given(any_locale, st.decimals(min_value=-(10**12), max_value=10**12, places=3))
def test_a_number_that_its_locale_writes_is_read_back(name: str, number: Decimal) -> None:
    written = format_decimal(number, locale=customs_of(name).locale, decimal_quantization=False)
    value = parse_value(written, "number", name).value
    assert value is not None, written
    assert value.number == number, written


@settings(max_examples=300)
@given(any_locale, DATES, st.sampled_from(["short", "medium", "long", "full"]))
def test_a_date_that_its_locale_writes_is_read_back(name: str, day: datetime.date, form: Any) -> None:
    written = format_date(day, form, locale=customs_of(name).locale)
    short = form == "short" and str(day.year) not in written
    assume(not short or 1969 <= day.year <= 2068)  # of two figures the century is not told
    parsed = parse_value(written, "date", name)
    assert parsed.error is not None or (parsed.value is not None and parsed.value.date == day), written


@settings(max_examples=300)
@given(DATES, st.sampled_from(["%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%d.%m.%Y"]))
def test_day_and_month_are_never_silently_swapped(day: datetime.date, form: str) -> None:
    parsed = parse_value(day.strftime(form), "date")
    if parsed.value is None:
        assert "may be" in str(parsed.error)
    else:
        assert parsed.value.date == day


@settings(max_examples=500)
@given(st.text(max_size=40), st.sampled_from(KINDS), st.sampled_from([None, *LOCALES]))
def test_any_text_has_a_value_or_a_reason(text: str, kind: str, locale: str | None) -> None:
    parsed = parse_value(text, kind, locale, items="money")
    assert (parsed.value is None) <= (parsed.error is not None)
    if parsed.value is not None:
        json.loads(parsed.value.json)


def euros(amount: str, currency: str = '"EUR"') -> str:
    return f'{{"amount": "{amount}", "currency": {currency}}}'


@pytest.mark.parametrize(
    ("answer", "items", "value", "error"),
    [
        ("Bolts; Nuts; Screws", "text", '["Bolts", "Nuts", "Screws"]', None),
        ("1,234.50\n99.00", "number", "[1234.50, 99.00]", None),
        ("18 May 2024 and 3 June 2024", "date", '["2024-05-18", "2024-06-03"]', None),
        ("- EUR 5.00\n- EUR 7.50", "money", f"[{euros('5.00')}, {euros('7.50')}]", None),
        ("12, 15 and 18", "integer", "[12, 15, 18]", None),
        ("-5, -6", "number", "[-5, -6]", None),
        ("-5.00", "money", f"[{euros('-5.00', 'null')}]", None),
        ("12, apples", "integer", None, "expected a number, found 'apples'"),
        ("$5; 6", "money", f"[{euros('5', 'null')}, {euros('6', 'null')}]", "several currencies"),
    ],
)  # fmt: skip
def test_lists(answer: str, items: str, value: str | None, error: str | None) -> None:
    parsed = parse_value(answer, "list", items=items)
    assert (None if parsed.value is None else parsed.value.json) == value
    assert error is None or error in str(parsed.error)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("“Acme Corp.”", "Acme Corp."),
        ("12.50.", "12.50"),
        ("  a\n b ", "a b"),
        ("99 kr.", "99 kr."),
        ("U.S.A.", "U.S.A."),
        ("Yes.", "Yes"),
        ('"Yes".', "Yes"),
        ('6"', '6"'),
        ("'tHof", "'tHof"),
        ("12.–", "12.–"),
    ],
)  # fmt: skip
def test_quotes_and_full_stops_around_an_answer_are_no_part_of_it(answer: str, text: str) -> None:
    assert stripped(answer) == text


def test_what_the_words_of_a_reason_say() -> None:
    assert (
        parse_value("03/04/2024", "date").error == "'03/04/2024' may be 2024-03-04 or 2024-04-03; a locale would decide"
    )
    assert parse_value("1.234", "number").error == "'1.234' may be 1.234 or 1234; a locale would decide"
    shared = parse_value("$5.00", "money")
    assert shared.value is not None
    assert (shared.value.number, shared.value.currency) == (Decimal("5.00"), None)
    assert shared.error == "several currencies are written '$'; a locale such as en_US would decide"


@pytest.mark.parametrize("locale", [None, "ja_JP", "en_US", "de_DE", "es_ES"])
@pytest.mark.parametrize(
    "answer",
    [
        *("R6.5.18", "S60.1.2", "H30/04/01", "R.6.5.18", "R 6.5.18", "Ｒ６．５．１８", "r06-05-18", "M45/7/30"),
        *("令和6.5.18", "令6.5.18", "㋿6.5.18", "平成 30/04/01", "Heisei 30/04/01", "民國99/5/18"),
        *("AH 45/9/1", "BE 67/5/18", "be 67/5/18", "reiwa 06.05.18"),
        *("v1.2.2024", "A1.2.2024", "A.1.2.2024", "INV-2024-05-18", "PO/12/05/2024", "rev_1.2.2024", "1.2.2024a"),
        *("T10.1.2", "18.5.24 h", "A18 May 2024", "18 May 2024a", "5x May 2024", "H30 May 18"),
    ],
)  # fmt: skip
def test_letters_that_may_be_an_era_or_make_a_date_something_else_are_not_dropped(
    answer: str, locale: str | None
) -> None:
    parsed = parse_value(answer, "date", locale)
    assert parsed.value is None
    assert answer in str(parsed.error)


@pytest.mark.parametrize(
    ("answer", "locale"),
    [
        *(("1st May 2024", None), ("May 1st, 2024", "en_US"), ("the 1st of May 2024", "en_GB"), ("01MAY24", "en_US")),
        *(("1er mai 2024", "fr_FR"), ("1 maja 2024r.", "pl_PL"), ("1:a maj 2024", "sv_SE"), ("1e mai 2024", None)),
        *(("2024-05-01T10:00", None), ("2024-05-01T10:00:00.5Z", "en_US"), ("2024-05-01 10:00+02:00", None)),
        *(("2024-05-01Z", None), ("01.05.2024г.", "ru_RU"), ("1.5.2024 р.", "uk_UA"), ("01.05.24r.", "pl_PL")),
        *(("2024/05/01(水)", "ja_JP"), ("24/05/01(水)", "ja_JP"), ("Mi.1.5.2024", "de_DE"), ("Mi, 1.5.24", "de_DE")),
        *(("Wed 1/5/24", "en_GB"), ("1/5/24 GMT", "en_GB"), ("Ons. 1.5.24 um 14:30 Uhr", "de_DE")),
        *(("Datum 01.05.2024", "de_DE"), ("1 MAY 2024Z", None)),
        *(("Due: 1/5/2024", "en_GB"), ("Due date: 1/5/24", "en_GB"), ("1º de maio de 2024", "pt_BR")),
        *(("am 01.05.24", "de_DE"), ("el 1/5/24", "es_ES"), ("il 1/5/24", "it_IT"), ("dated 1/5/24", "en_GB")),
        *(("thứ tư 1/5/24", "vi_VN"), ("středa 1.5.24", "de_DE"), ("dc 1/5/24", "en_GB")),
    ],
)  # fmt: skip
def test_letters_that_belong_to_a_date_leave_it_readable(answer: str, locale: str | None) -> None:
    value = parse_value(answer, "date", locale).value
    assert value is not None
    assert value.date == datetime.date(2024, 5, 1)


FIGURES = st.one_of(st.integers(1, 31).map(str), st.integers(1, 31).map("{:02}".format))
YEARS = st.one_of(st.integers(0, 99).map("{:02}".format), st.integers(1900, 2100).map(str))


@settings(max_examples=1000)
@given(FIGURES, FIGURES, YEARS, st.sampled_from("-./"), any_locale)
def test_without_a_locale_a_date_in_figures_is_what_every_locale_reads(
    first: str, second: str, third: str, sign: str, locale: str
) -> None:
    assume(sign != "." or customs_of(locale).date_order != "MDY")  # with dots it takes a locale to mean the month first
    text = f"{first}{sign}{second}{sign}{third}"
    anywhere, there = parse_value(text, "date").value, parse_value(text, "date", locale).value
    assert anywhere is None or there is None or anywhere.date == there.date


@pytest.mark.parametrize("sign", ["-", ".", "/"])
@pytest.mark.parametrize(
    ("figures", "locale", "value"),
    [
        *((("12", "5", "2024"), "en_US", "2024-12-05"), (("12", "5", "2024"), "de_DE", "2024-05-12")),
        *((("18", "5", "24"), "en_US", "2024-05-18"), (("13", "1", "24"), "en_US", "2024-01-13")),
        *((("18", "5", "24"), "en", "2024-05-18"), (("5", "18", "24"), "en_GB", "2024-05-18")),
        *((("18", "5", "24"), "ja_JP", "2018-05-24"), (("31", "12", "99"), None, "1999-12-31")),
        *((("6", "5", "18"), "en_US", "2018-06-05"), (("06", "05", "18"), "en_US", "2018-06-05")),
    ],
)  # fmt: skip
def test_a_locale_or_the_figures_themselves_decide(
    sign: str, figures: tuple[str, ...], locale: str | None, value: str
) -> None:
    found = parse_value(sign.join(figures), "date", locale).value
    assert found is not None
    assert str(found.date) == value


@pytest.mark.parametrize(
    ("answer", "locale", "error"),
    [
        ("12-5-2024", None, "may be 2024-05-12 or 2024-12-05; a locale would decide"),
        ("6.5.18", None, "may be 2006-05-18 or 2018-05-06; a locale would decide"),
        ("06.05.18", None, "may be 2006-05-18 or 2018-05-06; a locale would decide"),
        ("5/5/18", None, "may be 2005-05-18 or 2018-05-05; a locale would decide"),
        ("5.6.7", None, "expected a date, found '5.6.7'"),
        ("3/4/24", "en", "the locale en does not decide, one with a country such as en_US would"),
        ("6.5.18", "ja_JP", "may be 2006-05-18 or 2018-05-06; the locale ja_JP does not decide"),
        ("12 Sept 24", "ja_JP", "may be 2012-09-24 or 2024-09-12; the locale ja_JP does not decide"),
        ("3/4/2024", "sv_SE", "may be 2024-03-04 or 2024-04-03; the locale sv_SE does not decide"),
    ],
)
def test_what_may_be_two_dates_says_what_would_decide(answer: str, locale: str | None, error: str) -> None:
    assert error in str(parse_value(answer, "date", locale).error)


@pytest.mark.parametrize("answer", ["1.234", "1,234"])
def test_three_figures_behind_a_sign_are_decimals_of_numbers_only(answer: str) -> None:
    of_point, of_comma = ("en_US", "de_DE") if "." in answer else ("de_DE", "en_US")
    for kind in ("integer", "money"):
        for locale in (None, of_comma):
            value = parse_value(answer, kind, locale).value
            assert value is not None
            assert value.number == 1234
        assert "it may be a group of digits" in str(parse_value(answer, kind, of_point).error)
    for kind, text in (("number", answer), ("money", f"KWD {answer}")):
        assert "may be 1.234 or 1234" in str(parse_value(text, kind).error)
        value = parse_value(text, kind, of_point).value
        assert value is not None
        assert value.number == Decimal("1.234")


@pytest.mark.parametrize(("answer", "locale"), [("kr 5", "en_US"), ("fr 5", "de_DE"), ("$5", "fr_CH")])
def test_a_locale_that_does_not_decide_is_not_asked_for_again(answer: str, locale: str) -> None:
    assert str(parse_value(answer, "money", locale).error).endswith(f"; the locale {locale} does not decide")
