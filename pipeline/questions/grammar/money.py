"""Makes the expression of amounts with a currency, as people of any country write them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from babel.numbers import get_currency_name

from pipeline.questions.grammar.numbers import SIGN, unsigned
from pipeline.questions.grammar.pieces import MINUS, SPACE, either, maybe, words
from pipeline.questions.parsing.locales import Customs, customs_of
from pipeline.questions.parsing.money import SIGNS, SMALL_CODES, codes
from pipeline.questions.parsing.numbers import plain

_LOCALES = (
    "en_US en_GB en_IN en_AU en_CA de_DE de_CH fr_FR fr_CH fr_CA es_ES es_MX it_IT pt_BR pt_PT nl_NL sv_SE da_DK nb_NO "
    "fi_FI is_IS hu_HU ro_RO tr_TR ru_RU uk_UA pl_PL cs_CZ sk_SK sl_SI hr_HR bg_BG el_GR lt_LT lv_LV et_EE ja_JP zh_CN "
    "ko_KR ar_EG he_IL hi_IN th_TH vi_VN id_ID"
).split()
_SIGNS_BESIDE_CODES = "$ € £ ¥ kr kr. ₹ rs. r$ zł us$ c$ ca$ a$ s$ hk$ nz$".split()
"""Signs that are printed on one side of an amount with the code of the currency on the other, as in ``$5 CAD``."""
_SIGNS_BEHIND = ("€", "kr", "kr.", "zł")
_EVERYWHERE = ("EUR", "USD", "GBP", "CHF", "JPY")
_THREE_DECIMALS = ("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND")


def money() -> str:
    """Return the expression of an amount: its currency before it, behind it or left out, a sign, brackets, no cents."""
    signs, names = _currencies()
    amount, with_cents = unsigned(1, 2), unsigned(1, 2, needed=True)
    any_amount = either(amount, rf"{unsigned(None)}[,./]{MINUS}{MINUS}?")  # as in 12,- and 500/-
    below_one = r"\.[0-9][0-9]?"  # behind a letter, the point would belong to an abbreviation
    minus, blank = maybe(f"{SIGN}{SPACE}?"), f"{SPACE}?"
    behind = blank + either(signs, names)
    return either(
        f"{minus}{signs}{blank}{any_amount}",
        f"{signs}{blank}{SIGN}{blank}{any_amount}",
        f"{minus}{any_amount}{maybe(behind)}",
        f"{minus}{maybe('[$€£¥₹]')}{below_one}",
        f"{minus}{below_one}{behind}",
        # A minus behind a whole amount may also stand for no cents.
        f"{maybe(signs + blank)}{with_cents}{MINUS}",
        f"{with_cents}{MINUS}{behind}",
        rf"\({maybe(signs + blank)}{amount}\)",
        rf"{signs}{blank}\({amount}\)",
        rf"\({amount}{behind}\)",
        rf"\({amount}\){behind}",
        *_with_sign_and_code(minus, blank),
        f"{either(*_THREE_DECIMALS)}{blank}{unsigned(3, 3)}",
        f"{unsigned(3, 3)}{blank}{either(*_THREE_DECIMALS)}",
    )


def _with_sign_and_code(minus: str, blank: str) -> Iterator[str]:
    """Yield amounts with a sign on one side and the code of a currency that it stands for on the other."""
    amount = unsigned(1, 2, latin=True)
    for sign in _SIGNS_BESIDE_CODES:
        own = either(*sorted(codes().intersection(SIGNS[sign])))
        yield f"{minus}{words([sign])}{blank}{amount}{blank}{own}"
        if sign in _SIGNS_BEHIND:
            yield f"{minus}{own}{blank}{amount}{blank}{words([sign])}"


def _currencies() -> tuple[str, str]:
    """Return the expressions of codes and signs, and of the words that stand behind an amount."""
    customs = [customs_of(name) for name in _LOCALES]
    signs = {*SIGNS, *SMALL_CODES, "euro", "euros", *(sign for one in customs for sign in _own_signs(one))}
    return either(words(signs), *sorted(codes())), words(name for one in customs for name in _names(one))


def _own_signs(customs: Customs) -> Iterator[str]:
    """Yield the signs that a locale writes for one currency alone, such as ``$US``."""
    written = [(code, sign.strip()) for code, sign in customs.locale.currency_symbols.items() if code in codes()]
    folded = Counter(sign.casefold() for _, sign in written)
    for code, sign in written:
        if code in _near(customs) and folded[sign.casefold()] == 1 and plain(sign) == sign and not _has_digit(sign):
            yield sign


def _names(customs: Customs) -> Iterator[str]:
    """Yield the words of a locale for its own currency and for those that are used everywhere."""
    for code in _near(customs):
        for count in (1, 2, 5):
            name = str(get_currency_name(code, count, customs.locale))
            if plain(name) == name and not _has_digit(name):
                yield name


def _near(customs: Customs) -> tuple[str, ...]:
    return (*_EVERYWHERE, customs.currency) if customs.currency is not None else _EVERYWHERE


def _has_digit(text: str) -> bool:
    return any(char.isdigit() for char in text)
