"""What people write is allowed, and what is allowed can be read: neither a right answer nor a reader is left alone."""

from __future__ import annotations

import random
import re
from functools import cache
from pathlib import Path

import pytest
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper

from pipeline.answering.constraints import LIMITS
from pipeline.questions.grammar.answers import answer_expression, constraint_of
from pipeline.questions.no_answer import NOT_ANSWERABLE
from pipeline.questions.values import parse_value

TABLE = Path(__file__).parents[4] / "benchmarks" / "values.tsv"
KINDS = ("integer", "number", "money", "date", "boolean")
LOCALES = (
    "en_US en_GB en_IN de_DE de_CH fr_FR fr_CA fr_CH es_ES es_MX it_IT pt_BR pt_PT nl_NL sv_SE da_DK nb_NO fi_FI is_IS "
    "hu_HU ro_RO tr_TR ru_RU uk_UA pl_PL cs_CZ sk_SK sl_SI hr_HR bg_BG el_GR lt_LT lv_LV et_EE ja_JP zh_CN ko_KR ar_EG "
    "he_IL hi_IN th_TH vi_VN id_ID ca_ES gl_ES fa_IR en_AU en_CA"
).split()
END = 256
ENDS_EARLY = 0.3


class Octets:
    """A vocabulary of the 256 bytes and an end."""

    eos_token_id, bos_token_id, special_token_ids = END, None, (END,)
    tokens = (*(bytes([number]) for number in range(256)), b"<end>")

    def __call__(self, text: bytes) -> list[int]:
        return list(text)


@cache
def expression(kind: str, items: str | None = None) -> re.Pattern[str]:
    return re.compile(answer_expression(kind, items) or "")


@cache
def matcher(kind: str, items: str | None = None) -> LLMatcher:
    grammar = LLMatcher.grammar_from_regex(answer_expression(kind, items) or "")
    made = LLMatcher(LLTokenizer(TokenizerWrapper(Octets())), grammar, limits=LIMITS)
    assert not made.is_error(), made.get_error()
    return made


