"""Reads texts that can be checked: account numbers, tax numbers, addresses of mail, telephone numbers."""

from __future__ import annotations

import re

import phonenumbers
from email_validator import EmailNotValidError, validate_email
from stdnum import get_cc_module, iban
from stdnum.eu import vat as eu_vat
from stdnum.exceptions import ValidationError

from pipeline.questions.parsing.locales import Customs
from pipeline.questions.parsing.no_value import NoValue

# Digits with blanks, dots, hyphens and brackets between them; a slash only behind the number of an area.
_ONE_NUMBER = re.compile(
    r"(?:tel|phone|fax)?[.:]?\s*\+?(?:[0-9()]{2,7} ?/)?(?:[0-9()][0-9(). \u00a0]*(?:-(?=[0-9(]))?)+", re.IGNORECASE
)


def read_iban(text: str, customs: Customs | None) -> str:
    """Return an IBAN without blanks, after its check digits and the layout of its country were checked.

    Args:
        text: the number, with blanks or without.
        customs: declared locale; ``None`` for none.

    Raises:
        NoValue: the text is no valid IBAN.
    """
    try:
        return str(iban.validate(text))
    except ValidationError as error:
        raise NoValue(f"expected an IBAN, found {text!r}: {error}") from error


def read_vat(text: str, customs: Customs | None) -> str:
    """Return a VAT number in its compact form: of the EU by its prefix, else of the country of the locale.

    Args:
        text: the number, with the prefix of its country or without.
        customs: declared locale; ``None`` for none.

    Raises:
        NoValue: the text is no valid number.
    """
    try:
        return str(eu_vat.validate(text))
    except ValidationError as error:
        national = None if customs is None or customs.territory is None else get_cc_module(customs.territory, "vat")
        if national is None:
            raise NoValue(f"expected a VAT number with the prefix of its country, found {text!r}: {error}") from error
        try:
            return str(national.validate(text))
        except ValidationError as mine:
            raise NoValue(f"expected a VAT number, found {text!r}: {mine}") from mine


def read_email(text: str, customs: Customs | None) -> str:
    """Return an address of mail, normalised; whether it exists is not asked.

    Args:
        text: the address.
        customs: declared locale; ``None`` for none.

    Raises:
        NoValue: the text is no address.
    """
    try:
        return validate_email(text.strip().removeprefix("mailto:"), check_deliverability=False).normalized
    except EmailNotValidError as error:
        raise NoValue(f"expected an e-mail address, found {text!r}: {error}") from error


def read_phone(text: str, customs: Customs | None) -> str:
    """Return a telephone number in the international form, such as ``+49301234567``.

    Args:
        text: the number.
        customs: declared locale; ``None`` for none.

    Raises:
        NoValue: the text is no number that can exist, or lacks the prefix of its country without a locale.
    """
    region = None if customs is None else customs.territory
    if _ONE_NUMBER.fullmatch(text.strip()) is None:
        raise NoValue(f"expected one telephone number, found {text!r}")
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException as error:
        raise NoValue(f"expected a telephone number, found {text!r}: {error}") from error
    if not phonenumbers.is_valid_number(number):
        raise NoValue(f"expected a telephone number that can exist, found {text!r}")
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))
