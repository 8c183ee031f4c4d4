"""A constraint leaves some tokens to one sequence, and changes nothing for those beside it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

import glimpseprune as gp
from glimpseprune.decode.constraint import BeginConstraint, allowed_tokens
from glimpseprune.decode.greedy import Decoded, Greedy, Row
from glimpseprune.decode.pool import DecodePool
from glimpseprune.errors import GlimpseError
from glimpseprune.prefill.alone import Prefilled, prefill_pruned
from tests.support.batches import item
from tests.support.tiny_model import make_tiny_addon, make_tiny_checkpoint

END, OTHER_END = 258, 256
GRIDS = [(2, 2), (4, 6), (3, 3), (2, 5), (4, 4), (5, 5)]


class Cycle:
    """Allows the tokens of one set after the other, and an end behind the last."""

    def __init__(self, sets: Sequence[Sequence[int]]) -> None:
        self.sets, self.taken = sets, list[int]()

    def allowed(self) -> bytes:
        return sum(1 << token for token in self._now()).to_bytes(36, "little")

    def take(self, token: int) -> bool:
        allowed = token in self._now()
        if allowed:
            self.taken.append(token)
        return allowed

    def _now(self) -> Sequence[int]:
        return self.sets[len(self.taken)] if len(self.taken) < len(self.sets) else [END]


def cycle(*sets: Sequence[int]) -> BeginConstraint:
    return lambda: Cycle(sets)


CONSTRAINTS: list[BeginConstraint | None] = [
    cycle([1, 2, 3], [200], range(90, 120)),
    None,
    cycle([7], [END, 8], [9]),
    None,
    cycle(range(0, 256, 2), range(1, 256, 2), range(0, 256, 2), range(1, 256, 2), [5]),
    cycle([250, 251]),
]


def test_the_bits_are_unpacked_in_order() -> None:
    sets = [[0, 7, 8, 63], [1], [5, 40, 62]]
    found = allowed_tokens([Cycle([one]) for one in sets], torch.zeros(3, 64))
    assert [row.nonzero()[:, 0].tolist() for row in found] == sets


@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_the_best_allowed_token_is_taken_with_the_models_own_probability(penalty: float) -> None:
    greedy = Greedy(frozenset({END}), penalty)
    prompt = torch.tensor([3, 4])
    rows = [Row(prompt, 9, 2, Cycle([[5, 11], [END]])), Row(prompt, 9, 2)]
    logits = torch.zeros(2, 288)
    logits[:, 4], logits[:, 11], logits[:, 5] = 9.0, 2.0, 1.0
    seen = greedy.seen(rows, 288)
    choice = greedy.choose(logits, seen)
    assert not greedy.take(rows, choice, [choice.figures])
    assert [row.result.tokens for row in rows] == [[11], [4]]
    assert [row.result.replaced for row in rows] == [1, 0]
    logprobs = logits.log_softmax(dim=-1)
    assert [row.result.logprobs for row in rows] == [[logprobs[0, 11].item()], [logprobs[1, 4].item()]]
    seen = greedy.seen(rows, 288)
    choice = greedy.choose(logits, seen)
    greedy.take(rows, choice, [choice.figures])
    assert rows[0].result.tokens == [11, END]
    assert greedy.over(rows[0])


def test_a_constraint_without_any_token_is_an_error() -> None:
    rows = [Row(torch.tensor([3]), 9, 1, Cycle([[]]))]
    greedy = Greedy(frozenset({END}), 1.0)
    choice = greedy.choose(torch.zeros(1, 288), None)
    with pytest.raises(GlimpseError, match="expected token 0 to be allowed"):
        greedy.take(rows, choice, [choice.figures])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> gp.GlimpseModel:
    folder: Path = tmp_path_factory.mktemp("constraint")
    return gp.load(make_tiny_checkpoint(folder / "base"), glimpse=make_tiny_addon(folder / "glimpse"), device="cpu")


def _sequence(model: gp.GlimpseModel, number: int) -> tuple[Prefilled, torch.Tensor]:
    prompt = model.backbone.prompts(item([GRIDS[number]], 2 + number, number))[0]
    assert model.method is not None
    with torch.inference_mode():
        image = model.backbone.encode(prompt.pixels[0], prompt.grids[0], (3, 2, 1, 0))
        return prefill_pruned(model.backbone, model.method, prompt, [image], gp.KeepRule(max_ratio=0.5)), (
            prompt.input_ids
        )


def _alone(model: gp.GlimpseModel, number: int, constraint: BeginConstraint | None) -> Decoded:
    pool = DecodePool(model.backbone, model.eos_token_ids)
    pool.add(0, *_sequence(model, number), 8, constraint)
    pool.run()
    return pool.done[0]


@pytest.mark.parametrize("seed", range(4))
def test_any_order_and_any_arrival(model: gp.GlimpseModel, seed: int) -> None:
    rng = random.Random(seed)
    alone = [_alone(model, number, constraint) for number, constraint in enumerate(CONSTRAINTS)]
    assert alone[5].tokens[0] in (250, 251)
    assert alone[5].tokens[1] == END
    pool = DecodePool(model.backbone, model.eos_token_ids)
    for number in rng.sample(range(len(CONSTRAINTS)), len(CONSTRAINTS)):
        pool.add(number, *_sequence(model, number), 8, CONSTRAINTS[number])
        for _ in range(rng.randint(0, 3)):
            pool.step()
    pool.run()
    assert [pool.done[number].tokens for number in range(len(CONSTRAINTS))] == [one.tokens for one in alone]
    assert pool.done[1].tokens == _alone(model, 1, None).tokens
    assert pool.done[4].logprobs == pytest.approx(alone[4].logprobs, abs=1e-4)


def test_an_answer_at_its_limit_is_cut_off(model: gp.GlimpseModel) -> None:
    pool = DecodePool(model.backbone, model.eos_token_ids)
    pool.add(0, *_sequence(model, 0), 2, CONSTRAINTS[0])
    pool.run()
    assert len(pool.done[0].tokens) == 2
    assert pool.done[0].tokens[-1] not in model.eos_token_ids


@pytest.mark.parametrize("rule", [None, gp.KeepRule(max_ratio=0.5)], ids=["unpruned", "pruned"])
def test_the_questions_of_a_page_have_their_own_constraints(model: gp.GlimpseModel, rule: gp.KeepRule | None) -> None:
    whole = item([(4, 6)], 12, 3)
    ids = whole["input_ids"][0]
    prefix, tail = ids[:-12], ids[-12:]
    questions = [tail[:4], tail[:7], tail]
    grid = (8, 12)
    page = gp.encode_page(model, prefix, whole["pixel_values"], grid)
    begins = [CONSTRAINTS[0], None, CONSTRAINTS[4]]
    sequences, _ = page.prefill(questions, [rule] * 3, [6] * 3, begins)
    pool = DecodePool(model.backbone, model.eos_token_ids)
    for i, sequence in enumerate(sequences):
        pool.add(i, sequence, page.prompt_ids(questions[i]), 6, begins[i])
    pool.run()
    free = page.ask(questions, rule, 6)
    assert pool.done[1].tokens == free[1].tokens
    assert [pool.done[0].tokens[0] in (1, 2, 3), pool.done[0].tokens[1]] == [True, 200]
    assert [token % 2 for token in pool.done[2].tokens[:4]] == [0, 1, 0, 1]
