"""Steps as they run on CUDA, which a graph can repeat, give the tokens of steps that see just what is there."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import glimpseprune as gp
from glimpseprune.decode.constraint import BeginConstraint
from glimpseprune.decode.pool import DecodePool
from glimpseprune.decode.prefilled import Prefilled
from glimpseprune.decode.step import MOST_STEPS
from glimpseprune.prefill.alone import prefill_full
from tests.support.batches import item
from tests.support.flash_paths import PATHS
from tests.support.operations import count
from tests.support.pages import questions_about_one_page, split_prompts
from tests.support.repeated_steps import RepeatedSteps, repeat_steps

GRIDS = [(2, 2), (4, 6), (3, 3), (2, 5), (4, 4), (2, 2), (5, 5), (3, 2), (6, 6), (2, 3)]
LIMITS = [1, 12, 3, 7, 9, 2, 12, 5, 16, 14]


@pytest.fixture(scope="module", params=[1.0, 1.3], ids=["plain", "penalty"])
def model(request: pytest.FixtureRequest, tiny_base: Path, tiny_addon: Path) -> gp.GlimpseModel:
    loaded = gp.load(tiny_base, tiny_addon, "cpu", "float32")
    return replace(loaded, repetition_penalty=float(request.param))


@pytest.mark.parametrize("name", PATHS)
def test_every_path(model: gp.GlimpseModel, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answer, _ = PATHS[name]
    want = answer(model)
    made = repeat_steps(monkeypatch)
    got = answer(model)
    assert sum(one.repeats for one in made) > 0
    for ours, theirs in zip(got.sequences, want.sequences, strict=True):
        assert ours.tolist() == theirs.tolist()
    for ours, theirs in zip(got.logprobs, want.logprobs, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


def _sequence(model: gp.GlimpseModel, number: int) -> tuple[Prefilled, torch.Tensor]:
    prompt = model.backbone.prompts(item([GRIDS[number]], 2 + number, number))[0]
    with torch.inference_mode():
        image = model.backbone.encode(prompt.pixels[0], prompt.grids[0], ())
        return prefill_full(model.backbone, prompt, [image]), prompt.input_ids


def _pool(model: gp.GlimpseModel) -> DecodePool:
    return DecodePool(model.backbone, model.eos_token_ids, model.repetition_penalty)


def _together(
    model: gp.GlimpseModel, seed: int, constraints: dict[int, BeginConstraint], pool: DecodePool
) -> dict[int, list[int]]:
    rng = random.Random(seed)
    for number in rng.sample(range(len(LIMITS)), len(LIMITS)):
        pool.add(number, *_sequence(model, number), LIMITS[number], constraints.get(number))
        for _ in range(rng.randint(0, 2)):
            pool.step()
    pool.run()
    return {number: pool.done[number].tokens for number in range(len(LIMITS))}


class Alternately:
    """Allows even and odd tokens in turn."""

    def __init__(self) -> None:
        self.taken = 0

    def allowed(self) -> bytes:
        return bytes([0b01010101 if self.taken % 2 == 0 else 0b10101010] * 36)

    def take(self, token: int) -> bool:
        allowed = token % 2 == self.taken % 2
        self.taken += allowed
        return allowed


@pytest.mark.parametrize("constraints", [{}, {1: Alternately, 8: Alternately}], ids=["free", "limited"])
@pytest.mark.parametrize("seed", range(4))
def test_sequences_come_and_go(
    model: gp.GlimpseModel, seed: int, constraints: dict[int, BeginConstraint], monkeypatch: pytest.MonkeyPatch
) -> None:
    want = _together(model, seed, constraints, _pool(model))
    made = repeat_steps(monkeypatch)
    assert _together(model, seed, constraints, _pool(model)) == want
    assert made[0].repeats > 5


@pytest.mark.parametrize("begin", [None, Alternately], ids=["free", "limited"])
def test_questions_behind_one_prefix(
    model: gp.GlimpseModel, begin: BeginConstraint | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts, pixels, grid = questions_about_one_page((9, 4, 17, 1, 6))
    prefix, tails = split_prompts(model, prompts)
    limits, begins = [14, 3, 9, 1, 11], [begin, None, begin, None, None]

    def answers() -> list[tuple[list[int], int]]:
        page = gp.encode_page(model, prefix, pixels, grid)
        found, _ = page.prefill(tails, [None] * 5, limits, begins)
        return [(one.decoded.tokens, one.decoded.replaced) for one in found if one.decoded is not None]

    want = answers()
    assert len(want) == 5
    made = repeat_steps(monkeypatch)
    assert answers() == want
    assert made[0].repeats > 5
    assert (sum(replaced for _, replaced in want) > 0) == (begin is not None)


def _started(model: gp.GlimpseModel, rows: int, limited: bool = False) -> DecodePool:
    pool = DecodePool(model.backbone, frozenset(), model.repetition_penalty)
    for number in range(rows):
        begin = Alternately if limited and not number else None
        pool.add(number, *_sequence(model, number % len(GRIDS)), 40, begin)
    pool.step()  # which brings the inputs to the device
    return pool


@pytest.mark.parametrize(("rows", "steps"), [(1, 1), (3, 3), (7, MOST_STEPS)])
def test_the_host_reads_once_for_several_steps(
    model: gp.GlimpseModel, rows: int, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = repeat_steps(monkeypatch)
    pool, before = _started(model, rows), len(made[0].keys)
    found = count(pool.step)
    assert len(made[0].keys) - before == steps
    assert (found.reads, found.uploads) == (["tolist"], [])
    # What a graph repeats, the copies of what is read, and one stack of these.
    assert found.calls.total() <= steps * (28 + 60 + 23 * model.backbone.num_layers)


def test_with_limits_the_host_reads_at_each_step(model: gp.GlimpseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    made = repeat_steps(monkeypatch)
    pool, before = _started(model, 7, limited=True), len(made[0].keys)
    found = count(pool.step)
    assert len(made[0].keys) - before == 1
    assert found.reads[0] == "tolist"


def test_memory_that_runs_out_between_two_reads(model: gp.GlimpseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def answers() -> dict[int, list[int]]:
        pool = _started(model, 6)
        pool.run()
        return {number: pool.done[number].tokens for number in range(6)}  # type: ignore[misc]

    want = answers()
    made, original, ran_out = repeat_steps(monkeypatch), RepeatedSteps.run, []

    def small(self: RepeatedSteps, key: tuple[int, int], *given: object) -> object:
        if len(self.keys) % 11 == 10 and key[0] > 1 and len(self.keys) not in ran_out:
            ran_out.append(len(self.keys))
            raise torch.OutOfMemoryError("too many")
        return original(self, key, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(RepeatedSteps, "run", small)
    assert answers() == want
    assert len(ran_out) > 1
    assert made[0].repeats > 5
