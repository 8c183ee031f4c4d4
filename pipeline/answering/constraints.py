"""Limits the answers to typed questions to what their types allow, token by token.

llguidance computes which tokens may come next; :mod:`pipeline.questions.grammar` says what the types allow.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from functools import cached_property, lru_cache

from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from glimpseprune.decode.constraint import BeginConstraint
from pipeline.errors import ModelError
from pipeline.families.base import ModelInput
from pipeline.questions.grammar.answers import answer_expression
from pipeline.records import Ask

LIMITS = LLParserLimits(initial_lexer_fuel=20_000_000, step_lexer_fuel=20_000_000)
"""Work that a grammar and a step may cost; the defaults are made for grammars of strangers."""
_MASKS = 1024  # that are kept per type; in a vocabulary of 150,000 tokens each has 19 kB


class _Grammar:
    """Knows which tokens may follow the beginning of an answer of one type.

    One matcher serves all answers, since it learns as it goes: the first way to a state takes a hundred times as long.
    """

    def __init__(self, vocabulary: LLTokenizer, expression: str, ends: Collection[int]) -> None:
        self._matcher = LLMatcher(vocabulary, LLMatcher.grammar_from_regex(expression), log_level=0, limits=LIMITS)
        if self._matcher.is_error():
            raise ModelError(f"the limits of a type are not valid: {self._matcher.get_error()}; report this")
        self._ends = ends
        self._lock = threading.Lock()
        self.allowed = lru_cache(_MASKS)(self._allowed)

    def __call__(self) -> AnswerConstraint:
        return AnswerConstraint(self)

    def accepts(self, taken: tuple[int, ...], token: int) -> bool:
        """Tell whether a token may follow others."""
        with self._lock:
            self._go_to(taken)
            if token in self._ends:
                return self._matcher.is_accepting()
            return self._matcher.validate_tokens([token]) == 1

    def _allowed(self, taken: tuple[int, ...]) -> bytes:
        with self._lock:
            self._go_to(taken)
            mask = self._matcher.compute_bitmask()
            if self._matcher.is_error():
                raise ModelError(
                    f"limits of an answer failed: {self._matcher.get_error()}; take constrain: false, and report this"
                )
            return mask

    def _go_to(self, taken: tuple[int, ...]) -> None:
        self._matcher.reset()
        self._matcher.consume_tokens(list(taken))


class AnswerConstraint:
    """Allows the tokens that go on with an answer of one type.

    Args:
        grammar: grammar of the type.
    """

    def __init__(self, grammar: _Grammar) -> None:
        self._grammar = grammar
        self._taken: tuple[int, ...] = ()

    def allowed(self) -> bytes:
        """Return one bit per token of the vocabulary, 1 where it may come next.

        Raises:
            ModelError: the engine of the grammar gave up.
        """
        return self._grammar.allowed(self._taken)

    def take(self, token: int) -> bool:
        """Go on behind a token, and tell whether it is allowed; where it is not, nothing changes."""
        accepted = self._grammar.accepts(self._taken, token)
        if accepted:
            self._taken += (token,)
        return accepted


class Constraints:
    """Makes the limits of the answers to typed questions for one model.

    Args:
        processor: processor of the checkpoint.
        vocabulary_size: number of tokens that the model has logits for.
        eos_token_ids: tokens that end an answer.
    """

    def __init__(self, processor: ModelInput, vocabulary_size: int, eos_token_ids: Collection[int]) -> None:
        self._processor = processor
        self._size = vocabulary_size
        self._ends = eos_token_ids
        self._grammars: dict[tuple[str, str | None, Sequence[str]], BeginConstraint | None] = {}
        self._lock = threading.Lock()

    @cached_property
    def _vocabulary(self) -> LLTokenizer:
        return self._processor.vocabulary(self._size, self._ends)

    def of(self, ask: Ask) -> BeginConstraint | None:
        """Return what begins the limits of an answer; ``None`` where every text is allowed.

        Args:
            ask: the question.

        Raises:
            ModelError: the tokens of the checkpoint cannot be listed.
        """
        if not ask.constrain:
            return None
        key = (ask.type, ask.items, ask.choices)
        with self._lock:
            if key not in self._grammars:
                expression = answer_expression(*key)
                grammar = None if expression is None else _Grammar(self._vocabulary, expression, self._ends)
                self._grammars[key] = grammar
            return self._grammars[key]
