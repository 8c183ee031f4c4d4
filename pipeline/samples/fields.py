"""The twenty fields a document may carry: label, ways to ask, and how a value is drawn."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.samples import words

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Field:
    """A field of a document.

    Attributes:
        key: identifier, as in truth files.
        label: what the page prints.
        asks: what a question calls it.
        draw: a value from a random generator.
    """

    key: str
    label: str
    asks: tuple[str, ...]
    draw: Callable[[random.Random], str]


def _digits(rng: random.Random, count: int) -> str:
    return "".join(rng.choices("0123456789", k=count))


def _code(prefix: str, count: int) -> Callable[[random.Random], str]:
    def draw(rng: random.Random) -> str:
        style = rng.random()
        if style < 0.5:
            return prefix + _digits(rng, count)
        if style < 0.75:
            return "#" + _digits(rng, 4)
        return "".join(rng.choices(LETTERS, k=3)) + _digits(rng, 3)

    return draw


def _date(rng: random.Random) -> str:
    year, month, day = rng.randint(2020, 2039), rng.randint(1, 12), rng.randint(1, 28)
    style = rng.randrange(3)
    if style == 0:
        return f"{year}-{month:02d}-{day:02d}"
    if style == 1:
        return f"{day:02d}/{month:02d}/{year}"
    return f"{day:02d} {words.MONTHS[month - 1]} {year}"


def _money(rng: random.Random) -> str:
    whole = rng.randrange(10 ** rng.randint(2, 5))
    return rng.choice(("", "$", "EUR ")) + f"{whole}.{_digits(rng, 2)}"


def person(rng: random.Random) -> str:
    """First and last name."""
    return f"{rng.choice(words.FIRST_NAMES)} {rng.choice(words.LAST_NAMES)}"


def company(rng: random.Random) -> str:
    """Company name of two words."""
    return f"{rng.choice(words.COMPANY_WORDS)} {rng.choice(words.COMPANY_SUFFIXES)}"


def _customer(rng: random.Random) -> str:
    return person(rng) if rng.random() < 0.5 else company(rng)


def _phone(rng: random.Random) -> str:
    return f"+{rng.randint(10, 99)} {_digits(rng, 3)} {_digits(rng, 4)}"


FIELDS = (
    Field("invoice_no", "Invoice No", ("invoice number",), _code("INV-", 5)),
    Field("date", "Date", ("date", "document date"), _date),
    Field("due_date", "Due Date", ("due date", "payment deadline"), _date),
    Field("total", "Total", ("total", "total amount"), _money),
    Field("subtotal", "Subtotal", ("subtotal",), _money),
    Field("tax", "Tax", ("tax", "tax amount"), _money),
    Field("customer", "Customer", ("customer", "customer name"), _customer),
    Field("vendor", "Vendor", ("vendor", "seller"), company),
    Field("phone", "Phone", ("phone", "phone number"), _phone),
    Field("city", "City", ("city",), lambda rng: rng.choice(words.CITIES)),
    Field("order_id", "Order ID", ("order id", "order number"), _code("PO-", 4)),
    Field("item", "Item", ("item", "product"), lambda rng: rng.choice(words.ITEMS)),
    Field("qty", "Qty", ("quantity",), lambda rng: str(rng.randint(1, 500))),
    Field("zip", "Zip", ("zip", "postal code"), lambda rng: _digits(rng, 5)),
    Field("contact", "Contact", ("contact", "contact person"), person),
    Field("weight", "Weight", ("weight",), lambda rng: f"{rng.randint(1, 999)} kg"),
    Field("ref", "Ref", ("reference",), _code("R-", 5)),
    Field("ship_date", "Ship Date", ("ship date", "shipping date"), _date),
    Field("account", "Account", ("account", "account number"), lambda rng: _digits(rng, 8)),
    Field("discount", "Discount", ("discount",), lambda rng: f"{rng.randint(1, 99)}%"),
)
FIELD_OF_KEY = {field.key: field for field in FIELDS}
