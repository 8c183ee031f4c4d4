"""Knows what weekdays are called in every language that dateparser reads."""

from __future__ import annotations

import re
from functools import cache

from dateparser.data.languages_info import language_order
from dateparser.languages.loader import default_loader

from pipeline.questions.parsing.numbers import plain

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_SHORTEST = 2  # characters; single letters are eras
ERAS = frozenset({"be", "meiji", "taisho", "taishō", "showa", "shōwa", "heisei", "reiwa"})
"""Words for eras; "be", the Buddhist one, is Monday in Azerbaijani too."""


def without_weekdays(text: str) -> str:
    """Return a text without the names of weekdays in it, but for those that are eras too.

    Args:
        text: what stands beside a date.
    """
    return _names().sub(" ", text)


@cache
def _names() -> re.Pattern[str]:
    infos = (default_loader.get_locale(language).info for language in language_order)
    names = {plain(name).casefold() for info in infos for day in _DAYS for name in info.get(day, ())}
    weekdays = [name for name in names - ERAS if len(name) >= _SHORTEST]
    longest_first = sorted(weekdays, key=lambda name: (-len(name), name))
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)", re.IGNORECASE)
