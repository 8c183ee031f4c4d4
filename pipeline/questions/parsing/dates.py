"""Reads dates, and refuses those that different countries read differently unless a locale decides.

dateparser reads names of months in two hundred languages, but takes 03/04/2024 for one of its two meanings without a
word. So dates in figures are read here, in every order that makes a date.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import date
from functools import cache

from dateparser.date import DateDataParser

from pipeline.questions.parsing.locales import Customs
from pipeline.questions.parsing.no_value import NoValue
from pipeline.questions.parsing.numbers import plain
from pipeline.questions.parsing.weekdays import ERAS, without_weekdays

_FIGURES = re.compile(r"(\d{1,4}) ?([-./]) ?(\d{1,2}) ?\2 ?(\d{1,4})\.?")
_COMPACT = re.compile(r"((?:19|20)\d\d)(\d\d)(\d\d)")
_EAST_ASIAN = re.compile(r"(\d{4}) ?[年년] ?(\d{1,2}) ?[月월] ?(\d{1,2}) ?[日일]")
_TIME = re.compile(
    r"(?:(?<=\d)T|\b)\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?[ap]\.?m\b\.?)?( ?(Z\b|(UTC|GMT)?[+-]\d{1,2}(:?\d{2})?))?"
    r"|\b\d{1,2} ?[ap]\.?m\b\.?|\b\d{1,2}h\d{0,2}\b|\b(UTC|GMT)[+-]\d{1,2}\b",
    re.IGNORECASE,
)
_OF_YEAR = re.compile(r"^(?:\s?[гр]|\s?r|Z)\b\.?", re.IGNORECASE)  # "of the year", or a day in UTC
_LATIN_LETTER = re.compile(r"[a-z]\.?", re.IGNORECASE)
_GLUED_TO_NAMED = re.compile(r"\b[a-z](?=\d)|\d(?![erz]\b)[a-z]\b", re.IGNORECASE)  # not 1e mai, 2024r.
_LOWER_WORD = re.compile(r"[a-zß-öø-ÿ]{2,}\.?")
_SOME_DAY = date(2024, 5, 18)
_ORDERS = ("DMY", "MDY", "YMD")
_FIRST_OF_LAST_CENTURY = 69  # two digits from here on are of the last century, as POSIX has it
_YEARS = range(1800, 2200)
# Languages of dates without a declared locale; not Polish and Czech, whose months have the names of other months
# in neighbouring languages.
_LANGUAGES = tuple("en de fr es it pt nl sv da nb fi hu ro tr ru ja zh".split())
_SETTINGS = {"STRICT_PARSING": True, "PARSERS": ["absolute-time"], "RETURN_AS_TIMEZONE_AWARE": False}


def read_date(text: str, customs: Customs | None) -> date:
    """Read one date; a time or a weekday beside it is left out.

    Args:
        text: the date alone.
        customs: declared locale; ``None`` for none.

    Raises:
        NoValue: the text is no whole date, or may be more than one.
    """
    cleaned = " ".join(_TIME.sub(" ", plain(text)).split()).strip(" ,")
    compact = _COMPACT.fullmatch(cleaned) or _EAST_ASIAN.fullmatch(cleaned)
    figures = _FIGURES.search(cleaned)
    if figures and re.search(r"\d", cleaned[: figures.start()] + cleaned[figures.end() :]):
        raise NoValue(f"expected one date, found {text!r}")
    if compact:
        found = _one_of([_date(compact[1], compact[2], compact[3])], text, customs)
    elif figures:
        _check_beside(cleaned, figures, customs, text)
        found = _in_figures((figures[1], figures[3], figures[4]), figures[2], customs, text)
    else:
        found = _named(cleaned, customs, text)
    if found.year not in _YEARS:
        raise NoValue(f"expected a year from {_YEARS[0]} to {_YEARS[-1]}, found {text!r}")
    return found


def _check_beside(cleaned: str, figures: re.Match[str], customs: Customs | None, text: str) -> None:
    """Refuse letters that may make something else of the figures: an era, a version, the number of a document.

    Words in front of a colon, or apart from a year of four figures, leave it what it is, and with a locale so do words
    in small letters that are no eras: "am 18.05.24". All others have to be known to dateparser, as weekdays are, and
    single letters are refused: it knows some, but they may be eras, as in R6.5.18.
    """
    before, behind = cleaned[: figures.start()], _OF_YEAR.sub("", cleaned[figures.end() :])
    is_glued = re.search(rf"[^\W\d][-/{figures[2]}]?$", before) or re.match(r"[^\W\d]", behind)
    if not is_glued and 4 in (len(figures[1]), len(figures[4])):
        return
    words = f"{before.rpartition(':')[2]} {behind}"
    if not is_glued:
        words = without_weekdays(words)
    for word in re.findall(r"[^\W\d]+\.?", words):
        is_plain = _LOWER_WORD.fullmatch(word) is not None and word.rstrip(".") not in ERAS
        if is_plain and not is_glued and customs is not None:
            continue
        if not _is_known_beside(word, customs):
            told = f"{word!r} may stand for an era, or make something else of the figures"
            raise NoValue(f"expected a date alone and of our calendar, such as {_SOME_DAY}, found {text!r}; {told}")


def _is_known_beside(word: str, customs: Customs | None) -> bool:
    """Tell whether dateparser takes a word for one that stands beside a date, in any of the languages tried."""
    day = _SOME_DAY.isoformat()
    return _LATIN_LETTER.fullmatch(word) is None and any(
        _parsed(beside, languages, "YMD") == _SOME_DAY
        for languages in (*_languages(customs), _LANGUAGES)
        for beside in (f"{word} {day}", f"{day} {word}")  # a weekday in front, a time zone behind
    )


def _in_figures(parts: Sequence[str], sign: str, customs: Customs | None, text: str) -> date:
    if len(parts[0]) > 2:
        return _one_of([_date(*parts)], text, customs)
    if customs is not None and customs.date_order is not None:
        mine = _ordered(parts, customs.date_order)
        if mine is not None:
            return mine
    # Of a declared locale only the order is known, so that a year may stand first only where it does so there.
    year_first = customs is None or (customs.date_order or "").startswith("Y")
    orders = [order for order in _ORDERS if year_first or order != "YMD"]
    if sign == "." and _ordered(parts, "DMY") is not None:
        orders.remove("MDY")  # which is so rare with dots that only a locale, or the figures themselves, can mean it
    readings = [_ordered(parts, order) for order in orders]
    if year_first and len(parts[0]) == 1 and len(parts[2]) <= 2 and any(readings):
        readings.append(_date(f"0{parts[0]}", *parts[1:]))  # as doubtful as with its nought, but no date by itself
    return _one_of(readings, text, customs)


def _ordered(parts: Sequence[str], order: str) -> date | None:
    """Read three figures in an order such as ``DMY``; ``None`` if they are no date in it."""
    year, month, day = (parts[order.index(letter)] for letter in "YMD")
    if len(year) in (1, 3) or len(month) > 2 or len(day) > 2:
        return None
    return _date(year, month, day)


def _date(year: str, month: str, day: str) -> date | None:
    whole = int(year)
    if len(year) == 2:
        whole += 1900 if whole >= _FIRST_OF_LAST_CENTURY else 2000
    try:
        return date(whole, int(month), int(day))
    except ValueError:
        return None


def _one_of(readings: Sequence[date | None], text: str, customs: Customs | None) -> date:
    found = sorted({reading for reading in readings if reading is not None})
    if not found:
        raise NoValue(f"expected a date, found {text!r}")
    if len(found) > 1:
        either = " or ".join(reading.isoformat() for reading in found)
        raise NoValue(f"{text!r} may be {either}; {_decider(customs)}", map(date.isoformat, found))
    return found[0]


def _decider(customs: Customs | None) -> str:
    if customs is None:
        return "a locale would decide"
    if customs.date_order is None:
        return f"the locale {customs.locale} does not decide, one with a country such as en_US would"
    return f"the locale {customs.locale} does not decide"


def _named(cleaned: str, customs: Customs | None, text: str) -> date:
    """Read a date with the name of its month, which has to be whole: one day, a month and a year."""
    runs = list(re.finditer(r"\d+", cleaned))
    ranges = len(runs) != 2
    if ranges or (len(runs[0][0]) > 2 and re.search(r"[^\W\d]", cleaned[: runs[0].start()])):
        raise NoValue(f"expected a date with one day, a month and a year, found {text!r}")
    if _GLUED_TO_NAMED.search(cleaned):
        raise NoValue(f"expected a date alone, found {text!r} with a letter at a figure")
    is_short = all(len(run[0]) <= 2 for run in runs)  # then both figures may be the day
    if is_short and len(runs[1][0]) == 1:
        raise NoValue(f"expected a year of two or four figures, found {text!r}")
    for languages in _languages(customs):
        found = _with_name(cleaned, languages, "DMY")
        if found is None:
            continue
        other = _with_name(cleaned, languages, "YMD") if is_short and _begins_with_year(customs) else None
        return _one_of([found, other], text, customs)
    raise NoValue(f"expected a date with day, month and year, found {text!r}")


def _with_name(cleaned: str, languages: tuple[str, ...], order: str) -> date | None:
    """Read a date with the name of its month; the order tells day and year apart where both have two figures."""
    return _parsed(cleaned, languages, order) if re.search(r"[^\W\d]{2}", cleaned) else None


def _parsed(cleaned: str, languages: tuple[str, ...], order: str) -> date | None:
    """Return the day that dateparser reads; ``None`` if it knows a word not, or reads less than a day."""
    parsed = _parser(languages, order).get_date_data(cleaned)
    if parsed.date_obj is None or parsed.period != "day":
        return None
    found: date = parsed.date_obj.date()
    return found


def _begins_with_year(customs: Customs | None) -> bool:
    """Tell whether the declared locale writes the year in front of the name of the month."""
    return customs is not None and str(customs.locale.date_formats["long"].pattern).startswith("y")


@cache
def _parser(languages: tuple[str, ...], order: str) -> DateDataParser:
    return DateDataParser(languages=list(languages), settings={**_SETTINGS, "DATE_ORDER": order})


def _languages(customs: Customs | None) -> Iterator[tuple[str, ...]]:
    """Languages to try: the declared one and English, or else the common ones."""
    if customs is None:
        yield _LANGUAGES
        return
    yield (customs.language,)
    if customs.language != "en":
        yield ("en",)
