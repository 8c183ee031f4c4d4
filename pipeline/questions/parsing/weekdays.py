"""Knows what weekdays are called in every language that dateparser reads."""

from __future__ import annotations

import re
from functools import cache

from dateparser.data.languages_info import language_order
from dateparser.languages.loader import default_loader

from pipeline.questions.parsing.numbers import plain

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_SHORTEST = 3  # letters; shorter ones of some language are eras and numbers of documents in another, as BE and PO


def without_weekdays(text: str) -> str:
    """Return a text without the names of weekdays in it, where they are three letters or longer.

    Args:
        text: what stands beside a date.
    """
    return _names().sub(" ", text)


@cache
def _names() -> re.Pattern[str]:
    infos = (default_loader.get_locale(language).info for language in language_order)
    names = {plain(name) for info in infos for day in _DAYS for name in info.get(day, ())}
    longest_first = sorted((name for name in names if len(name) >= _SHORTEST), key=lambda name: (-len(name), name))
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)", re.IGNORECASE)
