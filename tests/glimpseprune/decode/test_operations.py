"""A step of decode takes few operations and one read, however many sequences it decodes."""

from __future__ import annotations

import functools

import pytest
import torch
from transformers import Qwen2_5_VLForConditionalGeneration

from glimpseprune.decode.cache import PrefillCache
from glimpseprune.decode.pool import DecodePool
from glimpseprune.decode.prefilled import Prefilled
from glimpseprune.families.qwen2_5_vl import Qwen25VL
from tests.support.operations import Operations, count
from tests.support.tiny_model import make_tokenizer, tiny_config

MOST_PER_LAYER, MOST_OUTSIDE, MOST_FOR_A_PENALTY = 26, 50, 5


@functools.cache
def backbone(layers: int) -> Qwen25VL:
    config = tiny_config(make_tokenizer(), layers)
    config._attn_implementation = "sdpa"
    return Qwen25VL(Qwen2_5_VLForConditionalGeneration(config).eval().requires_grad_(False))


def step(layers: int, lengths: list[int], penalty: float) -> Operations:
    """Count the operations of a step that no sequence enters or leaves."""
    model = backbone(layers)
    shape = model.shape
    pool = DecodePool(model, frozenset(), penalty)
    generator = torch.Generator().manual_seed(0)
    for row, length in enumerate(lengths):
        cache = PrefillCache()
        for layer in range(layers):
            size = (1, shape.num_key_value_heads, length, shape.head_dim)
            cache.update(torch.randn(size, generator=generator), torch.randn(size, generator=generator), layer)
        logits = torch.randn(shape.vocab_size, generator=generator)
        pool.add(row, Prefilled(cache, logits, length, None, torch.ones(0)), torch.arange(length), 32)
    pool.step()  # which prepares what the following steps take
    found = count(pool.step)
    assert len(pool) == len(lengths)
    return found


@pytest.mark.parametrize("penalty", [1.0, 1.3])
@pytest.mark.parametrize("rows", [1, 3, 24])
@pytest.mark.parametrize("kind", ["equal", "ragged"])
def test_a_step_takes_few_operations(rows: int, penalty: float, kind: str) -> None:
    lengths = [9 + (row % 4 if kind == "ragged" else 0) for row in range(rows)]
    few, many = step(2, lengths, penalty), step(4, lengths, penalty)
    per_layer = (many.calls.total() - few.calls.total()) / 2
    assert per_layer <= MOST_PER_LAYER, many.calls - few.calls
    assert few.calls.total() - 2 * per_layer <= MOST_OUTSIDE, few.calls
    assert (many.reads, many.uploads) == (["tolist"], [])


def test_reads_and_uploads_are_noticed() -> None:
    x = torch.ones(3)
    found = count(lambda: (x.tolist(), float(x.sum()), bool(x[0]), x[x > 0], torch.tensor([1])))
    assert found.reads == ["tolist", "_local_scalar_dense", "_local_scalar_dense", "index"]
    assert found.uploads == ["tensor"]


def test_a_repetition_penalty_takes_the_same_few_operations_however_many_sequences_there_are() -> None:
    more = {
        rows: step(2, [9] * rows, 1.3).calls.total() - step(2, [9] * rows, 1.0).calls.total() for rows in (1, 3, 64)
    }
    assert len(set(more.values())) == 1
    assert 0 < more[64] <= MOST_FOR_A_PENALTY
