"""Folds texts into a form in which case, width, blanks and punctuation make no difference, but figures and signs do."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

SHORT = 4
"""Letters or digits; an answer with fewer is found only as words of its own."""
Joint = Literal["", ".", "/", " "]
"""How a character is joined to the one before: nothing, a mark of numbers, another mark, or a blank in between."""

_DIGITS = frozenset("0123456789")
_SIGNS = frozenset("+<>\u00b1\u2264\u2265")  # which make another grade or limit
_NUMBER_MARKS = ".,'\u2019\u066b\u066c"
_DASHES = frozenset("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe63\uff0d")
# Scripts that put no blanks between words: Thai to Khmer, Chinese, Japanese and Korean.
_UNDIVIDED = ((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x2E80, 0xA4CF), (0xAC00, 0xD7A3))
_UNDIVIDED_MORE = ((0xF900, 0xFAFF), (0x20000, 0x3FFFF))


@dataclass(frozen=True, slots=True)
class Folded:
    """A text without its blanks and punctuation.

    Attributes:
        letters: letters and digits, and each sign of a number, a limit or a grade.
        joints: the joint of each of them, ``[N]``.
        words: number of the word that each of them belongs to, ``[N]``.
    """

    letters: str
    joints: tuple[Joint, ...]
    words: tuple[int, ...]


def fold(words: Sequence[str]) -> Folded:
    """Fold words that follow each other."""
    letters: list[str] = []
    joints: list[Joint] = []
    numbers: list[int] = []
    for number, word in enumerate(words):
        mine, between = _fold_word(word)
        letters.append(mine)
        joints += between
        numbers += [number] * len(mine)
    return Folded("".join(letters), tuple(joints), tuple(numbers))


@lru_cache(65536)
def _fold_word(word: str) -> tuple[str, tuple[Joint, ...]]:
    """Return the letters of a word and their joints; the first is joined by a blank."""
    text = same_width(word).casefold()
    letters: list[str] = []
    joints: list[Joint] = []
    joint: Joint = " "
    for place, char in enumerate(text):
        if not is_letter(char) and not _is_sign_at(text, place, bool(letters)):
            if letters and joint != "/":
                joint = "." if char in _NUMBER_MARKS else "/"
            continue
        letters.append(char)
        joints.append(joint)
        joint = ""
    return "".join(letters), tuple(joints)


def same_width(text: str) -> str:
    """Return a text with ASCII digits and dashes, and one form of every letter; soft hyphens are left out.

    Raised and circled figures stay what they are, as they are no digits of a number.
    """
    return "".join(map(_same_width, text))


def _same_width(char: str) -> str:
    if char.isascii():
        return char
    if char in _DASHES:
        return "-"
    category = unicodedata.category(char)
    if category == "Nd":
        return str(unicodedata.decimal(char))
    if category == "Cf":
        return ""
    return char if category == "No" else unicodedata.normalize("NFKC", char)


def is_letter(char: str) -> bool:
    """Tell whether a character is a letter, a digit, or a sign that changes a letter."""
    return char.isalnum() or unicodedata.category(char).startswith("M")


def is_undivided(char: str) -> bool:
    """Tell whether a letter is of a script that puts no blanks between words."""
    return any(low <= ord(char) <= high for low, high in _UNDIVIDED + _UNDIVIDED_MORE)


def is_digit(char: str) -> bool:
    """Tell whether a folded character is a digit of a number."""
    return char in _DIGITS


def is_sign(char: str) -> bool:
    """Tell whether a folded character is a sign other than minus."""
    return char in _SIGNS


def _is_sign_at(text: str, place: int, behind_letters: bool) -> bool:
    """Tell whether a character is a sign: before a number or alone in its word, and a plus behind letters too."""
    if text[place] == "-":
        return not behind_letters and _before_number(text, place)
    if text[place] not in _SIGNS:
        return False
    return text == text[place] or _before_number(text, place) or (text[place] == "+" and behind_letters)


def _before_number(text: str, place: int) -> bool:
    """Tell whether a digit follows a mark, with at most a currency sign in between."""
    behind = text[place + 1 :]
    if behind and unicodedata.category(behind[0]) == "Sc":
        behind = behind[1:]
    return is_digit(behind[:1])
