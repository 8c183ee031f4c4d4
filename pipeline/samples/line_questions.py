"""Questions about a printed line: what stands behind some of its words, up to its end."""

from __future__ import annotations

import itertools

FORMS = ("What is the text after '{}'?", "What comes after '{}'?", 'What is the text after "{}"?')
_LONGEST = 26  # characters of an answer
_WORDS = (1, 2, 3)  # of an answer, and of what stands before it


def cuts(text: str, whole: str) -> list[tuple[int, int]]:
    """Find the words of a line that can be asked about: they stand once in the whole text, and a short rest follows.

    Args:
        text: the line, its words apart by one blank each; a line with quotes cannot be asked about.
        whole: text of everything that is seen.

    Returns:
        Begin and end of those words; the answer begins one character behind their end.
    """
    if "  " in text or any(char in text for char in "'\""):
        return []
    words, found = text.split(" "), []
    for rest, before in itertools.product(_WORDS, _WORDS):
        answer, asked = " ".join(words[-rest:]), " ".join(words[-rest - before : -rest])
        if len(words) >= rest + before and 2 <= len(answer) <= _LONGEST and whole.count(asked) == 1:
            end = len(text) - len(answer) - 1
            found.append((end - len(asked), end))
    return found


def absent_words(asked: str, whole: str) -> str | None:
    """Turn some words round, which, read carelessly, seem to be there; ``None`` where they are there.

    Args:
        asked: words of a line.
        whole: text of everything that is seen.
    """
    turned = " ".join(reversed(asked.split(" ")))
    return None if turned in whole else turned
