"""Whatever else is in the pool, and whenever it came, a sequence gets the tokens it gets alone."""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import glimpseprune as gp
from glimpseprune.decode.cache import PrefillCache
from glimpseprune.decode.greedy import Decoded, Greedy, Row
from glimpseprune.decode.pool import DecodePool
from glimpseprune.decode.pool_cache import PoolCache
from glimpseprune.decode.step import Stepper
from glimpseprune.prefill.alone import Prefilled, prefill_pruned
from tests.support.batches import item
from tests.support.tiny_model import make_tiny_addon, make_tiny_checkpoint

LIMITS = [1, 12, 3, 7, 9, 2, 12, 5]
GRIDS = [(2, 2), (4, 6), (3, 3), (2, 5), (4, 4), (2, 2), (5, 5), (3, 2)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> gp.GlimpseModel:
    folder: Path = tmp_path_factory.mktemp("pool")
    return gp.load(make_tiny_checkpoint(folder / "base"), glimpse=make_tiny_addon(folder / "glimpse"), device="cpu")


def _sequence(model: gp.GlimpseModel, number: int) -> tuple[Prefilled, torch.Tensor]:
    prompt = model.backbone.prompts(item([GRIDS[number]], 2 + number, number))[0]
    assert model.method is not None
    rule = gp.KeepRule(max_ratio=0.5)
    with torch.inference_mode():
        image = model.backbone.encode(prompt.pixels[0], prompt.grids[0], (3, 2, 1, 0))
        return prefill_pruned(model.backbone, model.method, prompt, [image], rule), prompt.input_ids


@pytest.fixture(scope="module", params=[1.0, 1.3], ids=["plain", "penalty"])
def penalty(request: pytest.FixtureRequest) -> float:
    return float(request.param)


@pytest.fixture(scope="module")
def alone(model: gp.GlimpseModel, penalty: float) -> list[Decoded]:
    found = []
    for number, limit in enumerate(LIMITS):
        pool = DecodePool(model.backbone, model.eos_token_ids, penalty)
        pool.add(0, *_sequence(model, number), limit)
        pool.run()
        found.append(pool.done[0])
    return found


@pytest.mark.parametrize("seed", range(6))
def test_any_order_and_any_arrival(model: gp.GlimpseModel, alone: list[Decoded], penalty: float, seed: int) -> None:
    rng = random.Random(seed)
    pool = DecodePool(model.backbone, model.eos_token_ids, penalty)
    for number in rng.sample(range(len(LIMITS)), len(LIMITS)):
        pool.add(number, *_sequence(model, number), LIMITS[number])
        for _ in range(rng.randint(0, 4)):
            pool.step()
    pool.run()
    assert len(pool) == 0
    for number, expected in enumerate(alone):
        assert pool.done[number].tokens == expected.tokens
        assert pool.done[number].logprobs == pytest.approx(expected.logprobs, abs=1e-4)
        assert pool.done[number].margins == pytest.approx(expected.margins, abs=1e-4)


@pytest.mark.parametrize("where", ["in the model", "in the choice of tokens"])
def test_out_of_memory_halves_the_pool_and_goes_on(
    model: gp.GlimpseModel, alone: list[Decoded], penalty: float, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = DecodePool(model.backbone, model.eos_token_ids, penalty)
    sizes: list[int] = []
    owner, name = (Stepper, "run") if where == "in the model" else (Greedy, "choose")
    original = getattr(owner, name)

    def small(self: Stepper | Greedy, *given: Any) -> Any:
        sizes.append(len(given[0]))
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError("too many")
        return original(self, *given)

    monkeypatch.setattr(owner, name, small)
    for number, limit in enumerate(LIMITS):
        pool.add(number, *_sequence(model, number), limit)
        if number == 4:  # others come after it happened
            pool.step()
    pool.run()
    assert max(sizes) > 2
    assert [pool.done[number].tokens for number in range(len(LIMITS))] == [one.tokens for one in alone]


def test_one_sequence_that_does_not_fit_is_an_error(model: gp.GlimpseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Stepper, rows: Sequence[Row]) -> None:
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(Stepper, "run", full)
    pool = DecodePool(model.backbone, frozenset())
    pool.add(0, *_sequence(model, 1), 5)
    with pytest.raises(torch.OutOfMemoryError):
        pool.step()


def test_an_empty_pool_has_nothing_to_do(model: gp.GlimpseModel) -> None:
    pool = DecodePool(model.backbone, model.eos_token_ids)
    pool.step()
    pool.run()
    assert (len(pool), pool.done, pool.nbytes) == (0, {}, 0)


def _cache(tokens: int, generator: torch.Generator) -> PrefillCache:
    made = PrefillCache()
    for layer in range(2):
        made.update(*(torch.randn(1, 2, tokens, 4, generator=generator) for _ in range(2)), layer)
    return made


@pytest.mark.parametrize("lengths", [[5, 14, 9], [7, 7, 7]], ids=["ragged", "equal"])
def test_new_tokens_follow_their_own_sequence(lengths: list[int]) -> None:
    generator = torch.Generator().manual_seed(0)
    pool, kept = PoolCache(), [_cache(tokens, generator) for tokens in lengths]
    for one in kept:
        pool.add(copy.deepcopy(one), 20)
    want = [[torch.cat([one.keys[n], one.values[n]], dim=1)[0] for n in range(2)] for one in kept]
    for step in range(20):  # over several sizes of what is seen
        if step in (6, 11):
            pool.drop(0)
            want[0] = want[-1]
            want.pop()
            if step == 6:
                pool.trim()
        pool.look(torch.tensor(pool.lengths), pool.needed_slots)
        hidden = pool.bias(torch.zeros(()))[:, 0, 0]
        assert pool.equal == bool((hidden == 0).all())
        for layer in range(2):
            new = torch.randn(len(want), 1, 4, 4, generator=generator)
            halves = new.transpose(1, 2).chunk(2, dim=1)
            keys, values = pool.append(new, layer) if step % 2 else pool.update(*halves, layer)
            found = torch.cat([keys, values], dim=1)
            for row, sequence in enumerate(want):
                sequence[layer] = torch.cat([sequence[layer], new[row].transpose(0, 1)], dim=1)
                assert torch.equal(found[row][:, hidden[row] == 0], sequence[layer])
        pool.advance()


def test_rows_come_and_go() -> None:
    generator = torch.Generator().manual_seed(0)
    pool, kept = PoolCache(), {}
    for name, tokens in (("a", 3), ("b", 70), ("c", 5)):
        kept[name] = _cache(tokens, generator)
        pool.add(copy.deepcopy(kept[name]), 4)
    pool.drop(0)  # c moves there
    assert pool.lengths == [5, 70]
    for row, name in enumerate(("c", "b")):
        taken = pool.take(row)
        for ours, theirs in zip(taken.keys + taken.values, kept[name].keys + kept[name].values, strict=True):
            assert torch.equal(ours, theirs)
    pool.trim()
    assert pool.rows == 2
    assert not pool.equal
    pool.drop(1)
    assert pool.equal
