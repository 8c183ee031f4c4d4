"""Finds the places of a page at which a number, an amount or a date stands, by its value."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator
from datetime import date
from itertools import islice

from pipeline.answering.figures import Figure, dates_of, figure_of, units_of
from pipeline.answering.folded_text import SHORT, is_digit, same_width
from pipeline.answering.page_text import NumberAt, PageText, digits_key

_MOST_DATE_WORDS = 4
_MOST_DATES = 40  # places of a page that are read as dates


def places_of_figure(page: PageText, figure: Figure) -> Iterator[tuple[int, ...]]:
    """Yield the words of each number on a page that has the same value, with the unit that is sought."""
    for number in page.numbers.get(digits_key(figure.digits), ()):
        if not number.alone and len(figure.digits) < SHORT:
            continue
        if any(figure_of(text) is not None for text in number.inside):
            continue
        other = figure_of(number.text)
        if other is not None and figure.equals(other):
            words = _with_unit(page, number, figure)
            if words is not None:
                yield words


def _with_unit(page: PageText, number: NumberAt, figure: Figure) -> tuple[int, ...] | None:
    """Add the word of the unit that is sought; ``None`` where only other units stand there."""
    before, behind = number.words[0] - 1, number.words[-1] + 1
    units = {
        word: _unit_at(page, word)
        for word, near in ((before, number.words[0]), (behind, number.words[-1]))
        if 0 <= word < len(page.words) and page.lines[word] == page.lines[near]
    }
    named = {word: codes for word, codes in units.items() if codes}
    if len(named) > 1:
        side = _side_of_units(page, number)
        named = {word: codes for word, codes in named.items() if side is None or word == (before, behind)[side]}
    mine = {word for word, codes in named.items() if codes & figure.units}
    if figure.units and named and not mine and not _names_unit(number):
        return None
    return tuple(sorted({*number.words, *mine}))


def _side_of_units(page: PageText, number: NumberAt) -> int | None:
    """Return 0 where the units of a line stand before its numbers, 1 for behind, ``None`` where it does not tell.

    The numbers that have a unit on one side alone tell it.
    """
    line = page.lines[number.words[0]]
    words = range(bisect_left(page.lines, line), bisect_right(page.lines, line))
    figures = {word for word in words if any(map(is_digit, same_width(page.words[word])))}
    sides = set()
    for word in figures:
        if any(near in figures and page.near(*sorted((word, near))) for near in (word - 1, word + 1)):
            continue  # a group of a number, which has its unit elsewhere
        here = [near in words and bool(_unit_at(page, near)) for near in (word - 1, word + 1)]
        if sum(here) == 1:
            sides.add(here.index(True))
    return sides.pop() if len(sides) == 1 else None


def _unit_at(page: PageText, word: int) -> frozenset[str]:
    return units_of(page.words[word].strip("():,;."))


def _names_unit(number: NumberAt) -> bool:
    figure = figure_of(number.text)
    return figure is not None and bool(figure.units)


def places_of_date(page: PageText, answer: str) -> list[tuple[int, ...]]:
    """Find the words of each date on a page that may be the same as an answer."""
    sought = dates_of(answer)
    found: list[tuple[int, ...]] = []
    for words in islice(dict.fromkeys(_may_be_dates(page, sought)), _MOST_DATES):
        if any(set(one) <= set(words) for one in found):
            continue
        if not sought.isdisjoint(dates_of(" ".join(page.words[number] for number in words))):
            found.append(words)
    return found


def _may_be_dates(page: PageText, sought: Collection[date]) -> Iterator[tuple[int, ...]]:
    """Yield words in a row that hold day and year of a date; those with all digits of the year first."""
    days = {str(one.day) for one in sought}
    for years in ({str(one.year) for one in sought}, {f"{one.year % 100:02d}" for one in sought}):
        for middle in (number for number, word in enumerate(page.words) if any(year in word for year in years)):
            for count in range(1, _MOST_DATE_WORDS + 1):
                for first in range(max(0, middle - count + 1), min(middle, len(page.words) - count) + 1):
                    words = tuple(range(first, first + count))
                    if any(day in page.words[number] for number in words for day in days):
                        yield words
