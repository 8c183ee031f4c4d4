"""The questions of a page together are each question alone."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import glimpseprune as gp
from glimpseprune.decode.greedy import Greedy
from glimpseprune.decode.log_step import decode_logs
from glimpseprune.families.base import Prompt
from glimpseprune.prefill.alone import Prefilled, prefill_full, prefill_pruned
from glimpseprune.prefill.shared import prefill_questions, read_prefix, shared_prefix
from glimpseprune.prefill.unpruned import prefill_together
from tests.support.batches import item
from tests.support.operations import count
from tests.support.tiny_model import make_tiny_addon, make_tiny_checkpoint

FORMATS: list[dict[str, Any]] = [
    {},
    {"reduce_layer": 0, "selected_layers": (0,)},
    {"reduce_layer": 3, "selected_layers": (3, 0)},
    {"use_attention_logits": False, "selected_layers": (1, 2)},
    {"le_length": 0},
    {"le_length": 2, "le_layers": (0, 2)},
    {"attn_fuse_global": False},
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_checkpoint(tmp_path_factory.mktemp("shared") / "base")


def _prompts(model: gp.GlimpseModel, lengths: list[int], grids: list[tuple[int, int]]) -> list[Prompt]:
    """Prompts about the same images that differ after them."""
    first = item(grids, 0, 0)
    generator = torch.Generator().manual_seed(7)
    prompts = []
    for length in lengths:
        more = torch.randint(0, 256, (1, length), generator=generator)
        ids = torch.cat([first["input_ids"], torch.tensor([[11, 12]]), more], dim=1)
        prompts.append(model.backbone.prompts({**first, "input_ids": ids, "attention_mask": torch.ones_like(ids)})[0])
    return prompts


def _assert_same(one: Prefilled, other: Prefilled) -> None:
    assert torch.equal(one.keep, other.keep)
    assert (one.next_position, one.floor_hit, one.cap_hit) == (other.next_position, other.floor_hit, other.cap_hit)
    assert one.scores is not None
    assert other.scores is not None
    torch.testing.assert_close(one.scores, other.scores, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(one.logits, other.logits, rtol=1e-4, atol=1e-4)
    for name in ("keys", "values"):
        for a, b in zip(getattr(one.cache, name), getattr(other.cache, name), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("changes", FORMATS, ids=str)
@pytest.mark.parametrize("grids", [[(4, 6)], [(2, 3), (4, 4)]], ids=["one image", "two images"])
def test_together_is_alone(base: Path, tmp_path: Path, changes: dict[str, Any], grids: list[tuple[int, int]]) -> None:
    model = gp.load(base, glimpse=make_tiny_addon(tmp_path / "g", **changes), device="cpu")
    assert model.method is not None
    prompts = _prompts(model, [1, 7, 3, 4], grids)
    total = sum(rows * columns for rows, columns in grids)
    given = torch.arange(total) % 3 == 0
    rules = [gp.KeepRule(), gp.KeepRule(max_ratio=0.2), gp.KeepRule(threshold=0.99, min_tokens=2), given]
    images = [
        model.backbone.encode(p, g, (3, 2, 1, 0)) for p, g in zip(prompts[0].pixels, prompts[0].grids, strict=True)
    ]
    prefix = shared_prefix(prompts)
    assert prefix is not None
    page = read_prefix(model.backbone, model.method, prefix, images)
    together = prefill_questions(model.backbone, model.method, page, prompts, rules)
    for prompt, rule, found in zip(prompts, rules, together, strict=True):
        _assert_same(found, prefill_pruned(model.backbone, model.method, prompt, images, rule))


@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_without_pruning_together_is_alone(base: Path, penalty: float) -> None:
    model = replace(gp.load(base, device="cpu"), repetition_penalty=penalty)
    prompts = _prompts(model, [1, 7, 3], [(4, 6), (2, 2)])
    first = item([(4, 6), (2, 2)], 0, 0)
    images = [model.backbone.encode(p, g, ()) for p, g in zip(prompts[0].pixels, prompts[0].grids, strict=True)]
    prefix = shared_prefix(prompts)
    assert prefix is not None
    limits = [9, 1, 6]
    with torch.inference_mode():
        page, _ = prefill_together(model.backbone, prefix, images, prompts, limits, [None] * 3, None)
        token_bytes = page.log.token_bytes
        decode_logs(model.backbone, Greedy(model.eos_token_ids, penalty), [page], None)
    assert page.log.nbytes == 0
    decoded = [one.result for one in page.rows]
    for prompt, limit, answer, row in zip(prompts, limits, decoded, page.logits, strict=True):
        ids = prompt.input_ids[None]
        inputs = {**first, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
        alone = gp.generate(model, inputs, rule=None, max_new_tokens=limit)
        assert answer.tokens == alone.sequences[0].tolist()
        assert answer.logprobs == pytest.approx(alone.logprobs[0].tolist(), abs=1e-4)
        pool = gp.DecodePool(model.backbone, model.eos_token_ids, penalty)
        pool.add(0, prefill_full(model.backbone, prompt, images), prompt.input_ids, limit)
        with torch.inference_mode():
            pool.run()
        assert answer.margins == pytest.approx(pool.done[0].margins, abs=1e-4)
        torch.testing.assert_close(row, alone.first_logits[0], rtol=1e-4, atol=1e-4)
        assert token_bytes * ids.numel() == alone.stats[0].kv_bytes_full


@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_without_pruning_a_step_reads_once_for_all_questions(base: Path, penalty: float) -> None:
    model = gp.load(base, device="cpu")
    prompts = _prompts(model, [1, 7, 3, 5], [(2, 2)])
    images = [model.backbone.encode(prompts[0].pixels[0], prompts[0].grids[0], ())]
    prefix = shared_prefix(prompts)
    assert prefix is not None
    greedy = Greedy(frozenset(), penalty)

    def answer(steps: int) -> None:
        page, _ = prefill_together(model.backbone, prefix, images, prompts, [steps] * 4, [None] * 4, None)
        decode_logs(model.backbone, greedy, [page], None)

    few, many = (count(partial(answer, steps)) for steps in (4, 7))
    assert many.reads.count("tolist") == 7
    assert (len(many.reads) - len(few.reads), len(many.uploads) - len(few.uploads)) == (3, 0)
    per_layer = 40
    assert (many.calls - few.calls).total() <= 3 * (60 + per_layer * model.backbone.num_layers)


def test_a_page_can_be_asked_again(base: Path, tmp_path: Path) -> None:
    model = gp.load(base, glimpse=make_tiny_addon(tmp_path / "g"), device="cpu")
    assert model.method is not None
    prompts = _prompts(model, [5, 2], [(4, 6)])
    images = [model.backbone.encode(prompts[0].pixels[0], prompts[0].grids[0], (3, 2, 1, 0))]
    prefix = shared_prefix(prompts)
    assert prefix is not None
    page = read_prefix(model.backbone, model.method, prefix, images)
    rules = [gp.KeepRule(), gp.KeepRule()]
    first, again = (prefill_questions(model.backbone, model.method, page, prompts, rules) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        _assert_same(one, other)


class TestPrefix:
    def test_ends_where_prompts_differ(self, base: Path) -> None:
        model = gp.load(base, device="cpu")
        prompts = _prompts(model, [3, 3], [(2, 2)])
        prefix = shared_prefix(prompts)
        assert prefix is not None
        length = prefix.input_ids.numel()
        assert torch.equal(prompts[0].input_ids[:length], prompts[1].input_ids[:length])
        assert prompts[0].input_ids[length] != prompts[1].input_ids[length]

    def test_of_one_prompt_leaves_its_last_token(self, base: Path) -> None:
        model = gp.load(base, device="cpu")
        (prompt,) = _prompts(model, [3], [(2, 2)])
        prefix = shared_prefix([prompt])
        assert prefix is not None
        assert prefix.input_ids.numel() == prompt.input_ids.numel() - 1

    def test_none_where_prompts_differ_before_the_image(self, base: Path) -> None:
        model = gp.load(base, device="cpu")
        prompts = [model.backbone.prompts(item([(2, 2)], 4, seed))[0] for seed in (1, 2)]
        assert shared_prefix(prompts) is None
