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
        greedy.choose(logits, rows, seen)
        assert [row.result.tokens[-1] for row in rows] == want
        logprobs = logits.log_softmax(dim=-1)[torch.arange(3), torch.tensor(want)]
        assert [row.result.logprobs[-1] for row in rows] == logprobs.tolist()
    if seen is not None:
        again = greedy.seen(rows, 12)
        assert again is not None
        assert torch.equal(seen, again)


def test_a_penalty_that_is_not_positive_is_refused() -> None:
    with pytest.raises(GlimpseError, match=r"expected a positive repetition_penalty, found -1\.0"):
        Greedy(frozenset(), -1.0)
