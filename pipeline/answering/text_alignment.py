"""Finds the places of a page at which an answer stands, by its letters or its value.

Letters may differ in case, width, blanks, hyphens and punctuation, and where nothing else is found, in a few letters.
Figures may not: a number is found by its value, and every other digit has to be the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from pipeline.answering.figure_alignment import places_of_date, places_of_figure
from pipeline.answering.figures import figure_of
from pipeline.answering.folded_text import SHORT, Folded, fold, is_digit, is_sign, is_undivided, same_width
from pipeline.answering.page_text import PageText

ALIKE = 0.95
"""Similarity from which two spellings count as one: one letter in twenty differs. At .9, names that nano misread by a
letter would be taken for those on the page."""
_RELATED = 0.75  # from which a place is shown, and the answer is not what stands there
_WORD_ALIKE = 0.75  # of every single word, so that a short name is not taken for another
_FEWEST_LETTERS, _MOST_LETTERS = 6, 200  # of an answer that may differ in letters
_LONG_CODE = 8  # digits, from which blanks inside a code make no difference
_COMPACT_DATE = 8  # digits of a date without marks, such as 20240305
_MOST_PLACES = 200


@dataclass(frozen=True, slots=True)
class Found:
    """What was found of an answer.

    Attributes:
        places: words of each place where it stands, best spelling first.
        same: whether it stands there as it was answered, but for its form.
    """

    places: tuple[tuple[int, ...], ...]
    same: bool


def find_answer(page: PageText, answer: str) -> Found | None:
    """Find an answer on a page; ``None`` for one that holds no letters and no digits.

    Args:
        page: words of the page.
        answer: answer of the model, or one item of a list.
    """
    sought = fold(answer.split())
    if not sought.letters:
        return None
    figure = figure_of(answer)
    long_code = sum(map(is_digit, sought.letters)) >= _LONG_CODE
    places = [] if figure is None else list(places_of_figure(page, figure))
    # A number with a point or comma is no code: its digits may be a part of a longer number.
    if not places and (figure is None or (long_code and "." not in sought.joints)):
        places = _literal(page, sought, answer, long_code)
    if not places and (figure is None or len(figure.digits) == _COMPACT_DATE) and any(map(is_digit, sought.letters)):
        places = places_of_date(page, answer)
    if places:
        return Found(tuple(dict.fromkeys(places))[:_MOST_PLACES], True)
    if figure is not None:
        return Found((), False)
    score, near = _by_spelling(page, answer, sought)
    return Found(near, bool(near) and score >= ALIKE)


def _literal(page: PageText, sought: Folded, answer: str, long_code: bool) -> list[tuple[int, ...]]:
    """Find the letters of an answer, in the order of the file and, if they are not there, in rows."""
    for order, text in page.orders:
        found: list[tuple[int, ...]] = []
        start = text.letters.find(sought.letters)
        while start >= 0 and len(found) < _MOST_PLACES:
            end = start + len(sought.letters)
            if _is_whole(text, start, end) and _same_joints(text, sought, start, long_code):
                places = range(text.words[start], text.words[end - 1] + 1)
                words = tuple(order[place] for place in places)
                whole = len(sought.letters) > 1 or _bare(page.words[words[0]]) == _bare(answer)
                if long_code and len(words) > 1:
                    whole = whole and _is_one_code(page, words, len(answer.split()))
                if whole and _same_ending(page, words[-1], answer):
                    found.append(words)
            start = text.letters.find(sought.letters, start + 1)
        if found:
            return found
    return []


def _bare(text: str) -> str:
    """Return the letters, digits and signs of a text, in the case that they have."""
    return "".join(char for char in same_width(text) if char.isalnum() or char in "+-#")


def _same_ending(page: PageText, last: int, answer: str) -> bool:
    """Tell whether a minus or sharp at the end of an answer, as of a grade, stands there too."""
    ending = same_width(answer).rstrip("\"').,;:")[-1:]
    if ending not in ("-", "#"):
        return True
    after = page.words[last + 1] if last + 1 < len(page.words) else ""
    return ending in same_width(page.words[last])[-3:] or same_width(after) == ending


def _is_whole(text: Folded, start: int, end: int) -> bool:
    """Tell whether a stretch of a text begins and ends where words or numbers do."""
    short = end - start < SHORT and not is_undivided(text.letters[start])
    return _is_edge(text, start, short) and _is_edge(text, end, short)


def _is_edge(text: Folded, place: int, short: bool) -> bool:
    """Tell whether something ends before a place in a text and something else begins there."""
    if place == 0 or place == len(text.letters):
        return True
    joint, before, behind = text.joints[place], text.letters[place - 1], text.letters[place]
    if joint == " " or (is_undivided(before) and is_undivided(behind)):
        return True
    if is_sign(before) and is_digit(behind):
        return True
    inside_number = is_digit(behind) and (before == "-" or (is_digit(before) and joint == "."))
    return not short and not inside_number and (joint != "" or is_digit(before) != is_digit(behind))


def _same_joints(text: Folded, sought: Folded, start: int, long_code: bool) -> bool:
    """Tell whether two equal stretches of letters have the same marks between their digits."""
    short = len(sought.letters) < SHORT
    for i in range(1, len(sought.letters)):
        here, there = sought.joints[i], text.joints[start + i]
        between_digits = is_digit(sought.letters[i - 1]) and is_digit(sought.letters[i])
        if short and (here == "") != (there == "") and not is_sign(sought.letters[i - 1]):
            return False
        # A blank and a dash divide codes alike; a point or comma makes another number.
        if between_digits and here != there and "." in (here, there):
            return False
        if between_digits and "" in (here, there) and here != there and not long_code:
            return False
    return True


def _is_one_code(page: PageText, words: Sequence[int], parts: int) -> bool:
    """Tell whether groups of digits belong together, as cells do not, and are all groups of their code."""
    pairs = [(one, other) for one, other in pairwise(words) if _are_digits(page, one, other)]
    if len(words) != parts and any(page.apart(one, other) for one, other in pairs):
        return False
    begins, ends = (words[0] - 1, *words[:2]), (*words[-2:], words[-1] + 1)
    return not any(_are_groups(page, three) for three in (begins, ends))


def _are_digits(page: PageText, one: int, other: int) -> bool:
    """Tell whether a word ends and the next begins with a digit."""
    return is_digit(same_width(page.words[one])[-1:]) and is_digit(same_width(page.words[other])[:1])


def _are_groups(page: PageText, words: Sequence[int]) -> bool:
    """Tell whether all words are digits alone, and near each other."""
    if words[0] < 0 or words[-1] >= len(page.words):
        return False
    near = all(page.near(one, other) for one, other in pairwise(words))
    return near and all(page.words[word].isdecimal() for word in words)


def _by_spelling(page: PageText, answer: str, sought: Folded) -> tuple[float, tuple[tuple[int, ...], ...]]:
    """Find the words spelled most like an answer, with the same digits and signs, and tell how much they are."""
    fixed = _fixed(sought.letters)
    if not _FEWEST_LETTERS <= len(sought.letters) - len(fixed) <= _MOST_LETTERS:
        return 0.0, ()
    count = len(answer.split())
    best, places = _RELATED, list[tuple[int, ...]]()
    for size in {max(1, count - 1), count, count + 1}:
        texts = page.windows(size)
        near = process.extract(
            sought.letters, texts, scorer=Levenshtein.normalized_similarity, score_cutoff=best, limit=_MOST_PLACES
        )
        for text, score, first in near:
            words = tuple(range(first, first + size))
            if _fixed(text) != fixed or not _words_alike(sought, page, words):
                continue
            if score > best:
                best, places = score, []
            places.append(words)
    return (best, tuple(places)) if places else (0.0, ())


def _fixed(letters: str) -> str:
    """Return the digits and signs, which are never guessed."""
    return "".join(char for char in letters if is_digit(char) or is_sign(char))


def _words_alike(sought: Folded, page: PageText, words: Sequence[int]) -> bool:
    """Tell whether each word of an answer is like one on the page, where both have as many words."""
    mine = _split(sought)
    theirs = _split(fold([page.words[word] for word in words]))
    if len(mine) != len(theirs):
        return True
    return all(
        Levenshtein.normalized_similarity(one, other) >= _WORD_ALIKE for one, other in zip(mine, theirs, strict=True)
    )


def _split(text: Folded) -> list[str]:
    """Return the letters of each word."""
    words: dict[int, str] = {}
    for letter, word in zip(text.letters, text.words, strict=True):
        words[word] = words.get(word, "") + letter
    return list(words.values())
