from __future__ import annotations

import pytest
import torch
from transformers import RepetitionPenaltyLogitsProcessor

from glimpseprune.decode.greedy import Greedy, Row
from glimpseprune.errors import GlimpseError

PROMPTS = [torch.tensor([3, 3, 7, 11]), torch.tensor([0]), torch.tensor([5, 9, 1, 2, 8])]


@pytest.mark.parametrize("penalty", [1.0, 1.7, 0.6])
def test_the_tokens_are_those_of_transformers(penalty: float) -> None:
    generator = torch.Generator().manual_seed(0)
    greedy = Greedy(frozenset(), penalty)
    rows = [Row(prompt, 32, prompt.numel()) for prompt in PROMPTS]
    seen = greedy.seen(rows, 12)
    stock = RepetitionPenaltyLogitsProcessor(penalty)
    for _ in range(12):
        logits = torch.randn(3, 12, generator=generator)
        history = [torch.cat([row.prompt, torch.tensor(row.result.tokens, dtype=torch.long)]) for row in rows]
        want = [int(stock(ids[None], one[None].clone()).argmax()) for ids, one in zip(history, logits, strict=True)]
        choice = greedy.choose(logits, seen)
        assert greedy.take(rows, choice, [choice.figures])
        if seen is not None:  # as the next step does before anything else
            seen.scatter_(1, choice.tokens, True)
        assert [row.result.tokens[-1] for row in rows] == want
        every = logits.log_softmax(dim=-1)
        assert [row.result.logprobs[-1] for row in rows] == every[torch.arange(3), torch.tensor(want)].tolist()
        others = [
            max(p for i, p in enumerate(row) if i != token) for row, token in zip(every.tolist(), want, strict=True)
        ]
        margins = [row.result.logprobs[-1] - other for row, other in zip(rows, others, strict=True)]
        assert [row.result.margins[-1] for row in rows] == margins
        assert penalty != 1.0 or min(margins) > 0
    if seen is not None:
        again = greedy.seen(rows, 12)
        assert again is not None
        assert torch.equal(seen, again)


def test_of_two_equal_tokens_the_first_is_chosen_as_argmax_does_and_the_margin_is_none() -> None:
    row = Row(torch.tensor([1]), 4, 1)
    greedy = Greedy(frozenset(), 1.0)
    choice = greedy.choose(torch.tensor([[0.0, 3.0, 3.0, 1.0]]), None)
    greedy.take([row], choice, [choice.figures])
    assert (row.result.tokens, row.result.margins) == ([1], [0.0])


def test_a_penalty_that_is_not_positive_is_refused() -> None:
    with pytest.raises(GlimpseError, match=r"expected a positive repetition_penalty, found -1\.0"):
        Greedy(frozenset(), -1.0)
