"""Makes the expression of dates as people of any country write them.

The names of months and weekdays are those that dateparser reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dateparser.languages.loader import default_loader

from pipeline.questions.grammar.pieces import SPACE, either, maybe, words

_LONG = ("january", "march", "may", "july", "august", "october", "december")
_SHORT = ("april", "june", "september", "november")
_MONTHS = {31: _LONG, 30: _SHORT, 28: ("february",), 29: ("february",)}
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_WITH_WEEKDAY = "en de fr es it pt nl sv".split()
_ZEROS = "0\uff10\u0660\u06f0"  # Latin, full width, Arabic, Persian

_DAY = {31: "0?[1-9]|[12][0-9]|3[01]", 30: "0?[1-9]|[12][0-9]|30", 28: "0?[1-9]|1[0-9]|2[0-8]", 29: "29"}
_MONTH = {31: "0?[13578]|1[02]", 30: "0?[469]|11", 28: "0?2", 29: "0?2"}
_YEAR = "(?:18|19|20|21)[0-9][0-9]"
_LEAP = "(?:18|19|20|21)(?:0[48]|[2468][048]|[13579][26])|2000"
_YEARS = {31: _YEAR, 30: _YEAR, 28: _YEAR, 29: _LEAP}
_TWO_DIGITS = {31: "[0-9][0-9]", 30: "[0-9][0-9]", 28: "[0-9][0-9]", 29: "[02468][048]|[13579][26]"}
_SHORT_YEAR = "['\u2019]"  # in front of a year of two figures
_TWO_FIGURES = {length: f"(?:{days.replace('0?', '0')})" for length, days in _DAY.items()}
_LENGTHS = (31, 30, 28, 29)

_CLOCK = "(?:[01]?[0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9])?"
_HALF = r"[AaPp](?:[Mm]|\.[Mm]\.)"
_ZONE = "[+-](?:0[0-9]|1[0-4]):[0-5][0-9]"
_TIME = f"(?:{_CLOCK}(?:(?: ?{_HALF})?(?: (?:UTC|GMT))?|{_ZONE})|(?:1[0-2]|[1-9]) ?{_HALF})"
_OF_YEAR = f"{SPACE}(?:г\\.|р\\.|r\\.)"  # "of the year", behind figures
_JOINT = f"(?:{SPACE}|[-/])"


@dataclass(frozen=True, slots=True)
class _Customs:
    """How the dates of some languages are put together.

    Attributes:
        languages: codes of the languages.
        article: expression of what may stand in front of the day.
        ordinal: expression of what may stand behind it.
        before_month: expression of what stands between day and month.
        before_year: expression of what stands between month and year.
        behind_year: expression of what may stand behind the year.
    """

    languages: str
    article: str = ""
    ordinal: str = ""
    before_month: str = _JOINT
    before_year: str = _JOINT
    behind_year: str = ""


_POINT = r"\."
_POINTED = f"(?:\\.{SPACE}?|{_JOINT})"
_OF = f"(?:{SPACE}(?:de{SPACE})?|[-/])"
_CUSTOMS = (
    _Customs(
        "en",
        f"the{SPACE}",
        "st|nd|rd|th",
        f"(?:{SPACE}(?:(?:day{SPACE})?of{SPACE})?|[-/])",
        f"(?:,?{SPACE}|[-/]|,)",
        f" at {_TIME}",
    ),
    _Customs("da nb", f"den{SPACE}", "", _POINTED),
    _Customs("sv", f"den{SPACE}", ":e"),
    _Customs("de fi cs sk sl hr hu et lv", "", "", _POINTED),
    _Customs("fr", f"le{SPACE}", "er"),
    _Customs("es pt gl", "", "\u00ba", _OF, f"(?:{SPACE}(?:del?{SPACE})?|[-/])"),
    _Customs("it", "", "[\u00ba\u00b0]"),
    _Customs("ru", "", "", _POINTED, behind_year=f"{SPACE}(?:г\\.|года)"),
    _Customs("pl", behind_year=f"{SPACE}r\\."),
    _Customs("nl ro tr uk bg el lt id ca he ar fa hi"),
)


def dates(commas: bool = True) -> str:
    """Return the expression of a date in figures or with the name of its month, with a weekday and a time or without.

    Args:
        commas: whether there may be commas inside, which a list takes for the end of an entry.
    """
    comma = ",?" if commas else ""
    days = words(name for one in _CUSTOMS for name in _called(one.languages, _WEEKDAYS))
    before = maybe(rf"{days}\.?{comma} ") + maybe(f"{_TIME} ")
    behind, in_german = maybe(f"{comma} (?:at |um )?{_TIME}"), f"{comma} (?:um )?{_CLOCK} Uhr"
    named = [_named(one, one.languages, comma) for one in _CUSTOMS]
    for one in _CUSTOMS:
        for language in set(one.languages.split()) & set(_WITH_WEEKDAY):
            named.append(rf"{words(_called(language, _WEEKDAYS))}\.?{comma} {_named(one, language, comma)}")
    return either(
        f"{either(*_compact(), *_east_asian())}{maybe(f' {_CLOCK}')}",
        before + either(*_in_figures()) + maybe(_OF_YEAR) + either(behind, in_german),
        f"{either(*named)}{maybe(f'{comma} {_TIME}')}",
    )


def _in_figures() -> Iterator[str]:
    """Return the dates in figures, in every order and in the digits of several scripts."""
    ascii_digits = []
    for sign in ("-", r"\.", "/"):
        between = f" ?{sign} ?"
        for length in _LENGTHS:
            day, month = f"(?:{_DAY[length]})", f"(?:{_MONTH[length]})"
            year = f"(?:{_YEARS[length]}|{_TWO_DIGITS[length]})"
            ascii_digits += [between.join((day, month, year)), between.join((year, month, day))]
            if sign != r"\.":  # which too few people write to allow it
                ascii_digits.append(between.join((month, day, year)))
    return _in_scripts(either(*ascii_digits) + maybe(_POINT))


def _compact() -> Iterator[str]:
    """Return the dates without signs, as 20240518, beside which no weekday stands: it might be any number then."""
    ascii_digits = []
    for length in _LENGTHS:
        day, month = (
            either(*(part.replace("0?", "0") for part in parts[length].split("|"))) for parts in (_DAY, _MONTH)
        )
        ascii_digits.append(f"(?:{_YEARS[length].replace('18|19|20|21', '19|20')}){month}{day}")
    return _in_scripts(either(*ascii_digits))


def _in_scripts(in_ascii: str) -> Iterator[str]:
    """Yield an expression in the digits of each script."""
    for zero in _ZEROS:
        yield in_ascii.translate({ord(str(figure)): chr(ord(zero) + figure) for figure in range(10)})


def _east_asian() -> Iterator[str]:
    """Yield the dates with the signs of year, month and day, in front of which the weekday does not stand."""
    for length in _LENGTHS:
        form = f"(?:{_YEARS[length]}) ?[年년] ?(?:{_MONTH[length]}) ?[月월] ?(?:{_DAY[length]}) ?[日일]"
        for zero in _ZEROS[:2]:
            yield form.translate({ord(str(figure)): chr(ord(zero) + figure) for figure in range(10)})


def _named(customs: _Customs, languages: str, comma: str) -> str:
    """Return the expression of dates with the name of the month, in languages that put them together alike."""
    before_year = customs.before_year if comma else customs.before_year.replace(",?", "").replace("|,", "")
    forms = []
    for length in _LENGTHS:
        day, whole = f"(?:{_DAY[length]})", f"(?:{_YEARS[length]})"
        year = f"(?:{whole}|{_SHORT_YEAR}?(?:{_TWO_DIGITS[length]}))"
        name = words(_called(languages, _MONTHS[length]))
        month, ordinal, of_year = name + maybe(_POINT), maybe(customs.ordinal), maybe(customs.behind_year)
        behind_month = f"(?:{maybe(_POINT)}{before_year}|{_POINT})"
        forms.append(f"{maybe(customs.article)}{day}{ordinal}{customs.before_month}{name}{behind_month}{year}{of_year}")
        if "en" in languages.split():
            forms.append(f"{month}{_JOINT}{day}{ordinal}{before_year}{year}{of_year}")
            forms.append(f"{whole}{_JOINT}{month}{_JOINT}{day}")
            forms.append(f"{_TWO_FIGURES[length]}{name}{year}")  # as 05MAR24
        if "hu" in languages.split():
            forms.append(rf"{whole}\. {words(_called('hu', _MONTHS[length]))}{maybe(_POINT)} {day}{maybe(_POINT)}")
    return either(*forms)


def _called(languages: str, names: Sequence[str]) -> Iterator[str]:
    """Yield what languages call months or weekdays; names of a single letter or with figures are left out."""
    for language in languages.split():
        info = default_loader.get_locale(language).info
        for name in names:
            yield from (form for form in info[name] if len(form) > 1 and not any(char.isdigit() for char in form))
