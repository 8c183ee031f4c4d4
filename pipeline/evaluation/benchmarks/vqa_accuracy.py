"""Computes the accuracy of VQA, TextVQA and their kin: against ten answers of people, each left out in turn.

Texts are normalised by the rules of the VQA evaluation (Antol et al., 2015): punctuation, articles, numbers written as
words, and contractions without their apostrophe.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_COMMA_IN_NUMBER = re.compile(r"\d,\d")
_PERIOD = re.compile(r"(?!<=\d)\.(?!\d)")  # as the rules have it: "(?!<=" looks ahead for these characters
_ARTICLES = frozenset({"a", "an", "the"})
_NUMBERS = {
    word: str(number) for number, word in enumerate("zero one two three four five six seven eight nine ten".split())
} | {"none": "0"}
_ONE_APOSTROPHE = """
ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's how'd how'll how's isn't it'd
it'll ma'am mightn't might've mustn't must've needn't not've o'clock oughtn't shan't should've shouldn't somebody'll
somebody's someone'd someone'll someone's something'd something'll that's there'd there're there's they'd they'll
they're they've 'twas wasn't we've weren't what'll what're what's what've when's where'd where's where've who'd who'll
who's who've why'll why're why's won't would've wouldn't y'all you'd you'll you're you've
""".split()
_SEVERAL_APOSTROPHES = """
couldn't've hadn't've he'd've it'd've mightn't've 'ow's'at she'd've shouldn't've somebody'd've someone'd've
something'd've there'd've they'd've we'd've who'd've wouldn't've y'all'll y'all'd've you'd've
""".split()


def _without_one(word: str) -> list[str]:
    return [word[:at] + word[at + 1 :] for at, letter in enumerate(word) if letter == "'"]


_CONTRACTIONS = {
    **{word.replace("'", ""): word for word in _ONE_APOSTROPHE},
    **{shorter: word for word in _SEVERAL_APOSTROPHES for shorter in _without_one(word)},
    "somebody'd": "somebodyd",  # the other way round in the rules
}


def normalised(text: str) -> str:
    """Normalise an answer by the rules of the VQA evaluation.

    Args:
        text: the answer.
    """
    return _words(_without_punctuation(_one_line(text)))


def vqa_accuracy(answer: str, people: Sequence[str]) -> float:
    """Compute the accuracy of an answer by the VQA evaluation, in 0..1.

    Where all people answered the same, neither their answer nor the model's is normalised.

    Args:
        answer: answer of the model.
        people: answers of people, mostly ten.
    """
    answer, gold = _one_line(answer), [_one_line(one) for one in people]
    if len(set(gold)) > 1:
        answer, gold = normalised(answer), [normalised(one) for one in gold]
    return _left_out_in_turn(answer, gold)


def textvqa_accuracy(answer: str, people: Sequence[str]) -> float:
    """Compute the accuracy of an answer by the TextVQA evaluation, in 0..1, which normalises always.

    Args:
        answer: answer of the model.
        people: answers of people, mostly ten.
    """
    return _left_out_in_turn(_textvqa_text(answer), [_textvqa_text(one) for one in people])


def _left_out_in_turn(answer: str, gold: Sequence[str]) -> float:
    """Mean, over the people, of a third of the other people who answered the same, at most 1."""
    same = [one == answer for one in gold]
    return sum(min(1.0, (sum(same) - mine) / 3) for mine in same) / len(gold)


def _textvqa_text(text: str) -> str:
    return normalised(text.lower().replace(",", "").replace("?", "").replace("'s", " 's"))


def _one_line(text: str) -> str:
    return text.replace("\n", " ").replace("\t", " ").strip()


def _without_punctuation(text: str) -> str:
    """Remove marks that touch a space, or all if a number holds a comma; others become a space."""
    out = text
    for mark in _PUNCTUATION:
        touches = f"{mark} " in text or f" {mark}" in text or _COMMA_IN_NUMBER.search(text) is not None
        out = out.replace(mark, "" if touches else " ")
    return _PERIOD.sub("", out)


def _words(text: str) -> str:
    words = [_NUMBERS.get(word, word) for word in text.lower().split()]
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)
