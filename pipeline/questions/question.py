"""Defines one question: its text, the pages and documents it is asked on, and its prompt."""

from __future__ import annotations

import dataclasses
import json
import re
import string
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from glimpseprune.rule import KeepRule
from pipeline.globs import compile_glob, may_match_below
from pipeline.questions.choices import same_but_for_case
from pipeline.questions.grammar.answers import constraint_of
from pipeline.questions.no_answer import NO_ANSWER
from pipeline.questions.page_ranges import PageRanges
from pipeline.questions.values import AnswerType, ItemType, Reading
from pipeline.questions.yaml_tree import Plain
from pipeline.records import Ask

Aggregate = Literal["best", "first", "all", "vote", "sum", "min", "max", "list"]
DEFAULT_PROMPT = "{text}\nAnswer with a single word or phrase. If the page does not say, answer n/a."
CHOICE_PROMPT = "{text}\nAnswer with one of: {choices}. If the page does not say, answer n/a."
MOST_NEW_TOKENS = 4096
_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,17})\.[0-9]{1,18}")
_NUMBERS = ("integer", "number", "money")
_NEEDS = {"sum": _NUMBERS, "min": (*_NUMBERS, "date"), "max": (*_NUMBERS, "date")}
"""Types whose values can be aggregated so."""
_MOST_TEXT, _MOST_PROMPT = 4_000, 16_000  # characters; a page takes memory and time with every one


def as_number(value: object) -> object:
    """Turn a number that stands in the file without quotes into one; whatever could be meant otherwise stays text."""
    if not isinstance(value, Plain):
        return value
    if _WHOLE.fullmatch(value):
        return int(value)
    return float(value) if _DECIMAL.fullmatch(value) else value


def _as_switch(value: object) -> object:
    """Turn ``true`` and ``false`` without quotes into what they say."""
    return {"true": True, "false": False}.get(value, value) if isinstance(value, Plain) else value


def _valid_text(text: str) -> str:
    if not text.strip():
        raise ValueError("expected a question, found no text")
    if len(text) > _MOST_TEXT:
        raise ValueError(f"expected at most {_MOST_TEXT:,} characters, found {len(text):,}; ask in fewer words")
    return text


def _joined_pages(value: object) -> object:
    """Write a list of pages, such as ``[1, -1]``, as the text that it stands for."""
    if not isinstance(value, list | tuple | dict):
        return value
    if isinstance(value, dict) or not value or not all(isinstance(part, str) for part in value):
        raise ValueError("expected pages such as '1-3,-1', or a list of them")
    return ",".join(value)


def _valid_pages(text: str) -> str:
    PageRanges.parse(text)
    return text


def valid_prompt(text: str) -> str:
    """Return a prompt that has its placeholders.

    Args:
        text: prompt with ``{text}``, and perhaps ``{choices}``.

    Raises:
        ValueError: a placeholder is missing or unknown.
    """
    places = [place[1:] for place in string.Formatter().parse(text) if place[1] is not None]
    plain = {("text", "", None), ("choices", "", None)}
    if ("text", "", None) not in places or set(places) - plain:
        raise ValueError("expected {text} in it, optionally {choices}, and no other placeholder; {{ stands for a brace")
    return text


def _valid_locale(name: str) -> str:
    from pipeline.questions.parsing.locales import customs_of  # which takes a while, for files that declare one

    customs_of(name)
    return name


def _valid_globs(value: object) -> str | tuple[str, ...]:
    patterns = tuple(value) if isinstance(value, list | tuple) else (value,)
    if not patterns or not all(isinstance(pattern, str) and pattern for pattern in patterns):
        raise ValueError("expected a pattern such as 'invoices/*.pdf', or a list of patterns, none of them empty")
    for pattern in patterns:
        try:
            compile_glob(pattern)
        except re.error as error:
            raise ValueError(f"{pattern!r} is not a pattern for file names: {error}") from error
    return patterns if isinstance(value, list | tuple) else patterns[0]


def _as_tuple(value: object) -> object:
    """Take a list where a tuple is kept; JSON and YAML have lists only."""
    return tuple(value) if isinstance(value, list) else value


def _told_apart(choices: tuple[str, ...]) -> tuple[str, ...]:
    seen: dict[str, str] = {}
    for choice in choices:
        form = same_but_for_case(choice)
        if form in seen:
            raise ValueError(f"{seen[form]!r} and {choice!r} are the same, case and white space aside; leave one out")
        seen[form] = choice
    if len(seen) < 2 or "" in seen:
        raise ValueError("expected at least two choices, none of them empty")
    if any(form.rstrip(".") == NO_ANSWER for form in seen):
        raise ValueError(f"{NO_ANSWER} always means that the page does not say; leave it out of the choices")
    return choices


Pages = Annotated[str, BeforeValidator(_joined_pages), AfterValidator(_valid_pages)]
Whole = Annotated[int, BeforeValidator(as_number)]
Decimal = Annotated[float, BeforeValidator(as_number)]
Share = Annotated[float, BeforeValidator(as_number), Field(ge=0, le=1)]
Switch = Annotated[bool, BeforeValidator(_as_switch)]
Prompt = Annotated[str, AfterValidator(valid_prompt)]
Choices = Annotated[tuple[str, ...], AfterValidator(_told_apart)]
LocaleName = Annotated[str, AfterValidator(_valid_locale)]
Globs = Annotated[str | tuple[str, ...], BeforeValidator(_valid_globs)]


