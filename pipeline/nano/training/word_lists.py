"""Tens of thousands of names, cities, companies and words of many languages, from Faker; for training only."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from pipeline.nano.training.vocabulary import CHARSET
from pipeline.samples.held_out_words import HELD_OUT_WORDS, WordLists

_LONGEST = 18


@cache
def training_words() -> WordLists:
    """All lists of Faker that can be printed, without the words that are held out."""
    last_names = _entries("person", ("last_names", "last_names_male", "last_names_female"))
    words = tuple(sorted({word.capitalize() for word in _entries("lorem", ("word_list",)) if len(word) > 3}))
    return WordLists(
        first_names=_kept(
            _entries("person", ("first_names", "first_names_male", "first_names_female")), HELD_OUT_WORDS.first_names
        ),
        last_names=_kept(last_names, HELD_OUT_WORDS.last_names),
        cities=_kept(_entries("address", ("cities",)), HELD_OUT_WORDS.cities),
        company_words=_kept(
            _entries("company", ("large_companies",)) + last_names + words, HELD_OUT_WORDS.company_words
        ),
        company_suffixes=_kept(_entries("company", ("company_suffixes",)), HELD_OUT_WORDS.company_suffixes),
        items=_kept(words, HELD_OUT_WORDS.items),
    )


def _entries(provider: str, attributes: tuple[str, ...]) -> tuple[str, ...]:
    """What all languages of one of Faker's providers list under these names, in a fixed order."""
    found: set[str] = set()
    package = importlib.import_module(f"faker.providers.{provider}")
    for module in pkgutil.iter_modules(package.__path__):
        source = importlib.import_module(f"faker.providers.{provider}.{module.name}").Provider
        for attribute in attributes:
            entries = getattr(source, attribute, ())
            if isinstance(entries, (list, tuple, dict)):
                found.update(entry.strip() for entry in entries if isinstance(entry, str))
    return tuple(sorted(entry for entry in found if 1 < len(entry) <= _LONGEST and set(entry) <= set(CHARSET)))


def _kept(entries: tuple[str, ...], held_out: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(entry for entry in entries if entry not in set(held_out))