def drawn(kind: str, seed: int, items: str | None = None) -> str | None:
    """An answer of which each byte was drawn among those allowed; none where it gets too long."""
    rng, walk, text = random.Random(seed), matcher(kind, items), bytearray()
    walk.reset()
    while len(text) < 60:
        mask = walk.compute_bitmask()
        allowed = [number for number in range(257) if mask[number // 8] >> number % 8 & 1]
        assert allowed, walk.get_error()
        if END in allowed and (allowed == [END] or rng.random() < ENDS_EARLY):
            return text.decode()
        token = rng.choice([number for number in allowed if number != END])
        assert walk.consume_token(token)
        text.append(token)
    return None


def has_a_reader(text: str, kind: str) -> bool:
    """Whether the answer stands for a value, or for several, in some locale or in none."""
    for locale in (None, *LOCALES):
        parsed = parse_value(text, kind, locale)
        if parsed.value is not None or (parsed.error is not None and " may be " in parsed.error):
            return True
    return False


@pytest.mark.parametrize("kind", KINDS)
def test_every_right_string_of_the_table_is_allowed(kind: str) -> None:
    rows = [line.split("\t") for line in TABLE.read_text(encoding="utf-8").splitlines()[1:]]
    texts = [" ".join(text.split()) for _, named, text, want in rows if named == kind and want != "?"]
    assert len(texts) > 20
    assert [text for text in texts if expression(kind).fullmatch(text) is None] == []
    walk = matcher(kind)
    for text in texts:
        walk.reset()
        assert walk.consume_tokens(list(text.encode())), text
        assert walk.is_accepting(), text


PRINTED = """
5 Mar 24|en_GB|2024-03-05
05-Mar-24|en_US|2024-03-05
5 Mar '24|en_GB|2024-03-05
Mar 5, 24|en_US|2024-03-05
March 5,2024|en_US|2024-03-05
5/Mar/2024|en_GB|2024-03-05
05MAR2024|en_US|2024-03-05
05MAR24|en_US|2024-03-05
2024-Mar-05|en_US|2024-03-05
the 5th of March 2024|en_GB|2024-03-05
March 5, 2024 at 2:30 p.m.|en_US|2024-03-05
31 Dec 99|en_GB|1999-12-31
24 Dec 24|en_GB|2024-12-24
05.03.2024.|hr_HR|2024-03-05
5. 3. 24.|hr_HR|2024-03-05
05.03.2024 r.|pl_PL|2024-03-05
5 stycznia 2024 r.|pl_PL|2024-01-05
5 марта 2024 г.|ru_RU|2024-03-05
05.янв.2024|ru_RU|2024-01-05
5. März 24|de_DE|2024-03-05
5.Mär.2024|de_DE|2024-03-05
05.03.2024 um 14:30 Uhr|de_DE|2024-03-05
12. maj 24|da_DK|2024-05-12
12 mars 24|sv_SE|2024-03-12
12 mars 24|fr_FR|2024-03-12
5-mrt-2024|nl_NL|2024-03-05
05-ene-24|es_ES|2024-01-05
5 de marzo de 24|es_ES|2024-03-05
05/fev/2024|pt_BR|2024-02-05
2024-03-05 14:30:00+01:00|en_US|2024-03-05
20240305|en_US|2024-03-05
20240305 14:30|en_US|2024-03-05
$1,234.56 CAD|en_US|1234.56 CAD
$1,234.56 CAD|None|1234.56 CAD
$ 1,234.56 MXN|en_US|1234.56 MXN
US$1,234.56 USD|en_CA|1234.56 USD
€ 1.234,56 EUR|de_DE|1234.56 EUR
EUR 1.234,56 €|de_DE|1234.56 EUR
£1,234.56 GBP|en_US|1234.56 GBP
R$ 1.234,56 BRL|pt_BR|1234.56 BRL
kr 1 234,56 SEK|nb_NO|1234.56 SEK
DKK 1.234,56 kr.|da_DK|1234.56 DKK
PLN 1 234,56 zł|pl_PL|1234.56 PLN
.50 USD|en_US|0.50 USD
(1,234.56) USD|en_US|-1234.56 USD
"""


@pytest.mark.parametrize("row", PRINTED.strip().splitlines())
def test_what_is_printed_can_be_written_and_read_without_doubt(row: str) -> None:
    text, locale, want = row.split("|")
    kind = "date" if want.count("-") == 2 else "money"
    value = parse_value(text, kind, None if locale == "None" else locale).value
    assert value is not None
    assert want == (value.date.isoformat() if value.date else f"{value.number} {value.currency}")
    assert expression(kind).fullmatch(text)
    walk = matcher(kind)
    walk.reset()
    assert walk.consume_tokens(list(text.encode()))
    assert walk.is_accepting()


@pytest.mark.parametrize(
    ("text", "locale"),
    [("12-márc-24", "hu_HU"), ("24. márc. 05", "hu_HU"), ("12 Sept 24", "ja_JP"), ("5 Mar 4", "en_US")],
)
def test_two_figures_may_be_the_day_or_the_year_where_the_year_comes_first(text: str, locale: str) -> None:
    parsed = parse_value(text, "date", locale)
    assert parsed.value is None
    assert parsed.error is not None
    assert "may be" in parsed.error or "two or four figures" in parsed.error


def test_a_code_that_the_sign_does_not_stand_for_is_a_contradiction() -> None:
    assert "expected one currency" in (parse_value("$5.00 EUR", "money", "en_US").error or "")
    assert expression("money").fullmatch("$5.00 EUR") is None


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_is_allowed_has_a_reader(kind: str) -> None:
    texts = {text for seed in range(120) if (text := drawn(kind, seed)) is not None}
    assert len(texts) > (20 if kind == "boolean" else 60)
    assert [t for t in texts if t.lower() not in NOT_ANSWERABLE and not has_a_reader(t, kind)] == []


@pytest.mark.parametrize("items", KINDS)
def test_lists_of_what_is_allowed_have_a_reader(items: str) -> None:
    texts = {text for seed in range(60) if (text := drawn("list", seed, items)) is not None}
    assert any(", " in text or ";" in text or "\n" in text for text in texts)
    for text in texts - NOT_ANSWERABLE:
        entries = re.split(r"(?:, |; | and |\n|^)(?:[-*\u2022] )?", text)  # each of any country
        assert [t for t in entries if t and t.lower() not in NOT_ANSWERABLE and not has_a_reader(t, items)] == []
        mixed = parse_value(text, "list", items=items).error
        assert mixed is None or not mixed.startswith("expected a list")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("integer", "12.5"),
        ("integer", "12 apples"),
        ("integer", "The number is 5"),
        ("integer", "1,23"),
        ("number", "1.2.3"),
        ("number", ""),
        ("money", "5 apples"),
        ("money", "$1.2345"),
        ("date", "31.02.2024"),
        ("date", "29/02/2023"),
        ("date", "31 April 2024"),
        ("date", "May 2024"),
        ("date", "18/05"),
        ("date", "Friday 20240503"),
        ("boolean", "maybe"),
        ("boolean", "yes, it is"),
    ],
)
def test_what_is_none_of_a_type_is_impossible(kind: str, text: str) -> None:
    assert expression(kind).fullmatch(text) is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ["n/a", "N/A", "not answerable", "Unanswerable"])
def test_that_the_page_does_not_say_is_always_allowed(kind: str, text: str) -> None:
    assert expression(kind).fullmatch(text)


def test_a_choice_is_spelled_as_the_questions_file_spells_it() -> None:
    choices = ("Net 30", "Net  60 (+2%)", "a|b", "C:\\x.", "[?]")
    allowed = re.compile(answer_expression("choice", None, choices) or "")
    for said in ("Net 30", "Net 60 (+2%)", "a|b", "C:\\x.", "[?]", "n/a"):
        assert allowed.fullmatch(said)
    for said in ("net 30", "Net", "a", "b", "C:\\xy", ""):
        assert allowed.fullmatch(said) is None
    grammar = LLMatcher.grammar_from_regex(answer_expression("choice", None, choices) or "")
    walk = LLMatcher(LLTokenizer(TokenizerWrapper(Octets())), grammar)
    assert walk.consume_tokens(list(b"Net 60 (+2%)"))
    assert walk.is_accepting()


def test_text_and_what_has_checks_of_its_own_is_free() -> None:
    free = [("text", None), ("iban", None), ("vat", None), ("email", None), ("phone", None), ("list", "text")]
    assert {constraint_of(*one) for one in free} == {None}
    assert {answer_expression(*one) for one in free} == {None}
    limited = [(kind, None) for kind in (*KINDS, "choice")] + [("list", kind) for kind in KINDS]
    assert len({constraint_of(*one) for one in limited} - {None}) == len(limited)