class Strict(BaseModel):
    """Base model that refuses unknown keys, converts no types and cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Keep(Strict):
    """Fields of the keep rule that a question overrides."""

    threshold: Decimal | None = Field(default=None, ge=0, lt=1)
    max_ratio: Decimal | None = Field(default=None, gt=0, le=1)
    min_tokens: Whole | None = Field(default=None, ge=0)


class Question(Strict):
    """One question with all defaults applied."""

    id: str = Field(pattern=r"^[a-z0-9_]+$")
    text: Annotated[str, AfterValidator(_valid_text)]
    type: AnswerType = "text"
    choices: Annotated[Choices | None, BeforeValidator(_as_tuple)] = None
    items: ItemType | None = None
    constrain: Switch = True
    choice_probabilities: Switch = False
    locale: LocaleName | None = None
    pages: Pages = "all"
    documents: Globs | None = None
    aggregate: Aggregate = "best"
    max_new_tokens: Whole = Field(default=64, ge=1, le=MOST_NEW_TOKENS)
    prompt: Prompt = DEFAULT_PROMPT
    keep: Keep | None = None
    review_below: Share | None = None

    @model_validator(mode="before")
    @classmethod
    def _default_prompt(cls, raw: object) -> object:
        """Let the default prompt name the choices, which the model cannot know otherwise."""
        if not isinstance(raw, Mapping) or "prompt" in raw or raw.get("type") != "choice":
            return raw
        return {**raw, "prompt": CHOICE_PROMPT}

    @model_validator(mode="after")
    def _consistent(self) -> Question:
        if (self.type == "choice") != (self.choices is not None):
            raise ValueError("choices and type: choice belong together")
        if self.choice_probabilities and self.type != "choice":
            raise ValueError(f"choice_probabilities needs type choice, found {self.type}")
        if (self.items is not None) != (self.type == "list"):
            raise ValueError("items and type: list belong together; items names the type of each entry")
        needed = _NEEDS.get(self.aggregate)
        if needed is not None and self.type not in needed:
            raise ValueError(f"aggregate: {self.aggregate} needs type {', '.join(needed)}, found {self.type}")
        if len(self._whole_prompt()) > _MOST_PROMPT:
            raise ValueError(
                f"expected at most {_MOST_PROMPT:,} characters of prompt with text and choices in their places, found "
                f"{len(self._whole_prompt()):,}; ask in fewer words or with fewer choices"
            )
        return self

    @cached_property
    def page_ranges(self) -> PageRanges:
        """Return the pages this question is asked on, or about together."""
        return PageRanges.parse(self.pages)

    def applies_to(self, path: str) -> bool:
        """Tell whether the question applies to a document, by its path below ``--input``; ``**`` spans folders.

        A path that ends with "/" is a folder that cannot be listed; the question may apply to something in it.
        """
        if self.documents is None:
            return True
        globs = (self.documents,) if isinstance(self.documents, str) else self.documents
        if path.endswith("/"):
            return any(may_match_below(glob, path[:-1]) for glob in globs)
        return any(compile_glob(glob).fullmatch(path) for glob in globs)

    def to_ask(self, default_rule: KeepRule | None, prune_auto: bool = False) -> Ask:
        """Make the question ready for the model; ``keep`` overrides fields of the run's rule, if there is one."""
        rule = default_rule
        if default_rule is not None and self.keep is not None:
            rule = dataclasses.replace(default_rule, **self.keep.model_dump(exclude_none=True))
        auto = prune_auto and rule is not None
        return Ask(
            self.id,
            self._whole_prompt(),
            self.type,
            self.max_new_tokens,
            rule,
            auto,
            self.choices or (),
            self.items,
            self.constrain,
            self.choice_probabilities,
            self.text,
        )

    def _whole_prompt(self) -> str:
        prompt = self.prompt
        if "+" in str(self.pages) and prompt in (DEFAULT_PROMPT, CHOICE_PROMPT):
            prompt = prompt.replace("the page does", "the pages do")
        return prompt.format(text=self.text, choices=", ".join(self.choices or ()))

    def reading(self, locale: str | None = None, review_below: float | None = None) -> Reading:
        """Tell how the answers are read; it may change at any time, since they are kept as they came.

        Args:
            locale: locale of the run, where the question declares none.
            review_below: confidence below which answers need review, where the question says nothing.
        """
        below = review_below if self.review_below is None else self.review_below
        return Reading(self.type, self.locale or locale, self.items, self.choices or (), self.aggregate, below)

    def identity(self, default_rule: KeepRule | None) -> str:
        """Return canonical JSON of all that an answer depends on, without the pages.

        The type counts through the prompt and the limits that it sets to an answer, which are those of several types.
        Choices count also where a prompt does not name them, because an answer is judged by them.

        Args:
            default_rule: rule of the run; ``None`` if nothing is pruned.
        """
        ask = self.to_ask(default_rule)
        rule = None if ask.rule is None else dataclasses.asdict(ask.rule)
        choices = None if self.choices is None else sorted(self.choices)
        fields = {
            "id": self.id,
            "prompt": ask.prompt,
            "choices": choices,
            "constraint": constraint_of(self.type, self.items) if self.constrain else None,
            "choice_probabilities": self.choice_probabilities,
            "max_new_tokens": ask.max_new_tokens,
            "rule": rule,
        }
        return json.dumps(fields, sort_keys=True, separators=(",", ":"))
