"""Steps as they run on CUDA, which a graph can repeat, give the tokens of steps that see just what is there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import glimpseprune as gp
from glimpseprune.decode.constraint import BeginConstraint
from glimpseprune.decode.pool import DecodePool
from glimpseprune.decode.step import MOST_STEPS
from tests.support.flash_paths import PATHS
from tests.support.operations import count
from tests.support.pages import questions_about_one_page, split_prompts
from tests.support.pools import GRIDS, Alternately, come_and_go, sequence
from tests.support.repeated_steps import RepeatedSteps, repeat_steps


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


@pytest.mark.parametrize("constraints", [{}, {1: Alternately, 8: Alternately}], ids=["free", "limited"])
@pytest.mark.parametrize("seed", range(4))
def test_sequences_come_and_go(
    model: gp.GlimpseModel, seed: int, constraints: dict[int, BeginConstraint], monkeypatch: pytest.MonkeyPatch
) -> None:
    want = come_and_go(model, seed, constraints)
    made = repeat_steps(monkeypatch)
    got = come_and_go(model, seed, constraints)
    assert made[0].repeats > 5
    for number, (tokens, logprobs) in want.items():
        assert got[number][0] == tokens
        assert got[number][1] == pytest.approx(logprobs, abs=1e-4)


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
        pool = DecodePool(model.backbone, model.eos_token_ids, model.repetition_penalty)
        for i, (one, prompt) in enumerate(zip(found, prompts, strict=True)):
            pool.add(i, one, prompt, limits[i], begins[i])
        pool.run()
        return [(pool.done[i].tokens, pool.done[i].replaced) for i in range(5)]

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
        pool.add(number, *sequence(model, number % len(GRIDS)), 40, begin)
    pool.step()  # which brings the inputs to the device
    return pool


@pytest.mark.parametrize(("rows", "steps"), [(1, 1), (3, 3), (7, MOST_STEPS)])
def test_the_host_reads_once_for_several_steps(
    model: gp.GlimpseModel, rows: int, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = repeat_steps(monkeypatch)
    pool = _started(model, rows)
    before = len(made[0].keys)
    monkeypatch.delattr("glimpseprune.decode.pool.now_ms")  # which waits for all that is queued
    found = count(pool.step)
    assert len(made[0].keys) - before == steps
    assert (found.reads, found.uploads) == (["tolist"], [])
    # Copies of what is read, one per step, and their stack are all that is left beside a graph; what stands in for
    # graphs makes four copies per step itself.
    assert found.calls.total() <= steps * (50 + 1 + 4 + 23 * model.backbone.num_layers) + 1


def test_with_limits_the_host_reads_at_each_step(model: gp.GlimpseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    made = repeat_steps(monkeypatch)
    pool = _started(model, 7, limited=True)
    before = len(made[0].keys)
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
