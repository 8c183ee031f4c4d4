"""The words of a page, ready for finding what was answered."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pipeline.answering.folded_text import Folded, fold, is_digit, same_width
from pipeline.words import Words

_CLUSTER = re.compile(r"\d(?:[\d.,']*\d)?")
_NEAR = 0.7  # of the height of a line: widest blank between the groups of a number
_MOST_GROUPS = 5
_FIRST_GROUP = re.compile(r"\D*\d{1,3}")
_NEXT_GROUP = re.compile(r"\d{3}(?P<rest>[.,]\d{1,4})?\D*")


@dataclass(frozen=True, slots=True)
class NumberAt:
    """A number on a page.

    Attributes:
        text: the number as it stands there.
        words: the words that it stands in, in order.
        alone: whether it is not a part of a longer code, date or other number.
        inside: longer texts that it is a part of, if they are no numbers themselves.
    """

    text: str
    words: tuple[int, ...]
    alone: bool
    inside: tuple[str, ...] = ()


class PageText:
    """Holds the words of a page.

    Args:
        words: text layer of the page.

    Attributes:
        words: the words, in the order of the file.
        lines: number of the line of each word.
        boxes: ``x0, y0, x1, y1`` of each word in points, ``[N, 4]``.
    """

    def __init__(self, words: Words) -> None:
        lines = [line.split(" ") for line in words.text.split("\n")]
        self.words = [word for line in lines for word in line]
        self.lines = [number for number, line in enumerate(lines) for _ in line]
        self.boxes: npt.NDArray[np.float64] = np.array(words.corners, np.float64).reshape(-1, 4)
        self._windows: dict[int, list[str]] = {}

    @cached_property
    def orders(self) -> tuple[tuple[Sequence[int], Folded], ...]:
        """Return the words in the order of the file, and from left to right in rows, each with its folded text."""
        orders: tuple[Sequence[int], ...] = (range(len(self.words)), self._by_rows())
        return tuple((order, fold([self.words[number] for number in order])) for order in orders)

    def text_of(self, words: Sequence[int]) -> str:
        """Return words as they stand there, with a line feed where a new line begins."""
        joints = ["" if i == 0 else " " if self._follows(words[i - 1], word) else "\n" for i, word in enumerate(words)]
        return "".join(joint + self.words[word] for joint, word in zip(joints, words, strict=True))

    def words_in(self, box: Sequence[float]) -> tuple[int, ...]:
        """Return the words whose middle lies in a box ``x0, y0, x1, y1`` in points."""
        middles = (self.boxes[:, :2] + self.boxes[:, 2:]) / 2
        inside = ((middles >= box[:2]) & (middles <= box[2:])).all(1)
        return tuple(np.flatnonzero(inside).tolist())

    def line_boxes(self, words: Sequence[int]) -> Iterator[list[float]]:
        """Yield the box ``x0, y0, x1, y1`` around the words of each line."""
        start = 0
        for end in range(1, len(words) + 1):
            if end == len(words) or not self._follows(words[end - 1], words[end]):
                mine = self.boxes[list(words[start:end])]
                yield [*mine[:, :2].min(0).tolist(), *mine[:, 2:].max(0).tolist()]
                start = end

    @cached_property
    def numbers(self) -> dict[str, list[NumberAt]]:
        """Return the numbers of the page by their digits without noughts at either end."""
        found: dict[str, list[NumberAt]] = defaultdict(list)
        for number in self._numbers():
            found[digits_key(number.text)].append(number)
        return found

    def windows(self, size: int) -> list[str]:
        """Return the folded letters of every ``size`` words that follow each other."""
        if size not in self._windows:
            single = [fold([word]).letters for word in self.words]
            self._windows[size] = ["".join(single[i : i + size]) for i in range(len(single) - size + 1)]
        return self._windows[size]

    def near(self, one: int, other: int) -> bool:
        """Tell whether one word follows another with no more than a narrow blank in between."""
        return self._follows(one, other) and not self.apart(one, other)

    def apart(self, one: int, other: int) -> bool:
        """Tell whether one word follows another with a gap in between, as between columns."""
        left, right = self.boxes[one], self.boxes[other]
        height = min(left[3] - left[1], right[3] - right[1])
        return self._follows(one, other) and bool(right[0] - left[2] > _NEAR * height)

    def _numbers(self) -> Iterator[NumberAt]:
        inside: set[int] = set()
        texts = [same_width(word) for word in self.words]
        for first, text in enumerate(texts):
            if not any("0" <= char <= "9" for char in text):
                continue
            grouped = self._grouped(texts, first) if first not in inside else None
            if grouped is not None:
                words, certain = grouped
                yield NumberAt(" ".join(texts[word] for word in words), words, True)
                if certain:
                    inside.update(words)
            if first in inside:
                continue
            if self._is_minus(texts, first - 1):
                yield NumberAt(f"-{text}", (first - 1, first), True)
            yield from _numbers_in(text, first)

    def _is_minus(self, texts: Sequence[str], word: int) -> bool:
        """Tell whether a word is the sign of the number behind it, and not the dash of a range."""
        if word < 0 or texts[word] != "-" or not self.near(word, word + 1):
            return False
        return not (word and is_digit(texts[word - 1][-1:]) and self.near(word - 1, word))

    def _grouped(self, texts: Sequence[str], first: int) -> tuple[tuple[int, ...], bool] | None:
        """Join a number whose groups of three digits are words, and tell whether it can be nothing else."""
        if _FIRST_GROUP.fullmatch(texts[first]) is None:
            return None
        last, rest = first, None
        while rest is None and last + 1 < len(texts) and last + 1 - first < _MOST_GROUPS and self.near(last, last + 1):
            group = _NEXT_GROUP.fullmatch(texts[last + 1])
            if group is None:
                break
            last, rest = last + 1, group["rest"]
        return (tuple(range(first, last + 1)), rest is not None or last - first > 1) if last > first else None

    def _follows(self, one: int, other: int) -> bool:
        """Tell whether one word is to the left of another in the same line of print."""
        if self.lines[one] == self.lines[other]:
            return True
        left, right = self.boxes[one], self.boxes[other]
        shared = min(left[3], right[3]) - max(left[1], right[1])
        return bool(left[0] < right[0] and shared > 0.5 * min(left[3] - left[1], right[3] - right[1]))

    def _by_rows(self) -> list[int]:
        """Order words by rows from the top, and from left to right in each."""
        middles = (self.boxes[:, 1] + self.boxes[:, 3]) / 2
        rows: list[list[int]] = []
        for word in np.argsort(middles, kind="stable").tolist():
            if not rows or middles[word] > self.boxes[rows[-1][0], 3]:
                rows.append([])
            rows[-1].append(word)
        return [word for row in rows for word in sorted(row, key=lambda word: float(self.boxes[word, 0]))]


def digits_key(text: str) -> str:
    """Return the digits of a number without noughts at either end, which are equal for equal numbers."""
    return "".join(char for char in text if "0" <= char <= "9").strip("0")


def _numbers_in(text: str, word: int) -> Iterator[NumberAt]:
    """Yield the number that a word may be, and those that may stand between its letters and marks."""
    yield NumberAt(text, (word,), True)
    for cluster in _CLUSTER.finditer(text):
        before, behind = text[: cluster.start()], text[cluster.end() :]
        others = before + behind
        alone = not any(map(str.isdigit, others)) and (not any(map(str.isalnum, before)) or _is_label(before))
        signed = "-" in (before[-1:], behind) and not any(map(str.isalnum, others))
        unit = "%" if behind.startswith("%") else ""
        yield NumberAt(f"{'-' if signed else ''}{cluster[0]}{unit}", (word,), alone, (text,))
        for run in re.findall(r"\d+", cluster[0]):
            yield NumberAt(run, (word,), False, (text, cluster[0]))


def _is_label(before: str) -> bool:
    """Tell whether what stands before a number in the same word names it, as in ``Qty:12`` and ``No.12``."""
    return re.fullmatch(r"[^\W\d_]+[.:=#]+\W*", before) is not None
