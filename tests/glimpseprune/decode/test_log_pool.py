"""Unpruned questions of several pages decode in the same steps, to the tokens that each gets alone."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import glimpseprune as gp
from glimpseprune.decode import log_pool, log_step
from glimpseprune.decode.constraint import BeginConstraint
from glimpseprune.decode.greedy import Decoded
from tests.support.batches import item
from tests.support.pages import split_prompts
from tests.support.pools import Alternately, new_pool

PAGES = [((4, 6), (3, 9, 1)), ((8, 12), (5, 2)), ((2, 2), (4, 4, 4, 1, 7))]  # grid, lengths of the questions
LIMITS = [12, 1, 7, 20, 3]


@pytest.fixture(scope="module", params=[1.0, 1.3], ids=["plain", "penalty"])
def model(request: pytest.FixtureRequest, tiny_base: Path, tiny_addon: Path) -> gp.GlimpseModel:
    loaded = gp.load(tiny_base, tiny_addon, "cpu", "float32")
    return replace(loaded, repetition_penalty=float(request.param))


def _prompts(number: int) -> tuple[list[Tensor], Tensor, tuple[int, int]]:
    grid, lengths = PAGES[number]
    first = item([grid], number, 0)
    generator = torch.Generator().manual_seed(number)
    texts = [torch.randint(0, 200, (length,), generator=generator) for length in lengths]
    for place, text in enumerate(texts):
        text[0] = 201 + place
    patches = (int(first["image_grid_thw"][0, 1]), int(first["image_grid_thw"][0, 2]))
    return [torch.cat([first["input_ids"][0], text]) for text in texts], first["pixel_values"], patches


def _enter(model: gp.GlimpseModel, pool: gp.DecodePool, number: int, begin: BeginConstraint | None) -> None:
    """Prefill the questions of a page and add them to a pool; the first of them has the constraint."""
    prompts, pixels, grid = _prompts(number)
    prefix, tails = split_prompts(model, prompts)
    limits, begins = LIMITS[: len(tails)], [begin, *[None] * (len(tails) - 1)]
    rules = [None] * len(tails)
    sequences, _ = gp.encode_page(model, prefix, pixels, grid).prefill(tails, rules, limits, begins)
    for place, (sequence, prompt) in enumerate(zip(sequences, prompts, strict=True)):
        pool.add((number, place), sequence, prompt, limits[place], begins[place])


def _assert_same(found: Decoded, alone: Decoded) -> None:
    assert (found.tokens, found.replaced) == (alone.tokens, alone.replaced)
    assert found.logprobs == pytest.approx(alone.logprobs, abs=1e-4)
    assert found.margins == pytest.approx(alone.margins, abs=1e-4)


@pytest.mark.parametrize("begin", [None, Alternately], ids=["free", "limited"])
def test_pages_together_are_pages_alone(model: gp.GlimpseModel, begin: BeginConstraint | None) -> None:
    for order in itertools.permutations(range(len(PAGES))):
        together = new_pool(model)
        for number in order:
            _enter(model, together, number, begin)
        assert len(together) == sum(len(lengths) for _, lengths in PAGES)
        held = together.nbytes
        together.step()
        assert (len(together), together.nbytes < held) == (0, True)
        for number in order:
            alone = new_pool(model)
            _enter(model, alone, number, begin)
            alone.run()
            for key, answer in alone.done.items():
                _assert_same(together.done[key], answer)


def test_pages_take_part_in_the_same_steps(model: gp.GlimpseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    plain = log_step.run_steps

    def noted(graphs: object, key: tuple[int, int], *given: object) -> object:
        rows.append(key[0])
        return plain(graphs, key, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(log_step, "run_steps", noted)
    model = replace(model, eos_token_ids=frozenset())
    pool = new_pool(model)
    for number in range(len(PAGES)):
        _enter(model, pool, number, None)
    pool.run()
    asked = [limit for _, lengths in PAGES for limit in LIMITS[: len(lengths)]]
    assert rows == [sum(limit > step for limit in asked) for step in range(1, max(asked))]


def test_pruned_questions_decode_beside_them(model: gp.GlimpseModel) -> None:
    prompts, pixels, grid = _prompts(1)
    prefix, tails = split_prompts(model, prompts)
    rules = [gp.KeepRule(max_ratio=0.3)] * 2
    alone, mixed = new_pool(model), new_pool(model)
    for pool in (alone, mixed):
        sequences, _ = gp.encode_page(model, prefix, pixels, grid).prefill(tails, rules, [9, 9])
        for place, (sequence, prompt) in enumerate(zip(sequences, prompts, strict=True)):
            pool.add(("pruned", place), sequence, prompt, 9)
        if pool is mixed:
            _enter(model, pool, 0, None)
            pool.step()
            _enter(model, pool, 2, None)
        pool.run()
    for place in range(2):
        _assert_same(mixed.done["pruned", place], alone.done["pruned", place])
    assert len(mixed.done) == 2 + 3 + 5


def test_a_pool_with_enough_pages_is_full(model: gp.GlimpseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_pool, "MOST_PAGES", 2)
    pool = new_pool(model)
    full = []
    for number in range(2):
        _enter(model, pool, number, None)
        full.append(pool.full)
    pool.run()
    assert (*full, pool.full) == (False, True, False)
